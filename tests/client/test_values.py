"""Events into results: grouping by command, statuses, averages, and the decimals around them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftbook.client import InstrumentSpec, RequestReply, explain_reject, order_results
from raftbook.client.rejects import reject_name
from raftbook.client.results import group_events
from raftbook.client.units import average_price, decimal, side_name
from raftbook.client.values import DONE
from raftbook.core import commands as c
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange
from raftbook.core.instrument import from_units
from raftbook.core.types import Phase, Reject, SelfTradePrevention, Side, TimeInForce
from raftbook.errors import ProtocolError
from tests.core import flow

TIME_NS = 10**18
PROFILES = {
    name: profile._replace(kinds=tuple(kind for kind in profile.kinds if kind != "session"))
    for name, profile in flow.PROFILES.items()
}
SESSIONS = (2, 3, 4, 5, 1)
OPERATOR = 1


def specs_of(exchange: Exchange) -> dict[str, InstrumentSpec]:
    return {
        symbol: InstrumentSpec.from_wire({**book.terms._asdict(), "phase": book.phase})
        for symbol, book in exchange.books.items()
    }


def reply_of(reply: Any) -> RequestReply:
    return RequestReply(
        reply[0], reply[1], reply[2], 1, TIME_NS, reply[3], tuple(reply[4]), bool(reply[5]), 1, 1, 0
    )


class Market:
    """An exchange with its five sessions open."""

    def __init__(self) -> None:
        self.exchange = Exchange(flow.GENESIS)
        self.exchange.apply(Entry(1, TIME_NS, flow.OPENING))
        self.seq = 0

    def apply(self, session_id: int, commands: Sequence[Any]) -> RequestReply:
        self.seq += 1
        entry = Entry(
            self.exchange.applied_index + 1, TIME_NS, ((session_id, self.seq, tuple(commands)),)
        )
        return reply_of(self.exchange.apply(entry)[0])

    def results(self, session_id: int, *commands: Any) -> Any:
        reply = self.apply(session_id, commands)
        return order_results(reply, commands, specs_of(self.exchange))


@pytest.mark.parametrize("name", PROFILES)
@settings(max_examples=60 * flow.EFFORT, deadline=None)
@given(st.data())
def test_a_request_reads_as_its_commands_sent_one_by_one(name: str, data: st.DataObject) -> None:
    def choose(options: Sequence[Any]) -> Any:
        return options[data.draw(st.integers(0, len(options) - 1))]

    together, singly = Market(), Market()
    for _ in range(data.draw(st.integers(1, 12))):
        newest = together.exchange.last_order_id
        count = data.draw(st.integers(1, 6))
        session_id = choose(SESSIONS)
        is_operator = session_id == OPERATOR
        commands = [
            flow.command(choose, PROFILES[name], newest, is_operator=is_operator)
            for _ in range(count)
        ]
        reply = together.apply(session_id, commands)
        groups = group_events(reply.events, commands)
        results = order_results(reply, commands, specs_of(together.exchange))
        assert len(results) == len(groups) == count
        for command, group, result in zip(commands, groups, results, strict=True):
            assert group == singly.apply(session_id, [command]).events
            check_against_the_book(result, singly.exchange)


def order_of(exchange: Exchange, order_id: int) -> Any:
    (order,) = (
        account.orders[order_id]
        for account in exchange.accounts.values()
        if order_id in account.orders
    )
    return order


def check_against_the_book(result: Any, exchange: Exchange) -> None:
    if result.is_rejected or result.ord_status == DONE:
        assert bool(result.reject_code) is result.is_rejected
        return
    order = order_of(exchange, result.order_id)
    spec = specs_of(exchange)[result.symbol]
    assert result.leaves_qty == spec.qty(order.leaves_qty)
    assert result.cum_qty == spec.qty(order.cum_qty)
    assert result.order_qty == spec.qty(order.terms[5])
    assert (result.leaves_qty > 0) is (result.ord_status in ("NEW", "PARTIALLY_FILLED"))
    if result.avg_price is not None:
        assert result.avg_price == average_price(order.cum_notional, order.cum_qty, spec)
    else:
        assert not result.trades


def test_a_taker_is_told_its_trades_and_average() -> None:
    market = Market()
    market.apply(2, [c.new_order("A", Side.SELL, 1, 1), c.new_order("A", Side.SELL, 2, 2)])
    (result,) = market.results(4, c.new_order("A", Side.BUY, 4, 2, client_order_id="x"))
    assert (result.order_id, result.client_order_id, result.symbol) == (3, "x", "A")
    assert (result.side, result.ord_status, result.reject_code) == ("BUY", "PARTIALLY_FILLED", 0)
    assert (result.order_qty, result.cum_qty, result.leaves_qty) == (4, 3, 1)
    assert result.avg_price == Decimal("0.016667")
    assert [(t.trade_id, str(t.price), t.qty, t.maker_order_id) for t in result.trades] == [
        (1, "0.01", 1, 1),
        (2, "0.02", 2, 2),
    ]


def test_what_ends_the_rest_of_an_order_is_told() -> None:
    market = Market()
    market.apply(2, [c.new_order("A", Side.SELL, 1, 1)])
    ioc, fok = market.results(
        4,
        c.new_order("A", Side.BUY, 3, 1, time_in_force=TimeInForce.IOC),
        c.new_order("A", Side.BUY, 3, 1, time_in_force=TimeInForce.FOK),
    )
    assert (ioc.ord_status, ioc.cum_qty, ioc.leaves_qty, ioc.reject_name) == ("EXPIRED", 1, 0, "")
    assert (fok.ord_status, fok.cum_qty, fok.reject_name) == ("EXPIRED", 0, "FOK_CANNOT_FILL")
    assert fok.avg_price is None
    assert fok.text == explain_reject(Reject.FOK_CANNOT_FILL)


def test_makers_cancelled_by_self_trade_prevention_are_not_commands() -> None:
    market = Market()
    market.apply(2, [c.new_order("A", Side.SELL, 1, 1), c.new_order("A", Side.SELL, 1, 1)])
    mode = SelfTradePrevention.CANCEL_OLDEST
    taker, cancel = market.results(
        2,
        c.new_order("A", Side.BUY, 2, 1, self_trade_prevention=mode),
        c.cancel_order(order_id=3),
    )
    assert (taker.order_id, taker.ord_status, taker.leaves_qty) == (3, "NEW", 2)
    assert (cancel.order_id, cancel.ord_status, cancel.leaves_qty) == (3, "CANCELED", 0)
    both = SelfTradePrevention.CANCEL_BOTH
    market.apply(2, [c.new_order("A", Side.SELL, 1, 1)])
    (second,) = market.results(2, c.new_order("A", Side.BUY, 2, 1, self_trade_prevention=both))
    assert (second.ord_status, second.reject_name) == ("CANCELED", "SELF_TRADE")


def test_amends_and_cancels() -> None:
    market = Market()
    market.apply(2, [c.new_order("A", Side.BUY, 4, 0, client_order_id="x")])
    market.apply(4, [c.new_order("A", Side.SELL, 1, 0)])
    less, closed, late, unknown = market.results(
        2,
        c.amend_order(order_id=1, order_qty=3),
        c.amend_order(client_order_id="x", order_qty=1),
        c.cancel_order(client_order_id="x"),
        c.cancel_order(order_id=77),
    )
    assert (less.ord_status, less.cum_qty, less.leaves_qty) == ("PARTIALLY_FILLED", 1, 2)
    assert less.avg_price is None  # it traded before, and the reply does not say at what price
    assert (closed.ord_status, closed.cum_qty, closed.leaves_qty) == ("CANCELED", 1, 0)
    assert (late.ord_status, late.reject_name) == ("REJECTED", "TOO_LATE")
    assert (late.client_order_id, late.order_qty) == ("x", None)
    assert (unknown.order_id, unknown.reject_name) == (77, "UNKNOWN_ORDER")


def test_a_refused_order_keeps_its_name() -> None:
    (result,) = Market().results(2, c.new_order("A", Side.SELL, 9, 0, client_order_id="x"))
    assert (result.reject_code, result.reject_name) == (15, "QTY_TOO_LARGE")
    assert (result.symbol, result.side, result.client_order_id) == ("A", "SELL", "x")
    assert (result.order_qty, result.cum_qty, result.leaves_qty) == (9, 0, 0)


def test_other_commands_are_done_or_refused() -> None:
    market = Market()
    halt, malformed = market.results(1, c.set_phase("A", Phase.HALTED), (99,))
    assert (halt.ord_status, malformed.reject_name) == (DONE, "MALFORMED")
    (refused,) = market.results(2, c.set_phase("A", Phase.CONTINUOUS))
    assert refused.reject_name == "NOT_AUTHORIZED"


@pytest.mark.parametrize(
    "events", [(), ((3, 1),), ((1, 1, (1,)),), ((1,),), (5,), ((8, 0, 1, ()), (8, 0, 1, ()))]
)
def test_a_reply_that_does_not_fit_is_a_protocol_error(events: Any) -> None:
    reply = RequestReply(1, 1, 1, 1, 1, 0, events, False, 1, 1, 0.0)
    with pytest.raises(ProtocolError):
        order_results(reply, [c.cancel_order(order_id=1)], {})


def test_a_missing_instrument_is_named() -> None:
    reply = Market().apply(2, [c.new_order("A", Side.BUY, 1, 0)])
    with pytest.raises(KeyError, match="A"):
        order_results(reply, [c.new_order("A", Side.BUY, 1, 0)], {})


SPEC = InstrumentSpec("S", "B", "Q", Decimal("0.25"), Decimal("0.001"), "CONTINUOUS", {})


@pytest.mark.parametrize(
    ("price", "ticks"),
    [
        ("101.25", 405),
        ("101.2500", 405),
        ("-0.25", -1),
        ("0", 0),
        ("101.3", None),
        ("NaN", None),
        ("Infinity", None),
        ("1e999999", None),
        ("1e-999999", None),
    ],
)
def test_prices_are_exact(price: str, ticks: int | None) -> None:
    assert SPEC.ticks(Decimal(price)) == ticks


@given(
    st.integers(-(2**63), 2**63),
    st.sampled_from(["0.25", "1", "1e-9", "2.50", "3E+2", "0." + "7" * 60]),
)
def test_decimals_are_those_of_the_core(count: int, unit: str) -> None:
    spec = InstrumentSpec("S", "B", "Q", Decimal(unit), Decimal(unit), "CONTINUOUS", {})
    assert str(spec.price(count)) == str(spec.qty(count)) == str(from_units(count, Decimal(unit)))
    assert spec.lots(spec.qty(count)) == count


def test_units_come_back_with_their_places() -> None:
    assert str(SPEC.price(405)) == "101.25"
    assert str(SPEC.qty(1500)) == "1.500"


@pytest.mark.parametrize("amount", [1.5, True, None, b"1"])
def test_what_is_not_exact_is_no_amount(amount: Any) -> None:
    with pytest.raises(TypeError, match="as text or Decimal: a"):
        decimal(amount)


def test_text_that_is_no_number() -> None:
    with pytest.raises(ValueError, match="'1,5' is not a decimal number"):
        decimal("1,5")


@pytest.mark.parametrize(
    ("notional", "qty", "average"), [(10, 4, "0.625"), (8, 4, "0.50"), (0, 0, None)]
)
def test_average_price(notional: int, qty: int, average: str | None) -> None:
    price = average_price(notional, qty, SPEC)
    assert (None if price is None else str(price)) == average


def test_sides() -> None:
    assert [side_name(side) for side in (1, Side.SELL, "buy", "SELL")] == [
        "BUY",
        "SELL",
        "BUY",
        "SELL",
    ]
    with pytest.raises(ValueError, match="must be buy or sell"):
        side_name("hold")


def test_every_reject_code_has_one_sentence() -> None:
    sentences = [explain_reject(code) for code in Reject]
    assert all(text.endswith(".") and "which this client" not in text for text in sentences)
    assert len(set(sentences)) == len(sentences)
    assert explain_reject(4711) == "Refused with code 4711, which this client does not know."
    assert [reject_name(code) for code in (0, 13, 4711)] == ["", "LOT_SIZE", "CODE_4711"]
