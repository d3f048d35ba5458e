"""What a node answers: the shapes that docs/PROTOCOL.md promises, and who may ask."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core.build import KIND
from raftbook.core.types import Phase, Reject, Side, TimeInForce
from raftbook.core.versions import ENGINE_VERSION
from raftbook.replica.fences import FenceKind
from raftbook.wire import client_messages as m
from tests.gateway.door import BOUNDS, Caller, Door, at_the_door


async def _market(door: Door) -> tuple[Caller, Caller]:
    """Two traders and a small book of A: bids 10 (2+3), 9 (1); asks 12 (4)."""
    alice, op = door.caller(), door.caller()
    session = await alice.open("alice")
    theirs = await op.open("op")
    orders = (
        c.new_order("A", Side.BUY, 2, 10, client_order_id="x"),
        c.new_order("A", Side.BUY, 3, 10),
        c.new_order("A", Side.BUY, 1, 9),
        c.new_order("A", Side.SELL, 4, 12, client_order_id="y"),
        c.new_order("A", Side.SELL, 5, 11),
    )
    await alice.ask(m.REQUEST, session, 1, orders)
    taker = c.new_order("A", Side.BUY, 5, 11, time_in_force=TimeInForce.IOC)
    await op.ask(m.REQUEST, theirs, 1, (taker,))
    return alice, op


def test_a_book_is_levels_best_first(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, _ = await _market(door)
        assert await alice.query("book", symbol="A") == {
            "symbol": "A",
            "bids": ((10, 5, 2), (9, 1, 1)),
            "asks": ((12, 4, 1),),
            "feed_seq": 6,
            "applied_index": door.replica.raft.applied_index,
            "node_id": 1,
            "last_price": 11,
            "phase": Phase.CONTINUOUS,
            "age_ms": 0,
        }
        shallow = await alice.query("book", symbol="A", depth=1, orders=True)
        assert shallow["bids"] == ((10, 5, 2),)
        assert shallow["bid_orders"] == ((1, 10, 2), (2, 10, 3))
        assert shallow["ask_orders"] == ((4, 12, 4),)
        whole = await alice.query("book", symbol="A", depth=0, orders=True)
        assert whole["bid_orders"] == ((1, 10, 2), (2, 10, 3), (3, 9, 1))

    at_the_door(tmp_path, scene)


def test_trades_are_public_and_name_orders_only(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        _, _ = await _market(door)
        stranger = door.caller()
        await stranger.greet()
        value = await stranger.query("trades", symbol="A")
        index = door.replica.raft.applied_index
        time_ns = door.replica.machine.exchange.now_ns
        assert value == {
            "applied_index": index,
            "trades": ((1, 11, 5, time_ns, index, Side.BUY, 5, 6),),
        }
        assert (await stranger.query("trades", symbol="A", limit=0))["trades"] == ()
        assert (await stranger.query("trades", symbol="B"))["trades"] == ()

    at_the_door(tmp_path, scene)


def test_own_orders_are_told_and_nobody_elses(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, op = await _market(door)
        listed = (await alice.query("orders"))["orders"]
        assert [order["terms"][0] for order in listed] == [1, 2, 3, 4, 5]
        assert listed[0] == {
            "terms": (1, "alice", "x", "A", (1, 2, 1, 0, 0), 2, 10),
            "leaves_qty": 2,
            "cum_qty": 0,
            "cum_notional": 0,
            "resting": True,
            "shown_qty": 2,
            "waiting": False,
            "pending": False,
            "stop_price": None,
            "entered_ns": listed[0]["entered_ns"],
            "closed_ns": 0,
            "held": 0,
            "session_id": listed[0]["session_id"],
        }
        assert listed[0]["entered_ns"] > 0
        assert (listed[4]["leaves_qty"], listed[4]["cum_qty"]) == (0, 5)
        assert (listed[4]["cum_notional"], listed[4]["resting"]) == (55, False)
        still = (await alice.query("orders", open_only=True, limit=2))["orders"]
        assert [order["terms"][0] for order in still] == [3, 4]
        assert (await alice.query("orders", symbol="B"))["orders"] == ()
        assert await alice.query("order", order_id=1) == listed[0]
        assert await alice.query("order", client_order_id="y") == listed[3]
        says = "no order 1 of account op"
        assert await op.query("order", order_id=1) == (Reject.UNKNOWN_ORDER, says)

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize("name", ["orders", "events", "trades"])
def test_a_limit_of_none_at_all_gives_none_at_all(tmp_path: Path, name: str) -> None:
    async def scene(door: Door) -> None:
        _, op = await _market(door)
        value = await op.query(name, symbol="A", limit=0)
        assert value["entries" if name == "events" else name] == ()

    at_the_door(tmp_path, scene)


def test_a_status_tells_where_the_node_stands(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, _ = await _market(door)
        status = await alice.query("status")
        raft, exchange = door.replica.raft, door.replica.machine.exchange
        assert status == {
            "cluster": "test",
            "cluster_id": "c",
            "node_id": 1,
            "role": "leader",
            "term": 1,
            "leader_id": 1,
            "commit_index": raft.commit_index,
            "applied_index": raft.applied_index,
            "last_index": raft.applied_index,
            "snapshot_index": 0,
            "digest": exchange.digest.value(),
            "digest_index": raft.applied_index,
            "orders": 4,
            "sessions": 2,
            "pending": 0,
            "founded": True,
            "fenced": None,
            "fence": None,
            "age_ms": 0,
            "engine_version": exchange.engine_version,
            "engine_version_supported": ENGINE_VERSION,
            "core": KIND,
        }

    at_the_door(tmp_path, scene)


def test_instruments_are_told_with_their_terms(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, _ = await _market(door)
        first, second = await alice.query("instruments")
        assert (first["symbol"], second["symbol"]) == ("A", "B")
        keys = (
            "symbol base quote tick_size lot_size qty_max price_min price_max band_low band_high "
            "notional_max collar reference_price qty_min notional_min settlement maker_fee "
            "taker_fee volatility_band volatility_call_ms phase feed_seq last_price "
            "resting_orders base_decimals quote_decimals"
        )
        assert list(first) == keys.split()
        assert (first["feed_seq"], first["last_price"], first["resting_orders"]) == (6, 11, 4)

    at_the_door(tmp_path, scene)


def test_a_digest_is_told_for_kept_indexes_only(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, _ = await _market(door)
        applied = door.replica.raft.applied_index
        now = await alice.query("digest")
        assert now == {
            "index": applied,
            "digest": door.replica.machine.exchange.digest.value(),
            "kept": (applied - 2, applied),
            "instruments": 2,
            "resting_orders": 4,
        }
        early = await alice.query("digest", index=applied - 3)
        assert (early["digest"], early["kept"]) == (None, (applied - 2, applied))
        assert (await alice.query("digest", index=applied - 1))["digest"]

    at_the_door(tmp_path, scene, entries_kept=3)


def test_operators_read_entries_with_names_and_others_do_not(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, op = await _market(door)
        value = await op.query("events", limit=1)
        ((index, term, _, replies, _, _),) = value["entries"]
        assert (index, term) == (door.replica.raft.applied_index, 1)
        assert replies[0][4][1][5][1] == "alice"
        first = value["first_kept"]
        early = await op.query("events", from_index=first, limit=2)
        assert [entry[0] for entry in early["entries"]] == [first, first + 1]
        stranger = door.caller()
        await stranger.greet()
        for name in ("order", "orders", "fills", "account", "accounts", "events"):
            says = f"query {name!r} needs a login"
            assert await stranger.query(name) == (Reject.NOT_AUTHORIZED, says)
        for name in ("events", "accounts"):
            assert (await alice.query(name))[0] == Reject.NOT_AUTHORIZED
        for caller in (stranger, alice):
            assert (await caller.query("snapshot"))[0] == Reject.NOT_AUTHORIZED
        assert await op.query("snapshot") == {"snapshot_index": door.replica.raft.applied_index}

    at_the_door(tmp_path, scene)


NOT_COUNTS = (-1, 2**62 + 1, 1.5, math.nan, math.inf, True, "5", b"5", (1,), {"a": 1})
BAD_ARGUMENTS: list[tuple[str, dict[str, Any]]] = [
    *(("book", {"symbol": "A", "depth": value}) for value in (*NOT_COUNTS, 10_001)),
    *(("trades", {"symbol": "A", "limit": value}) for value in (*NOT_COUNTS, 10_001)),
    *(("orders", {"limit": value}) for value in (*NOT_COUNTS, 10_001)),
    *(("orders", {"symbol": value}) for value in (1, 1.5, b"A", (1,), {"a": 1})),
    *(("events", {"from_index": value}) for value in NOT_COUNTS),
    *(("order", {"order_id": value}) for value in NOT_COUNTS),
    *(("candles", {"symbol": "A", "limit": value}) for value in (*NOT_COUNTS, 1_501)),
    *(("candles", {"symbol": "A", "width": value}) for value in ("week", 1, None, (1,), {"a": 1})),
    *(("fills", {"symbol": "A", "limit": value}) for value in NOT_COUNTS),
    *(("fills", {"symbol": "A", "account": value}) for value in (1, 1.5, b"x", (1,))),
    *(("account", {"account": value}) for value in (1, 1.5, b"x", (1,), {"a": 1})),
    *(("accounts", {"from": value}) for value in NOT_COUNTS),
    *(("order", {"client_order_id": value}) for value in (1, 1.5, b"x", (1,), {"a": 1})),
    *(("digest", {"index": value}) for value in NOT_COUNTS),
    *(("digest", {"index": 10**6, "wait_ms": value}) for value in NOT_COUNTS),
    *(("book", {"symbol": "A", "at_least": value}) for value in NOT_COUNTS),
    *(("status", {"at_least": value}) for value in NOT_COUNTS),
    ("nonsense", {}),
    ("", {}),
    ("x" * 4_000, {}),
]


@pytest.mark.parametrize(
    ("name", "arguments"), BAD_ARGUMENTS, ids=[f"{n:.9}-{a}"[:60] for n, a in BAD_ARGUMENTS]
)
def test_a_bad_argument_is_malformed_and_never_ignored(
    tmp_path: Path, name: str, arguments: dict[str, Any]
) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet("op")
        code, message = await caller.query(name, **arguments)
        assert code == Reject.MALFORMED, message
        assert len(message) < 300

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize("symbol", [None, 1, "", "a", "A" * 4_000, (1,), {"A": 1}, b"A", math.nan])
@pytest.mark.parametrize("name", ["book", "trades", "candles", "auction", "fills"])
def test_an_unknown_instrument_is_said_with_those_there_are(
    tmp_path: Path, name: str, symbol: Any
) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet("op")
        code, message = await caller.query(name, symbol=symbol)
        assert code == Reject.UNKNOWN_INSTRUMENT
        assert message.endswith("known: A, B")
        assert len(message) < 300

    at_the_door(tmp_path, scene)


def test_a_read_at_least_so_new_waits_and_then_says_how_old_it_is(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, _ = await _market(door)
        applied = door.replica.raft.applied_index
        assert (await alice.query("book", symbol="A", at_least=applied))["feed_seq"] == 6
        alice.say(m.QUERY, 9, "book", {"symbol": "A", "at_least": applied + 1})
        assert await alice.hear() == []
        reader = door.caller()
        session = await reader.open("alice", "other")  # this is entry applied + 1
        assert session
        ((kind, ref, value),) = await alice.hear()
        assert (kind, ref, value["applied_index"]) == (m.RESULT, 9, applied + 1)
        late: list[Any] = []
        alice.say(m.QUERY, 10, "book", {"symbol": "A", "at_least": applied + 2})
        while not late:
            late = await alice.hear()
        says = f"this node has applied {applied + 1}, not yet {applied + 2}; ask again"
        assert late == [(m.FAILURE, 10, Reject.TOO_STALE, says)]

    at_the_door(tmp_path, scene, bounds=replace(BOUNDS, deadline_s=0.05))


def test_a_linearizable_read_goes_through_the_log(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, _ = await _market(door)
        applied = door.replica.raft.applied_index
        value = await alice.query("book", symbol="A", linearizable=True)
        assert value["applied_index"] == applied + 1
        door.replica._stop(FenceKind.BROKEN, "for this test")
        code, message = await alice.query("book", symbol="A", linearizable=True)
        assert code == Reject.TOO_STALE
        assert "no barrier: node 1 is fenced: for this test" in message
        assert (await alice.query("book", symbol="A"))["applied_index"] == applied + 1
        assert (await alice.query("status"))["role"] == "fenced"
        door.replica.fence = None

    at_the_door(tmp_path, scene)


def test_a_linearizable_read_of_a_node_that_was_fenced_meanwhile_is_refused(tmp_path: Path) -> None:
    """1. The barrier passes; 2. the client does not read, so the answer waits; 3. the node is
    fenced: what it has may be what the majority has not; 4. the client reads."""

    async def scene(door: Door) -> None:
        alice, _ = await _market(door)
        barrier = door.replica.raft.applied_index + 1
        alice.connection.pause_writing()
        alice.say(m.QUERY, 50, "book", {"symbol": "A", "linearizable": True})
        alice.say(m.QUERY, 51, "book", {"symbol": "A"})
        await alice.until(lambda: door.replica.raft.applied_index == barrier)
        await alice.connection_round()
        door.replica._stop(FenceKind.DIVERGED, "another digest")
        door.now += 3.5
        alice.connection.resume_writing()
        says = f"node 1 is fenced: {door.replica.fenced}; ask another"
        first, second = sorted(await alice.hear(), key=lambda answer: int(answer[1]))
        assert first == (m.FAILURE, 50, Reject.TOO_STALE, says)
        assert second[:3] == (m.FAILURE, 51, Reject.TOO_STALE)
        assert "last heard of a leader 3.5 s ago" in second[3]
        door.replica.fence = None

    at_the_door(tmp_path, scene, bounds=replace(BOUNDS, read_age_max_s=3.0))


def test_a_node_that_heard_of_no_leader_for_long_shows_no_market(tmp_path: Path) -> None:
    """It is fenced here; a follower that is cut off is the same to whoever asks."""

    async def scene(door: Door) -> None:
        alice, _ = await _market(door)
        door.replica._stop(FenceKind.NO_SPACE, "disk full")
        door.now += 3.0
        assert (await alice.query("book", symbol="A"))["age_ms"] == 3_000
        door.now += 0.5
        for name, arguments in (
            ("book", {"symbol": "A"}),
            ("trades", {"symbol": "A"}),
            ("instruments", {}),
            ("orders", {}),
            ("order", {"order_id": 1}),
            ("account", {}),
            ("auction", {"symbol": "A"}),
        ):
            code, message = await alice.query(name, **arguments)
            assert code == Reject.TOO_STALE
            assert "last heard of a leader 3.5 s ago, more than 3 s; ask another" in message
            code, _ = await alice.query(name, **arguments, max_age_ms=3_499)
            assert code == Reject.TOO_STALE
            assert await alice.query(name, **arguments, max_age_ms=3_500)
        # About itself it answers: that is how one learns why.
        status = await alice.query("status")
        assert (status["role"], status["fence"], status["age_ms"]) == ("fenced", "no_space", 3_500)
        assert (await alice.query("digest"))["digest"]
        code, _ = await alice.query("book", symbol="A", max_age_ms=-1)
        assert code == Reject.MALFORMED
        door.replica.fence = None

    at_the_door(tmp_path, scene, bounds=replace(BOUNDS, read_age_max_s=3.0))


def test_a_diverged_node_says_so_in_its_role(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, _ = await _market(door)
        door.replica._stop(FenceKind.DIVERGED, "another digest")
        status = await alice.query("status")
        assert (status["role"], status["fenced"]) == ("diverged", "another digest")
        assert (status["fence"], status["leader_id"]) == ("diverged", None)
        door.replica.fence = None

    at_the_door(tmp_path, scene)
