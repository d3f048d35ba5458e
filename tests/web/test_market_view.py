"""/v1/book and /v1/log: exact decimals, bounded pages, and nobody's name."""

import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftbook.core import commands as c
from raftbook.core.instrument import from_units
from raftbook.core.types import Side
from raftbook.web.decimals import unit
from raftbook.wire import client_messages as m
from tests.gateway.door import Door, at_the_door
from tests.web.asgi import app_of, call, get


async def _market(door: Door) -> None:
    alice = door.caller()
    session = await alice.open("alice")
    orders = (
        c.new_order("A", Side.BUY, 2, 10, client_order_id="my-secret-name"),
        c.new_order("A", Side.BUY, 3, 9),
        c.new_order("A", Side.SELL, 1, 10),
        c.new_order("A", Side.SELL, 1, 10**6),
    )
    await alice.ask(m.REQUEST, session, 1, orders)


def test_a_book_is_decimals_with_running_totals(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        await _market(door)
        document = (await get(app_of(door, tmp_path), "/v1/book/A", "depth=5")).json()
        assert document["bids"] == [
            {"price": "0.10", "qty": "1", "total": "1", "orders": 1},
            {"price": "0.09", "qty": "3", "total": "4", "orders": 1},
        ]
        assert document["asks"] == []
        assert (document["last_price"], document["phase"]) == ("0.10", "continuous")
        assert document["applied_index"] == door.replica.raft.applied_index

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize(
    ("path", "query", "status", "error"),
    [
        ("/v1/book/NONE", "", 404, "unknown_instrument"),
        ("/v1/book/A", "depth=0", 400, "malformed"),
        ("/v1/book/A", "depth=x", 400, "malformed"),
        ("/v1/log", "limit=100000", 400, "malformed"),
        ("/v1/log", "from=-1", 400, "malformed"),
        ("/v1/log", "from=" + "9" * 40, 400, "malformed"),
        ("/v1/log", "from=%C2%B2", 400, "malformed"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, path: str, query: str, status: int, error: str
) -> None:
    async def scene(door: Door) -> None:
        answer = await get(app_of(door, tmp_path), path, query)
        assert (answer.status, answer.json()["error"]) == (status, error)

    at_the_door(tmp_path, scene)


def test_the_log_tells_what_the_market_may_know(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        await _market(door)
        answer = await get(app_of(door, tmp_path), "/v1/log", "limit=1")
        (entry,) = answer.json()["entries"]
        assert b"alice" not in answer.body
        assert b"my-secret-name" not in answer.body
        assert entry["requests"] == 1
        assert [event["event"] for event in entry["events"]] == [
            "accepted",
            "accepted",
            "accepted",
            "trade",
            "rejected",
        ]
        assert entry["events"][0] == {
            "event": "accepted",
            "symbol": "A",
            "feed_seq": 1,
            "kind": "add",
            "order_id": 1,
            "side": "buy",
            "price": "0.10",
            "qty": "2",
        }
        assert entry["events"][2] == {"event": "accepted"}
        assert entry["events"][3]["taker_side"] == "sell"
        assert entry["events"][4] == {"event": "rejected", "reason": "bad_price"}

    at_the_door(tmp_path, scene)


def test_the_log_does_not_tell_that_something_hidden_rests(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice", "hides")
        orders = (c.place_order("A", Side.BUY, 2, 5, hidden=True), c.cancel_order(order_id=1))
        await caller.ask(m.REQUEST, session, 1, orders)
        answer = await get(app_of(door, tmp_path), "/v1/log", "limit=1")
        (entry,) = answer.json()["entries"]
        assert entry["events"] == [{"event": "accepted"}, {"event": "canceled"}]
        assert entry["event_count"] == 2

    at_the_door(tmp_path, scene)


def _signed(account: str, secret: str, now_ms: int) -> tuple[str, dict[str, str]]:
    query = f"limit=1&timestamp={now_ms}"
    signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    return f"{query}&signature={signature}", {"X-MBX-APIKEY": account}


def test_an_operator_who_signs_sees_who_it_was(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        await _market(door)
        app = app_of(door, tmp_path)
        now_ms = int(door.now * 1_000)
        query, headers = _signed("op", "anything: it has no secret", now_ms)
        answer = await call(app, "GET", "/v1/log", query=query, headers=headers)
        (entry,) = answer.json()["entries"]
        assert entry["events"][0]["whole"][2][:3] == [1, "alice", "my-secret-name"]
        for account, secret, status, code in (
            ("alice", "", 403, -2015),
            ("bob", "bobs secret", 403, -2015),
            ("bob", "guessed", 400, -1022),
            ("nobody", "", 401, -2015),
        ):
            query, headers = _signed(account, secret, now_ms)
            answer = await call(app, "GET", "/v1/log", query=query, headers=headers)
            assert (answer.status, answer.json()["code"]) == (status, code), account
            assert b"my-secret-name" not in answer.body

    at_the_door(tmp_path, scene)


def test_pages_of_the_log_go_on_where_the_last_one_ended(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        for name in ("alice", "op", "alice"):
            await door.caller().open(name, f"of-{name}")
        app = app_of(door, tmp_path)
        told = []
        place = 1
        while True:
            page = (await get(app, "/v1/log", f"from={place}&limit=1")).json()
            if not page["entries"]:
                break
            told += [entry["index"] for entry in page["entries"]]
            place = page["next"]
        newest = (await get(app, "/v1/log", "limit=200")).json()
        assert told == [entry["index"] for entry in newest["entries"]]
        assert told == sorted(set(told))
        assert newest["next"] == told[-1] + 1

    at_the_door(tmp_path, scene)


@given(
    st.integers(-(2**63), 2**63 - 1), st.sampled_from(["0.01", "1", "0.5", "10", "2.50", "1E+2"])
)
def test_units_are_exact(count: int, size: str) -> None:
    from decimal import Decimal

    assert Decimal(unit(size).text(count)) == from_units(count, Decimal(size))
