"""The verbs of both clients against a cluster that is well."""

from decimal import Decimal
from typing import Any

import pytest

from raftbook.client import OrderRequest, Refused
from raftbook.core import commands as c
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import Reject, SelfTradePrevention, Side, TimeInForce
from raftbook.errors import NoNodeReachable, OutcomeUnknown
from raftbook.wire import pages
from tests.client.cluster import Cluster, client_of, in_loop

both = pytest.mark.parametrize("kind", ["async", "sync"])


@both
@in_loop
async def test_an_order_in_decimals(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        await client.submit("BTC-USD", "sell", "0.005", "101.25")
        result = await client.submit(
            "BTC-USD", Side.BUY, Decimal("0.007"), "101.50", client_order_id="mine"
        )
        assert (result.ord_status, str(result.cum_qty), str(result.leaves_qty)) == (
            "PARTIALLY_FILLED",
            "0.005",
            "0.002",
        )
        assert str(result.avg_price) == "101.25"
        assert (result.node_id, result.leader_id, result.term) == (1, 1, 1)
        assert (result.entry_index, result.request_seq, result.poss_dup) == (3, 2, False)
        assert result.elapsed_ms > 0


@both
@in_loop
async def test_a_market_order_needs_no_more_than_a_quantity(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        await client.submit("ETH-USD", "sell", 5, "7.5")
        result = await client.submit("ETH-USD", "buy", 7)
        assert (result.ord_status, result.cum_qty) == ("EXPIRED", 5)
        assert result.reject_name == "NO_LIQUIDITY"


@both
@pytest.mark.parametrize(
    ("order", "name", "text"),
    [
        (("BTC-USD", "buy", "1", "101.3"), "TICK_SIZE", "whole number of ticks of 0.25"),
        (("BTC-USD", "buy", "1.0005", "1"), "LOT_SIZE", "whole number of lots of 0.001"),
        (("NO-SUCH", "buy", "1", "1"), "UNKNOWN_INSTRUMENT", "there are: BTC-USD, ETH-USD"),
        (("BTC-USD", "buy", "1" + "0" * 30, "1"), "MALFORMED", "order_qty"),
    ],
)
@in_loop
async def test_what_no_instrument_admits_is_not_sent(
    kind: str, order: tuple[Any, ...], name: str, text: str
) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        result = await client.submit(*order)
        assert (result.ord_status, result.reject_name) == ("REJECTED", name)
        assert text in result.text
        assert (result.entry_index, result.side, result.symbol) == (0, "BUY", order[0])
        assert cluster.nodes[0].requests == []


@both
@in_loop
async def test_an_instrument_created_later_is_found(kind: str) -> None:
    terms = InstrumentTerms("NEW-USD", "NEW", "USD", "0.5", "1", 100, 1, 1000)
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        await client.instruments()
        reply = await client.request([c.create_instrument(terms)])
        assert reply.events[0][0] == 12
        assert (await client.submit("NEW-USD", "buy", 1, "1.5")).ord_status == "NEW"


@both
@in_loop
async def test_cancel_and_amend(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        await client.submit("BTC-USD", "buy", "0.004", "100", client_order_id="x")
        amended = await client.amend(client_order_id="x", qty="0.003", price="99.75")
        assert (str(amended.order_qty), amended.ord_status) == ("0.003", "NEW")
        assert str((await client.order(order_id=1)).price) == "99.75"
        off = await client.amend(order_id=1, price="99.8")
        assert off.reject_name == "TICK_SIZE"
        direct = await client.amend(order_id=1, symbol="BTC-USD", qty="0.002")
        assert str(direct.leaves_qty) == "0.002"
        nothing = await client.amend(order_id=1)
        assert nothing.reject_name == "AMEND_NOT_ALLOWED"
        assert (await client.cancel(order_id=1)).ord_status == "CANCELED"
        assert (await client.cancel(client_order_id="x")).reject_name == "TOO_LATE"
        unknown = await client.amend(order_id=9, qty=1)
        assert (unknown.ord_status, unknown.reject_name) == ("REJECTED", "UNKNOWN_ORDER")
        assert (await client.cancel(client_order_id="a b")).reject_name == "MALFORMED"


@both
@in_loop
async def test_a_cancel_needs_no_instrument_table_beforehand(kind: str) -> None:
    async with Cluster(1) as cluster:
        async with client_of(kind, cluster) as client:
            await client.submit("BTC-USD", "buy", "0.004", "100")
        async with client_of(kind, cluster) as client:
            result = await client.cancel(order_id=1)
            assert (result.symbol, str(result.order_qty)) == ("BTC-USD", "0.004")


@both
@in_loop
async def test_the_market_in_decimals(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        for qty, price in (("0.001", "100"), ("0.002", "100"), ("0.004", "99.5")):
            await client.submit("BTC-USD", "buy", qty, price)
        await client.submit("BTC-USD", "sell", "0.001", "100")
        book = await client.book("BTC-USD", orders=True)
        assert [(str(b.price), str(b.qty), str(b.total), b.orders) for b in book.bids] == [
            ("100.00", "0.002", "0.002", 1),
            ("99.50", "0.004", "0.006", 1),
        ]
        assert (book.asks, str(book.last_price), book.phase) == ((), "100.00", "CONTINUOUS")
        assert [order.order_id for order in book.bid_orders] == [2, 3]
        assert (book.node_id, book.applied_index, book.feed_seq) == (1, 5, 4)
        top = await client.book("BTC-USD", 1, at_least=5, linearizable=True)
        assert (len(top.bids), top.bid_orders) == (1, None)
        assert cluster.nodes[0].queries[-1][1] == {
            "symbol": "BTC-USD",
            "depth": 1,
            "orders": False,
            "at_least": 5,
            "linearizable": True,
        }
        (trade,) = (await client.trades("BTC-USD", 5)).trades
        assert (str(trade.price), trade.taker_side, trade.maker_order_id) == ("100.00", "SELL", 1)
        orders = await client.orders("BTC-USD")
        assert [(o.order_id, o.ord_status) for o in orders] == [(2, "NEW"), (3, "NEW")]
        filled = await client.order(order_id=1)
        assert (filled.ord_status, str(filled.avg_price)) == ("FILLED", "100.00")
        assert list(await client.instruments()) == ["BTC-USD", "ETH-USD"]


@both
@in_loop
async def test_long_lists_are_asked_for_page_by_page(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "INSTRUMENT_ROWS", 1)
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        node = cluster.nodes[0]
        assert list(await client.instruments()) == ["BTC-USD", "ETH-USD"]
        asked = [arguments["from"] for _, arguments in node.queries]
        assert asked == [0, 1, 2]  # a full page may be the last one
        node.page_rows = 3
        await client.submit_many([OrderRequest("ETH-USD", "buy", 1, "1") for _ in range(10)])
        assert [view.order_id for view in await client.orders()] == list(range(1, 11))
        assert [view.order_id for view in await client.orders(limit=4)] == [7, 8, 9, 10]
        assert [view.order_id for view in await client.orders(limit=3)] == [8, 9, 10]


@both
@in_loop
async def test_a_question_that_has_no_answer(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        with pytest.raises(Refused) as caught:
            await client.book("NO-SUCH")
        assert caught.value.code == Reject.UNKNOWN_INSTRUMENT
        with pytest.raises(Refused, match="no order 9 of account demo"):
            await client.order(order_id=9)


@both
@in_loop
async def test_nobody_may_look_but_not_trade(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster, account="") as client:
        assert (await client.book("BTC-USD")).bids == ()
        with pytest.raises(ValueError, match="can only look"):
            await client.submit("BTC-USD", "buy", 1, 1)


@both
@in_loop
async def test_many_orders_keep_their_order_and_share_requests(kind: str) -> None:
    orders = [OrderRequest("ETH-USD", "buy", 1, str(n)) for n in range(1, 251)]
    orders[7] = OrderRequest("ETH-USD", "buy", 1, "0.005")
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        results = await client.submit_many(orders)
        assert [r.order_id for r in results] == [*range(1, 8), 0, *range(8, 250)]
        assert results[7].reject_name == "TICK_SIZE"
        assert len(cluster.nodes[0].requests) == 3


@both
@in_loop
async def test_many_orders_of_which_some_are_lost(kind: str) -> None:
    orders = [OrderRequest("ETH-USD", "buy", 1, "1") for _ in range(6)]
    async with Cluster(1) as cluster, client_of(kind, cluster, timeout_s=0.2) as client:
        cluster.nodes[0].script = ["ok", "malformed", "ok"]
        results = await client.submit_many(orders, commands_per_request=2)
        assert [r.ord_status for r in results] == ["NEW"] * 2 + ["NOT_ACCEPTED"] * 2 + ["NEW"] * 2
        cluster.nodes[0].script = ["stall_applied"] * 1000
        results = await client.submit_many(orders, commands_per_request=6)
        assert {(r.ord_status, r.reject_name, r.request_seq) for r in results} == {
            ("UNKNOWN", "OUTCOME_UNKNOWN", 4)
        }


@both
@in_loop
async def test_many_orders_that_cannot_be_sent_at_all(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster, timeout_s=0.1) as client:
        await client.instruments()
        await cluster.nodes[0].stop()
        with pytest.raises(NoNodeReachable):
            await client.submit_many([OrderRequest("ETH-USD", "buy", 1, "1")] * 3)


@both
@in_loop
async def test_a_lost_order_is_repeated_by_its_number(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster, timeout_s=0.1) as client:
        await client.instruments()
        cluster.nodes[0].script = ["drop_after"] + ["unknown"] * 1000
        with pytest.raises(OutcomeUnknown) as caught:
            await client.submit("ETH-USD", "buy", 1, "1")
        cluster.nodes[0].script = []
        result = await client.submit("ETH-USD", "buy", 1, "1", request_seq=caught.value.request_seq)
        assert (result.poss_dup, result.order_id, cluster.orders_taken()) == (True, 1, 1)


@both
@in_loop
async def test_every_field_of_an_order_is_sent(kind: str) -> None:
    async with Cluster(1) as cluster, client_of(kind, cluster) as client:
        await client.submit(
            "ETH-USD",
            "sell",
            2,
            "3",
            time_in_force=TimeInForce.GTC,
            post_only=True,
            self_trade_prevention=SelfTradePrevention.DECREMENT,
            client_order_id="x",
        )
        (view,) = await client.orders()
        assert (view.post_only, view.self_trade_prevention) == (True, "DECREMENT")
        assert (view.ord_type, view.time_in_force, view.client_order_id) == ("LIMIT", "GTC", "x")
