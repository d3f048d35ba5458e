"""What a node answers of a whole venue: icebergs, stops, money, candles, calls; and who may ask."""

from pathlib import Path
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core.exchange import Exchange
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.core.types import OrderType, Phase, Reject, Settlement, Side, TimeInForce, TrailUnit
from raftbook.gateway import market_queries
from raftbook.gateway.refresh import refresh_pages
from raftbook.wire import client_messages as m
from raftbook.wire import pages
from tests.gateway.door import GENESIS, Caller, Door, at_the_door

FUNDED = InstrumentTerms(
    "F",
    "OIL",
    "USD",
    "0.01",
    "1",
    1_000,
    0,
    1_000,
    settlement=int(Settlement.FUNDED),
    maker_fee=-10,
    taker_fee=100,
)


class Speaker:
    """A caller with a session."""

    def __init__(self, caller: Caller, session: int) -> None:
        self.caller, self.session, self.seq = caller, session, 0

    @classmethod
    async def come(cls, door: Door, account: str) -> "Speaker":
        caller = door.caller()
        return cls(caller, await caller.open(account, f"speaker-{account}"))

    async def do(self, *commands: c.Command) -> tuple[Any, ...]:
        """One request; its events."""
        self.seq += 1
        reply = await self.caller.ask(m.REQUEST, self.session, self.seq, commands)
        assert reply[0] == m.REPLY, reply
        return tuple(reply[7])


async def _funded(door: Door) -> tuple[Speaker, Speaker]:
    """alice with money, op with oil, and one trade of 5 at 100 between them: op made it."""
    op, alice = await Speaker.come(door, "op"), await Speaker.come(door, "alice")
    await op.do(c.create_currency("USD", 4), c.create_currency("OIL", 0))
    await op.do(
        c.list_instrument(FUNDED),
        c.deposit("alice", "USD", 10_000_000, "t1"),
        c.deposit("op", "OIL", 50, "t2"),
    )
    await op.do(c.new_order("F", Side.SELL, 5, 100, client_order_id="s1"))
    await alice.do(c.new_order("F", Side.BUY, 8, 100, client_order_id="b1"))
    return op, alice


