"""Verbs of a whole venue, by both clients: orders with conditions, accounts, money, instruments."""

import inspect
from decimal import Decimal
from typing import Any

import pytest

from raftbook.client import AsyncClient, Client, OrderRequest, Refused
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import OrderType, Phase, PostOnly, Reject, Settlement, TimeInForce
from tests.client.cluster import START_NS, Cluster, client_of, in_loop

both = pytest.mark.parametrize("kind", ["async", "sync"])
FUNDED = InstrumentTerms(
    "GOLD-USD",
    "GOLD",
    "USD",
    "0.01",
    "0.1",
    10_000,
    0,
    1_000_000,
    settlement=int(Settlement.FUNDED),
    maker_fee=0,
    taker_fee=100,
)


def test_both_clients_have_the_same_verbs() -> None:
    def verbs(kind: type) -> dict[str, str]:
        members = inspect.getmembers(kind, inspect.isfunction)
        return {name: str(inspect.signature(f)) for name, f in members if name[0] != "_"}

    blocking, waiting = verbs(Client), verbs(AsyncClient)
    assert blocking.keys() == waiting.keys()
    for name, signature in blocking.items():
        assert signature == waiting[name].replace("Async", ""), name


@both
@in_loop
async def test_a_pegged_order_says_what_it_follows_and_where_it_stands(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        await client.submit("ETH-USD", "buy", 1, "9", client_order_id="floor")
        peg = await client.submit(
            "ETH-USD", "buy", 2, "9.50", peg="primary", peg_offset="0.25", client_order_id="follows"
        )
        assert (peg.ord_status, peg.price, peg.repriced) == ("NEW", Decimal("9.25"), False)
        await client.submit("ETH-USD", "buy", 1, "9.40")
        view = await client.order(client_order_id="follows")
        assert (view.ord_type, view.peg, view.peg_offset) == ("PEGGED", "PRIMARY", Decimal("0.25"))
        assert (view.price, view.limit_price) == (Decimal("9.50"), Decimal("9.50"))
        assert (view.resting, view.waiting) == (True, False)
        waits = await client.submit("ETH-USD", "sell", 1, peg="midpoint")
        view = await client.order(order_id=waits.order_id)
        assert (view.price, view.resting, view.waiting) == (None, False, True)
        for wrong in ({"peg": "best"}, {"peg_offset": 1}, {"peg": "market", "hidden": True}):
            with pytest.raises(ValueError, match="peg"):
                await client.submit("ETH-USD", "buy", 2, "9", **wrong)
        instead = OrderRequest("ETH-USD", "buy", 2, "9", peg="primary")
        with pytest.raises(ValueError, match="instead of another"):
            await client.cancel_replace(instead, order_id=waits.order_id)


@both
@in_loop
async def test_every_condition_of_an_order_is_sent_in_its_units(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        await client.submit("ETH-USD", "sell", 50, "10")
        await client.submit("ETH-USD", "buy", 1, "10")
        ends_ns = START_NS + 10**9
        iceberg = await client.submit(
            "ETH-USD", "buy", 9, "9", display_qty=2, expire_time_ns=ends_ns, min_qty=None
        )
        view = await client.order(order_id=iceberg.order_id)
        assert (view.display_qty, view.shown_qty, view.time_in_force) == (2, 2, "GTD")
        assert view.expire_time_ns == ends_ns
        trailing = await client.submit("ETH-USD", "sell", 1, trail="0.25")
        view = await client.order(order_id=trailing.order_id)
        assert (view.ord_type, str(view.trail), str(view.stop_price)) == ("STOP", "0.25", "9.75")
        assert (view.waiting, view.resting) == (True, False)
        in_bps = await client.submit(
            "ETH-USD", "sell", 1, "9.50", trail_bps=100, time_in_force=TimeInForce.DAY
        )
        view = await client.order(order_id=in_bps.order_id)
        assert (view.ord_type, view.trail_bps, str(view.stop_price)) == ("STOP_LIMIT", 100, "9.90")
        touched = await client.submit(
            "ETH-USD", "buy", 1, ord_type=OrderType.IF_TOUCHED, stop_price="9.20"
        )
        assert touched.ord_status == "NEW"
        hidden = await client.submit("ETH-USD", "buy", 1, "8.50", hidden=True)
        view = await client.order(order_id=hidden.order_id)
        assert (hidden.ord_status, view.resting) == ("NEW", True)
        assert (view.hidden, view.shown_qty, view.leaves_qty) == (True, 0, 1)
        by_bid = await client.submit("ETH-USD", "sell", 1, stop_price="8.50", trigger_by="bid")
        view = await client.order(order_id=by_bid.order_id)
        assert (view.ord_type, view.trigger_by, view.waiting) == ("STOP", "BID", True)
        minimum = await client.submit("ETH-USD", "buy", 60, "10", min_qty=55)
        assert (minimum.ord_status, minimum.reject_name) == ("EXPIRED", "MIN_QTY_NOT_MET")
        moved = await client.submit("ETH-USD", "buy", 1, "11", post_only=PostOnly.REPRICE)
        assert (moved.repriced, str(moved.price)) == (True, "9.99")
        spent = await client.submit("ETH-USD", "buy", quote_qty="35.009")
        assert (spent.ord_status, spent.cum_qty, str(spent.avg_price)) == ("FILLED", 3, "10.00")


@both
@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"qty": 1, "price": "1", "display_qty": "0.5"}, "LOT_SIZE"),
        ({"qty": 1, "stop_price": "1.005"}, "TICK_SIZE"),
        ({"qty": 1, "trail": "0.001"}, "TICK_SIZE"),
        ({"quote_qty": "0.001"}, "BAD_AMOUNT"),
        ({"quote_qty": "1" + "0" * 70}, "BAD_AMOUNT"),
    ],
)
@in_loop
async def test_a_condition_between_units_is_not_sent(
    kind: str, fields: dict[str, Any], name: str
) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        result = await client.submit("ETH-USD", "buy", **fields)
        assert (result.ord_status, result.reject_name) == ("REJECTED", name)
        assert cluster.nodes[0].requests == []


