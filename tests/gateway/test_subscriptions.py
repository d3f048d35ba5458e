"""Streams: each value once, in order, and taken up again where the client says it was."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core.types import Reject, Side, TimeInForce
from raftbook.replica.fences import FenceKind
from raftbook.wire import client_messages as m
from raftbook.wire import pages
from tests.feed.feed_book import FeedBook
from tests.gateway.door import BOUNDS, Caller, Door, at_the_door


def _buy(qty: int = 1, price: int = 1) -> c.Command:
    return c.new_order("A", Side.BUY, qty, price)


def _sell_at_once(qty: int, price: int = 1) -> c.Command:
    return c.new_order("A", Side.SELL, qty, price, time_in_force=TimeInForce.IOC)


class Trader:
    """Somebody who makes the market move."""

    def __init__(self, caller: Caller, session: int) -> None:
        self._caller, self._session, self._seq = caller, session, 0

    @classmethod
    async def come(cls, door: Door, account: str) -> "Trader":
        caller = door.caller()
        return cls(caller, await caller.open(account, f"trader-{account}"))

    async def do(self, *commands: c.Command) -> tuple[Any, ...]:
        """One request; its reply."""
        self._seq += 1
        reply = await self._caller.ask(m.REQUEST, self._session, self._seq, commands)
        assert reply[0] == m.REPLY
        return reply


async def _listener(door: Door, account: str = "") -> Caller:
    caller = door.caller()
    await caller.greet(account)
    return caller


# -- feed -----------------------------------------------------------------------------------------


def test_a_feed_begins_with_the_book_and_goes_on_from_there(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        trader = await Trader.come(door, "alice")
        await trader.do(_buy(5))
        listener = await _listener(door)
        answer, (kind, view) = await listener.subscribe("feed", symbol="A")
        assert (answer["subscription"], kind, view["feed_seq"]) == (1, "refresh", 1)
        assert view["bid_orders"] == ((1, 1, 5),)
        await trader.do(_buy(2), c.cancel_order(order_id=1))
        await trader.do(c.new_order("B", Side.BUY, 1, 1))
        assert [push[0] for push in await listener.pushes()] == [2, 3]

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize(
    ("from_seq", "expected"),
    [
        (0, ["refresh"]),
        (1, ["refresh"]),  # 3 to 5 are kept
        (2, ["refresh"]),
        (3, [3, 4, 5]),
        (5, [5]),
        (6, []),
        (9, []),  # another node was ahead: this one waits until it is there
    ],
)
def test_a_feed_goes_on_where_it_was_or_anew(
    tmp_path: Path, from_seq: int, expected: list[Any]
) -> None:
    async def scene(door: Door) -> None:
        trader = await Trader.come(door, "alice")
        for _ in range(5):
            await trader.do(_buy())
        listener = await _listener(door)
        _, *pushes = await listener.subscribe("feed", symbol="A", from_seq=from_seq)
        assert [push[0] for push in pushes] == expected
        for _ in range(5):
            await trader.do(_buy())
        due = max(6, from_seq)
        assert [push[0] for push in await listener.pushes()] == list(range(due, 11))

    at_the_door(tmp_path, scene, feed_kept=3)


def test_a_feed_outruns_a_history_that_is_too_short_by_beginning_anew(tmp_path: Path) -> None:
    # One entry may bring more than is kept; whoever listens must not be left behind in silence.
    async def scene(door: Door) -> None:
        trader = await Trader.come(door, "alice")
        listener = await _listener(door)
        _, first = await listener.subscribe("feed", symbol="A")
        book = FeedBook()
        book.take(first)
        for count in (1, 3, 4, 9, 2):
            await trader.do(*[_buy()] * count)
            for push in await listener.pushes():
                book.take(push)
        assert book.feed_seq == 19
        assert book.refreshes > 1
        assert book.same_as(await listener.query("book", symbol="A", depth=0, orders=True))

    at_the_door(tmp_path, scene, feed_kept=3)


def test_a_quiet_instrument_is_not_refreshed_by_the_others(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        trader = await Trader.come(door, "alice")
        listener = await _listener(door)
        await listener.subscribe("feed", symbol="B")
        for _ in range(5):
            await trader.do(_buy())
        assert await listener.pushes() == []

    at_the_door(tmp_path, scene, feed_kept=1)


def test_a_refresh_holds_the_whole_book_however_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A book without its far end would be told of the death of orders it never heard of.
    monkeypatch.setattr(pages, "ROWS_MAX", 10)
    monkeypatch.setattr(pages, "BOOK_ORDERS", 100)

    async def scene(door: Door) -> None:
        trader = await Trader.come(door, "alice")
        for price in (1, 2, 3):
            await trader.do(*[_buy(1, price)] * 9)
            await trader.do(*[c.new_order("A", Side.SELL, 1, price + 9)] * 9)
        listener = await _listener(door)
        _, (kind, view) = await listener.subscribe("feed", symbol="A")
        assert (kind, len(view["bid_orders"]), len(view["ask_orders"])) == ("refresh", 27, 27)
        asked = await listener.query("book", symbol="A", depth=0, orders=True)
        assert (len(asked["bid_orders"]), len(asked["bids"])) == (10, 3)

    at_the_door(tmp_path, scene)


# -- reports --------------------------------------------------------------------------------------


def test_reports_tell_an_account_of_its_own_orders_only(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, op = await Trader.come(door, "alice"), await Trader.come(door, "op")
        listener = await _listener(door, "alice")
        await listener.subscribe("reports")
        await op.do(c.new_order("A", Side.BUY, 9, -5, client_order_id="op1"))
        assert await listener.pushes() == []
        accepted = await alice.do(c.new_order("A", Side.BUY, 5, 1, client_order_id="a1"))
        traded = await op.do(_sell_at_once(2))
        one, two = await listener.pushes()
        assert one[0] == accepted[3]
        assert one[3:] == (0, accepted[1], accepted[2], accepted[7])
        index, term, _, offset, session, seq, events = two
        assert (index, term, offset) == (traded[3], 1, 0)
        assert (session, seq) == (0, 0), "whose request it was would name the counterparty"
        assert [event[0] for event in events] == [3]
        assert events[0][5][:3] == (2, "alice", "a1")
        assert events[0][9][:3] == (3, "", "")

    at_the_door(tmp_path, scene)


def test_reports_are_taken_up_where_they_broke_off(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice = await Trader.come(door, "alice")
        listener = await _listener(door, "alice")
        (answer,) = await listener.subscribe("reports")
        assert answer["applied_index"] == door.replica.raft.applied_index
        replies = [await alice.do(_buy()) for _ in range(5)]
        told = await listener.pushes()
        assert [report[0] for report in told] == [reply[3] for reply in replies]
        for position in range(5):
            other = await _listener(door, "alice")
            from_index = told[position][0]
            answer, *pushes = await other.subscribe("reports", from_index=from_index)
            assert answer["from_index"] == from_index
            assert pushes == told[position:]
            other.hang_up()
        ahead = await _listener(door, "alice")
        answer, *pushes = await ahead.subscribe("reports", from_index=told[-1][0] + 3)
        assert pushes == []
        more = [await alice.do(_buy()) for _ in range(4)]
        assert [report[0] for report in await ahead.pushes()] == [reply[3] for reply in more[2:]]

    at_the_door(tmp_path, scene)


# -- entries --------------------------------------------------------------------------------------


def test_entries_are_told_once_each_from_where_the_operator_says(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice = await Trader.come(door, "alice")
        listener = await _listener(door, "op")
        (answer,) = await listener.subscribe("entries")
        assert answer["applied_index"] == door.replica.raft.applied_index
        indexes = [(await alice.do(_buy()))[3] for _ in range(4)]
        told = await listener.pushes()
        assert [entry[0] for entry in told] == indexes
        again = await _listener(door, "op")
        _, *pushes = await again.subscribe("entries", from_index=indexes[1])
        assert pushes == told[1:]
        await alice.do(_buy())
        assert len(await again.pushes()) == 1

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize("name", ["entries", "reports"])
@pytest.mark.parametrize("from_index", [0, 1, 2])
def test_a_young_cluster_tells_its_whole_history(
    tmp_path: Path, name: str, from_index: int
) -> None:
    # The first entries are Raft's own: that they are not told does not mean that they are lost.
    async def scene(door: Door) -> None:
        trader = await Trader.come(door, "op")
        indexes = [(await trader.do(_buy()))[3] for _ in range(3)]
        listener = await _listener(door, "op")
        answer, *pushes = await listener.subscribe(name, from_index=from_index)
        assert "subscription" in answer
        assert [push[0] for push in pushes][-3:] == indexes

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize("name", ["entries", "reports"])
def test_what_is_no_longer_kept_is_refused_rather_than_left_out(tmp_path: Path, name: str) -> None:
    async def scene(door: Door) -> None:
        trader = await Trader.come(door, "op")
        indexes = [(await trader.do(_buy()))[3] for _ in range(6)]
        listener = await _listener(door, "op")
        ((code, message),) = await listener.subscribe(name, from_index=indexes[2])
        assert code == Reject.TOO_STALE
        assert f"before {indexes[3]} are no longer kept" in message
        _, *pushes = await listener.subscribe(name, from_index=indexes[3])
        assert [push[0] for push in pushes] == indexes[3:]

    at_the_door(tmp_path, scene, entries_kept=3)


@pytest.mark.parametrize("name", ["entries", "reports"])
def test_what_a_snapshot_covers_is_refused_rather_than_left_out(tmp_path: Path, name: str) -> None:
    async def before(door: Door) -> None:
        trader = await Trader.come(door, "op")
        for _ in range(6):
            await trader.do(_buy())
        door.replica.start_snapshot()
        door.turns()

    async def after(door: Door) -> None:
        index = door.replica.snapshot_index
        assert index > 5
        listener = await _listener(door, "op")
        for from_index in (1, index):
            ((code, _),) = await listener.subscribe(name, from_index=from_index)
            assert code == Reject.TOO_STALE
        answer, *pushes = await listener.subscribe(name, from_index=index + 1)
        assert "subscription" in answer
        assert pushes == []

    at_the_door(tmp_path, before)
    at_the_door(tmp_path, after)


# -- who may, and how many ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "name", "arguments", "code"),
    [
        ("", "reports", {}, Reject.NOT_AUTHORIZED),
        ("", "entries", {}, Reject.NOT_AUTHORIZED),
        ("alice", "entries", {}, Reject.NOT_AUTHORIZED),
        ("op", "nonsense", {}, Reject.MALFORMED),
        ("op", "x" * 4_000, {}, Reject.MALFORMED),
        ("op", "feed", {}, Reject.UNKNOWN_INSTRUMENT),
        ("op", "feed", {"symbol": "Z"}, Reject.UNKNOWN_INSTRUMENT),
        *(
            ("op", "feed", {"symbol": "A", "from_seq": value}, Reject.MALFORMED)
            for value in (-1, 1.5, math.nan, True, "1", (1,), {"a": 1}, b"x" * 3_999)
        ),
        *(
            ("op", name, {"from_index": value}, Reject.MALFORMED)
            for value in (-1, 1.5, math.nan, True, "1", (1,), {"a": 1}, b"x" * 3_999)
            for name in ("entries", "reports")
        ),
    ],
    ids=repr,
)
def test_a_wrong_subscription_is_refused(
    tmp_path: Path, account: str, name: str, arguments: dict[str, Any], code: Reject
) -> None:
    async def scene(door: Door) -> None:
        listener = await _listener(door, account)
        ((found, message),) = await listener.subscribe(name, **arguments)
        assert found == code, message
        assert len(message) < 300
        assert not listener.connection.subscriptions

    at_the_door(tmp_path, scene)


def test_subscriptions_of_a_connection_are_bounded(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        listener = await _listener(door)
        for _ in range(64):
            answer, *_ = await listener.subscribe("feed", symbol="A")
            assert "subscription" in answer
        ((code, _),) = await listener.subscribe("feed", symbol="A")
        assert code == Reject.OVERLOADED

    at_the_door(tmp_path, scene)


def test_a_subscriber_that_does_not_read_is_dropped_and_the_others_are_not(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        trader = await Trader.come(door, "alice")
        reader, sleeper = await _listener(door), await _listener(door)
        for listener in (reader, sleeper):
            await listener.subscribe("feed", symbol="A")
        sleeper.transport.is_full = True
        seen: list[Any] = []
        for _ in range(40):
            await trader.do(*[_buy()] * 50)
            seen += await reader.pushes()
        assert sleeper.transport.was_aborted
        assert [push[0] for push in seen] == list(range(1, 2_001))

    at_the_door(tmp_path, scene, bounds=replace(BOUNDS, buffer_bytes_max=20_000), feed_kept=10_000)


def test_after_an_installed_snapshot_subscribers_are_sent_away(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        listener, other = await _listener(door), await _listener(door)
        await listener.subscribe("feed", symbol="A")
        for told in door.replica.on_installed:
            told()
        await listener.hear()
        assert listener.is_closed
        assert not other.is_closed

    at_the_door(tmp_path, scene)


def test_a_fenced_node_sends_its_subscribers_away_after_what_it_had_for_them(
    tmp_path: Path,
) -> None:
    """A stream that has only fallen silent would keep its reader for ever."""

    async def scene(door: Door) -> None:
        trader = await Trader.come(door, "alice")
        listener, other = await _listener(door), await _listener(door)
        await listener.subscribe("feed", symbol="A", from_seq=1)
        await trader.do(_buy(5))
        door.replica._stop(FenceKind.STORAGE, "the disk failed")
        assert [value[0] for value in await listener.pushes()] == [1]
        assert listener.is_closed
        assert not other.is_closed
        says = "node 1 is fenced: the disk failed; ask another"
        assert await other.subscribe("feed", symbol="A") == [(Reject.TOO_STALE, says)]
        assert (await other.query("book", symbol="A"))["feed_seq"] == 1
        door.replica.fence = None

    at_the_door(tmp_path, scene)


def test_a_subscriber_of_a_node_that_hears_of_no_leader_is_sent_away_when_it_asks_for_a_sign(
    tmp_path: Path,
) -> None:
    async def scene(door: Door) -> None:
        listener, other = await _listener(door), await _listener(door)
        await listener.subscribe("feed", symbol="A")
        assert await listener.ask(m.PING, 7) == (m.PONG, 7)
        door.replica.raft.majority_heard_at = lambda: door.now - 3.5  # type: ignore[method-assign]
        assert await other.ask(m.PING, 8) == (m.PONG, 8)
        kind, ref, code, message = await listener.ask(m.PING, 9)
        assert (kind, ref, code) == (m.FAILURE, 0, Reject.TOO_STALE)
        assert "last heard of a leader 3.5 s ago" in message
        assert listener.is_closed
        # While nobody leads no node is newer: who comes back is not turned away.
        answer, *_ = await other.subscribe("feed", symbol="A")
        assert answer["subscription"] == 1

    at_the_door(tmp_path, scene, bounds=replace(BOUNDS, read_age_max_s=3.0))