def test_nobody_is_shown_what_an_iceberg_hides(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice = await Speaker.come(door, "alice")
        await alice.do(
            c.place_order("A", Side.BUY, 10, 5, display_qty=3), c.new_order("A", Side.BUY, 1, 5)
        )
        asked = await alice.caller.query("book", symbol="A", orders=True)
        assert asked["bids"] == ((5, 4, 2),)
        assert asked["bid_orders"] == ((1, 5, 3), (2, 5, 1))
        (page,) = refresh_pages(door.server.queries, "A")
        assert page["bid_orders"] == [(1, 5, 3), (2, 5, 1)]
        own = await alice.caller.query("order", order_id=1)
        assert (own["leaves_qty"], own["shown_qty"]) == (10, 3)

    at_the_door(tmp_path, scene)


def test_nobody_is_shown_a_hidden_order(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, op = await Speaker.come(door, "alice"), await Speaker.come(door, "op")
        await alice.do(
            c.place_order("A", Side.BUY, 4, 6, hidden=True),
            c.place_order("A", Side.BUY, 3, 5, hidden=True),
            c.new_order("A", Side.BUY, 1, 5),
        )
        asked = await op.caller.query("book", symbol="A", orders=True)
        assert (asked["bids"], asked["bid_orders"]) == (((5, 1, 1),), ((3, 5, 1),))
        (page,) = refresh_pages(door.server.queries, "A")
        assert (page["bids"], page["bid_orders"]) == ([(5, 1, 1)], [(3, 5, 1)])
        await op.do(c.new_order("A", Side.SELL, 5, 5))
        rows = (await op.caller.query("trades", symbol="A"))["trades"]
        assert [(row[1:3], row[6:]) for row in rows] == [((6, 4), (0, 4)), ((5, 1), (3, 4))]
        listed, *_ = await op.caller.query("instruments")
        assert listed["resting_orders"] == 0
        own = await alice.caller.query("order", order_id=2)
        assert (own["leaves_qty"], own["shown_qty"], own["resting"]) == (3, 0, True)

    at_the_door(tmp_path, scene)


def test_an_order_that_waits_tells_where_its_stop_is_now(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice = await Speaker.come(door, "alice")
        await alice.do(c.new_order("A", Side.BUY, 9, 100), c.new_order("A", Side.SELL, 1, 100))
        trail = {"ord_type": OrderType.STOP, "trail_unit": TrailUnit.TICKS, "trail_offset": 4}
        await alice.do(c.place_order("A", Side.SELL, 2, None, **trail))
        waiting = await alice.caller.query("order", order_id=3)
        assert (waiting["waiting"], waiting["resting"], waiting["stop_price"]) == (True, False, 96)
        assert (waiting["shown_qty"], waiting["session_id"]) == (0, alice.session)
        await alice.do(c.cancel_order(order_id=3))
        closed = await alice.caller.query("order", order_id=3)
        assert (closed["waiting"], closed["stop_price"]) == (False, None)
        assert closed["closed_ns"] >= closed["entered_ns"] > 0

    at_the_door(tmp_path, scene)


def test_an_account_is_told_its_money_limits_and_readers(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        op, alice = await _funded(door)
        await op.do(c.set_account("alice", group="desk", orders_per_s=7))
        await alice.do(c.set_drop_copy("bob", on=True), c.set_api_key("alice", "k1", "s3cret"))
        view = await alice.caller.query("account")
        rested = 3 * 100 * 100 + 30  # three lots at 100, and the worst fee: 10 bp
        assert view == {
            "applied_index": door.replica.raft.applied_index,
            "account": "alice",
            "operator": False,
            "enabled": True,
            "killed": False,
            "group": "desk",
            "open_orders": 1,
            "venue_killed": False,
            "limits": {
                "open_orders_max": 0,
                "order_qty_max": 0,
                "order_notional_max": 0,
                "orders_per_s": 7,
                "orders_burst": 0,
            },
            "balances": (
                ("USD", 4, 10_000_000 - 50_050 - rested, rested),
                ("OIL", 0, 5, 0),
            ),
            "readers": ("bob",),
            "api_keys": ("k1",),
        }
        assert await op.caller.query("account", account="alice") == view
        order = await alice.caller.query("order", client_order_id="b1")
        assert order["held"] == rested

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize("name", ["account", "fills"])
def test_other_accounts_are_for_operators(tmp_path: Path, name: str) -> None:
    async def scene(door: Door) -> None:
        op, alice = await Speaker.come(door, "op"), await Speaker.come(door, "alice")
        says = "other accounts are for operators to look at"
        for other in ("op", "nobody"):
            answer = await alice.caller.query(name, symbol="A", account=other)
            assert answer == (Reject.NOT_AUTHORIZED, says)
        answer = await op.caller.query(name, symbol="A", account="nobody")
        assert answer == (Reject.UNKNOWN_ACCOUNT, "no account 'nobody'")

    at_the_door(tmp_path, scene)


def test_accounts_are_listed_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ACCOUNT_ROWS", 2)

    async def scene(door: Door) -> None:
        op = await Speaker.come(door, "op")
        await op.do(c.set_account("bob", enabled=False))
        first = (await op.caller.query("accounts"))["accounts"]
        rest = (await op.caller.query("accounts", **{"from": 2}))["accounts"]
        assert [each["account"] for each in (*first, *rest)] == ["op", "alice", "bob"]
        assert (first[0]["operator"], rest[0]["enabled"]) == (True, False)

    at_the_door(tmp_path, scene)


def test_currencies_are_public_and_the_takings_are_not(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        op, alice = await _funded(door)
        told = (await op.caller.query("currencies"))["currencies"]
        assert told == (("USD", 4, 45, 10_000_000), ("OIL", 0, 0, 50))  # 50 taken, 5 rebated
        stranger = door.caller()
        await stranger.greet()
        for caller in (alice.caller, stranger):
            told = (await caller.query("currencies"))["currencies"]
            assert told == (("USD", 4, None, None), ("OIL", 0, None, None))

    at_the_door(tmp_path, scene)


def test_fills_tell_the_own_side_its_fee_and_whether_it_was_undone(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        op, alice = await _funded(door)
        ((*head, side, liquidity, order_id, name, fee, busted),) = (
            await alice.caller.query("fills", symbol="F")
        )["fills"]
        index = door.replica.raft.applied_index
        assert head == [1, 100, 5, door.replica.machine.exchange.now_ns, index]
        assert (side, liquidity, order_id, name) == (Side.BUY, "taker", 2, "b1")
        assert (fee, busted) == (50, False)
        await op.do(c.bust_trade("F", 1))
        (row,) = (await op.caller.query("fills", symbol="F"))["fills"]
        assert row[5:] == (Side.SELL, "maker", 1, "s1", -5, True)
        (same,) = (await op.caller.query("fills", symbol="F", account="alice"))["fills"]
        assert same[6:10] == ("taker", 2, "b1", 50)

    at_the_door(tmp_path, scene)


def test_a_call_tells_what_its_auction_would_do(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        op = await Speaker.come(door, "op")
        quiet = await op.caller.query("auction", symbol="A")
        assert (quiet["price"], quiet["volume"], quiet["call_until_ns"]) == (None, 0, None)
        until_ns = door.replica.machine.exchange.now_ns + 10**9
        await op.do(
            c.call_auction("A", until_ns=until_ns, then=Phase.CLOSED),
            c.new_order("A", Side.BUY, 5, 102),
            c.place_order("A", Side.SELL, 3, 100, time_in_force=TimeInForce.AT_AUCTION),
        )
        assert await op.caller.query("auction", symbol="A") == {
            "symbol": "A",
            "applied_index": door.replica.raft.applied_index,
            "phase": Phase.AUCTION,
            "feed_seq": 3,
            "price": 102,
            "volume": 3,
            "imbalance": 2,
            "call_until_ns": until_ns,
            "call_then": Phase.CLOSED,
        }
        await op.do(c.set_phase("A", Phase.CONTINUOUS))
        (trade,) = (await op.caller.query("trades", symbol="A"))["trades"]
        assert (trade[1:3], trade[5]) == ((102, 3), 0), "in an auction nobody takes"
        rows = (await op.caller.query("fills", symbol="A"))["fills"]
        assert [row[5:7] for row in rows] == [(Side.BUY, "auction"), (Side.SELL, "auction")]

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize("width", ["minute", "hour", "day"])
def test_candles_are_the_last_of_their_width(tmp_path: Path, width: str) -> None:
    async def scene(door: Door) -> None:
        alice = await Speaker.come(door, "alice")
        await alice.do(c.new_order("A", Side.SELL, 9, 100), c.new_order("A", Side.BUY, 2, 100))
        value = await alice.caller.query("candles", symbol="A", width=width)
        (row,) = value["candles"]
        assert row[1:] == (100, 100, 100, 100, 2, 200, 1, 2, 200)
        assert (value["symbol"], value["width"]) == ("A", width)
        none = await alice.caller.query("candles", symbol="A", width=width, limit=0)
        assert none["candles"] == ()

    at_the_door(tmp_path, scene)


def test_what_some_members_do_not_know_is_refused_and_nothing_is_logged(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice = await Speaker.come(door, "alice")
        door.replica.machine.exchange.engine_version = 1
        index = door.replica.raft.applied_index
        order = c.place_order("A", Side.BUY, 10, 5, display_qty=3)
        answer = await alice.caller.ask(m.REQUEST, alice.session, 1, (c.cancel_order(), order))
        assert answer[:4] == (m.REFUSED, alice.session, 1, Reject.UNSUPPORTED_VERSION)
        assert answer[4].startswith("this needs engine version 2 and the cluster goes by 1")
        assert door.replica.raft.applied_index == index
        door.replica.machine.exchange.engine_version = 2
        answer = await alice.caller.ask(m.REQUEST, alice.session, 1, (order,))
        assert answer[0] == m.REPLY

    at_the_door(tmp_path, scene)


def test_an_account_made_later_is_open_until_it_has_a_key(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        op = await Speaker.come(door, "op")
        await op.do(c.create_account("carol"))
        await door.caller().greet("carol")
        await op.do(c.set_api_key("carol", "key-1", "one"), c.set_api_key("carol", "key-2", "two"))
        caller = door.caller()
        await caller.greet()
        for secret in ("three", "key-1"):
            proof = m.login_proof(secret, "carol", b"n" * 32)
            assert (await caller.ask(m.LOGIN, 1, "carol", proof))[2] == Reject.NOT_AUTHORIZED
        assert (await caller.ask(m.LOGIN, 1, "carol", b""))[2] == Reject.NOT_AUTHORIZED
        for secret in ("one", "two"):
            await door.caller().greet("carol", m.login_proof(secret, "carol", b"n" * 32))
        # One of cluster.toml stays what it is there: open, or with its own secret.
        await op.do(c.set_api_key("alice", "key-3", "three"))
        await door.caller().greet("alice")

    at_the_door(tmp_path, scene)


def test_an_auction_that_goes_on_in_pages_tells_what_it_does_in_all() -> None:
    exchange = Exchange(GENESIS._replace(limits=Limits(auction_page=1)))
    exchange.put_in_force(2)
    opening = (c.NO_SESSION, 1, (c.open_session("op", "k"),))
    exchange.apply(c.Entry(1, 10**18, (opening,)))
    says = [c.set_phase("A", Phase.AUCTION)]
    says += [c.new_order("A", side, 2, 100) for side in Side for _ in range(3)]
    says += [c.set_phase("A", Phase.CONTINUOUS)]
    exchange.apply(c.Entry(2, 10**18, ((1, 1, tuple(says)),)))
    book = exchange.books["A"]
    told = market_queries.auction(book)
    assert book.trade_id < 3, "it is over at once"
    assert (told["price"], told["volume"], told["imbalance"]) == (100, 6, 0)
    for index in range(3, 9):
        exchange.apply(c.Entry(index, 10**18, ()))
    assert market_queries.auction(book)["price"] is None