@both
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"qty": 1, "quote_qty": 1},
        {"qty": 1, "trail": 1, "trail_bps": 1},
        {"qty": 1, "stop_price": 9, "trigger_by": "index"},
    ],
)
@in_loop
async def test_what_a_program_cannot_mean_is_an_error_of_the_program(
    kind: str, fields: dict[str, Any]
) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        with pytest.raises(ValueError, match=r"qty|trail|one of last, bid, ask, mid"):
            await client.submit("ETH-USD", "buy", **fields)


@both
@in_loop
async def test_pairs_replacements_and_cancels_of_many(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        await client.submit("ETH-USD", "buy", 1, "10")
        await client.submit("ETH-USD", "sell", 1, "10")
        pair = OrderRequest("ETH-USD", "sell", 2, "12", stop_price="8", client_order_id="x")
        result = await client.submit_oco(
            pair, stop_limit_price="7.50", stop_client_order_id="x-stop"
        )
        leg = await client.order(client_order_id="x-stop")
        assert result.stop_leg.order_id == leg.order_id == result.order_id + 1
        assert (str(leg.price), str(leg.stop_price)) == ("7.50", "8.00")
        assert leg.oco_order_id == result.order_id
        amended = await client.amend(client_order_id="x-stop", stop_price="8.50")
        assert amended.ord_status == "NEW"
        assert str((await client.order(client_order_id="x-stop")).stop_price) == "8.50"
        first = await client.submit("ETH-USD", "buy", 1, "5")
        new = await client.cancel_replace(
            OrderRequest("ETH-USD", "buy", 3, "6"), order_id=first.order_id
        )
        assert (new.ord_status, new.replaced.ord_status) == ("NEW", "CANCELED")
        gone = await client.mass_cancel("ETH-USD", side="buy", price_low="5.50")
        assert (gone.details["canceled"], gone.details["more"]) == (1, False)
        gone = await client.mass_cancel()
        assert gone.details["canceled"] == 2
        refused = await client.mass_cancel("ETH-USD", price_high="0.001")
        assert refused.reject_name == "TICK_SIZE"
        assert await client.orders() == []


@both
@in_loop
async def test_accounts_and_their_money(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        for name in ("USD", "GOLD"):
            assert (await client.create_currency(name, 4)).ord_status == "DONE"
        assert (await client.create_account("carol", group="desk")).details["group"] == "desk"
        paid = await client.deposit("carol", "USD", "100.5", "t1")
        assert (paid.details["available"], paid.details["repeated"]) == (Decimal("100.5"), False)
        again = await client.deposit("carol", "USD", "100.5", "t1")
        assert again.details["repeated"] is True
        out = await client.withdraw("carol", "USD", "0.5", "t2")
        assert out.details["amount"] == Decimal("-0.5")
        assert (await client.deposit("carol", "EUR", 1, "t3")).reject_name == "UNKNOWN_CURRENCY"
        assert (await client.deposit("carol", "USD", "0.00001", "t")).reject_name == "BAD_AMOUNT"
        assert (await client.balances("carol"))["USD"].available == 100
        currencies = await client.currencies()
        assert (currencies["USD"].decimals, currencies["USD"].supply) == (4, 100)
        await client.set_account("carol", enabled=False, orders_per_s=3)
        await client.kill_switch("carol", on=True)
        await client.set_api_key("k1", "s3cret", account="carol")
        await client.set_drop_copy("alice")
        view = await client.account("carol")
        assert (view.enabled, view.killed, view.limits["orders_per_s"]) == (False, True, 3)
        assert (view.api_keys, view.group) == (("k1",), "desk")
        assert (await client.account()).readers == ("alice",)
        assert [head.account for head in await client.accounts()] == ["demo", "alice", "carol"]


@both
@in_loop
async def test_instruments_that_settle_and_what_is_told_of_their_trades(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        await client.create_currency("USD", 4)
        await client.create_currency("GOLD", 1)
        await client.deposit("demo", "USD", 1_000, "t1")
        await client.deposit("demo", "GOLD", 10, "t2")
        listed = await client.list_instrument(FUNDED, Phase.PRE_OPEN)
        assert listed.details["symbol"] == "GOLD-USD"
        await client.submit("GOLD-USD", "sell", 2, "50", client_order_id="s")
        bought = await client.submit("GOLD-USD", "buy", 1, "51", client_order_id="b")
        assert bought.ord_status == "NEW"
        view = await client.auction("GOLD-USD")
        assert (str(view.price), view.volume, view.imbalance) == ("50.00", 1, -1)
        opened = await client.set_phase("GOLD-USD", "continuous")
        assert opened.details == {"symbol": "GOLD-USD", "phase": Phase.CONTINUOUS}
        taken = await client.submit("GOLD-USD", "buy", 1, "50")
        assert [str(trade.fee) for trade in taken.trades] == ["0.0500"]
        fills = (await client.fills("GOLD-USD")).fills
        assert [fill.liquidity for fill in fills] == ["auction", "auction", "maker", "taker"]
        assert [str(fill.fee) for fill in fills][2:] == ["0.0000", "0.0500"]
        (auction, trade) = (await client.trades("GOLD-USD")).trades
        assert (auction.taker_side, trade.taker_side) == ("AUCTION", "BUY")
        (candle,) = (await client.candles("GOLD-USD", "hour")).candles
        assert (candle.qty, candle.quote_qty, candle.trades) == (2, 100, 2)
        undone = await client.bust_trade("GOLD-USD", 2)
        assert undone.details["trade_id"] == 2
        assert (await client.fills("GOLD-USD")).fills[-1].busted


@both
@in_loop
async def test_the_life_of_an_instrument(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        amended = await client.amend_instrument("ETH-USD", qty_min=5, tick_size="0.5")
        assert amended.details["qty_min"] == 5
        assert (await client.submit("ETH-USD", "buy", 4, "1.50")).reject_name == "QTY_TOO_SMALL"
        assert str((await client.instruments())["ETH-USD"].tick_size) == "0.5"
        called = await client.call_auction("ETH-USD", until_ns=START_NS + 10**9)
        assert called.details["phase"] == Phase.AUCTION
        assert (await client.auction("ETH-USD")).call_until_ns == START_NS + 10**9
        assert (await client.roll_day()).details == {"day": 1}
        assert (await client.delete_instrument("ETH-USD")).reject_name == "INSTRUMENT_NOT_EMPTY"
        await client.set_phase("ETH-USD", Phase.CLOSED)
        assert (await client.delete_instrument("ETH-USD")).ord_status == "DONE"
        assert list(await client.instruments()) == ["BTC-USD"]
        with pytest.raises(Refused) as caught:
            await client.amend_instrument("ETH-USD", qty_min=1)
        assert caught.value.code == Reject.UNKNOWN_INSTRUMENT


@both
@in_loop
async def test_a_session_that_dies_with_its_connection(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        first = await client.attach_session(cancel_on_disconnect=True, lease_ms=5_000)
        again = await client.attach_session(cancel_on_disconnect=False)
        assert (first.details["epoch"], again.details["epoch"]) == (1, 2)
        refused = await client.attach_session(cancel_on_disconnect=True, lease_ms=-1)
        assert refused.reject_name == "MALFORMED"


@both
@in_loop
async def test_what_is_for_operators_is_refused_to_others(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster, account="alice") as client:
        for result in (
            await client.create_account("carol"),
            await client.roll_day(),
            await client.kill_switch(on=True),
            await client.mass_cancel(account="demo"),
        ):
            assert result.reject_name == "NOT_AUTHORIZED"
        with pytest.raises(Refused, match="for operators to look at"):
            await client.account("demo")
        assert (await client.kill_switch("alice", on=True)).details["on"] is True
        assert (await client.submit("ETH-USD", "buy", 1, 1)).reject_name == "KILL_SWITCH"
