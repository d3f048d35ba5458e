"""Replies of a whole venue, read by command: every kind of order, and what others do in between."""

from collections.abc import Callable
from typing import Any

import pytest

from raftbook.client import InstrumentSpec, RequestReply
from raftbook.client.results import canceled_orders, group_events, order_results
from raftbook.client.values import DONE
from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Entry
from raftbook.core.events import Event, answers
from raftbook.core.exchange import Exchange
from raftbook.core.types import OrderType, Phase, PostOnly, Side, TimeInForce
from raftbook.core.versions import ENGINE_VERSION
from raftbook.errors import ProtocolError
from raftbook.gateway.privacy import private_view
from tests.core.venue_flow import random_entries
from tests.core.venue_market import FIRST_ENTRIES, FREE, GENESIS, START_NS
from tests.core.venue_profiles import PROFILES

Handler = Callable[[Any, Any, Any, list[Event]], None]


class _Marking(dict[int, Handler]):
    """The exchange's handlers, each of which notes where its events begin."""

    def __init__(self, handlers: dict[int, Handler]) -> None:
        super().__init__({kind: self._mark(handler) for kind, handler in handlers.items()})
        self.starts: list[int] = []

    def _mark(self, handler: Handler) -> Handler:
        def marked(exchange: Any, session: Any, command: Any, events: list[Event]) -> None:
            self.starts.append(len(events))
            handler(exchange, session, command, events)

        return marked


def _specs(exchange: Exchange) -> dict[str, InstrumentSpec]:
    return {
        symbol: InstrumentSpec.from_wire({**book.terms._asdict(), "phase": book.phase})
        for symbol, book in exchange.books.items()
    }


def _reply(reply: Any, events: list[Event]) -> RequestReply:
    head = (reply[0], reply[1], reply[2], 1, 0, reply[3])
    return RequestReply(*head, tuple(events), bool(reply[5]), 1, 1, 0.0)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_event_belongs_to_the_command_that_brought_it(profile: str) -> None:
    read = 0
    for seed in range(4):
        exchange = Exchange(GENESIS)
        marks: _Marking | None = None
        specs: dict[str, InstrumentSpec] = {}
        for entry in random_entries(seed, 150, PROFILES[profile]):
            if marks is None and exchange.engine_version == ENGINE_VERSION:
                marks = exchange._handlers = _Marking(exchange._handlers)
            for request in entry.requests if marks is not None else ():
                assert marks is not None
                marks.starts.clear()
                session = exchange.sessions.by_id.get(request[0])
                one = Entry(exchange.applied_index + 1, entry.time_ns, (request,))
                (reply,) = answers(exchange.apply(one), one.requests)
                specs |= _specs(exchange)
                if session is None or len(marks.starts) != len(request[2]):
                    continue  # refused as a whole, or with a command of no kind
                name = session.account.name
                ends = [*marks.starts[1:], len(reply[4])]
                parts = [reply[4][a:b] for a, b in zip(marks.starts, ends, strict=True)]
                seen = private_view(reply[4], name)
                expected = [tuple(private_view(part, name)) for part in parts]
                assert group_events(seen, request[2]) == expected, request[2]
                results = order_results(_reply(reply, seen), request[2], specs)
                _check_last(results[-1], exchange, specs)
                read += len(results)
            if marks is None:
                exchange.apply(entry)
    assert read > 100


def _check_last(result: Any, exchange: Exchange, specs: dict[str, InstrumentSpec]) -> None:
    """The last command of a request left its order as it stands in the book now."""
    if result.is_rejected or result.ord_status == DONE:
        assert bool(result.reject_code) is result.is_rejected
        return
    for one in (result, result.stop_leg, result.replaced):
        if one is None or one.is_rejected:
            continue
        accounts = exchange.accounts.values()
        orders = [each.orders[one.order_id] for each in accounts if one.order_id in each.orders]
        for order in orders:  # it may be forgotten already
            spec = specs[one.symbol]
            assert one.leaves_qty == spec.qty(order.leaves_qty), one
            assert one.cum_qty == spec.qty(order.cum_qty), one
            assert (one.leaves_qty > 0) is (one.ord_status in ("NEW", "PARTIALLY_FILLED"))


class _Venue:
    """The small venue, and one account that speaks."""

    def __init__(self) -> None:
        self.exchange = Exchange(GENESIS)
        for entry in FIRST_ENTRIES:
            self.exchange.apply(entry)
        self.seq = 10
        sessions = self.exchange.sessions.by_id.values()
        self.session_id = {session.account.name: session.session_id for session in sessions}

    def _apply(self, request: Any) -> Any:
        entry = Entry(self.exchange.applied_index + 1, START_NS, (request,))
        return answers(self.exchange.apply(entry), entry.requests)

    def results(self, name: str, *commands: Any) -> Any:
        self.seq += 1
        (reply,) = self._apply((self.session_id[name], self.seq, commands))
        seen = _reply(reply, private_view(reply[4], name))
        self.last = seen
        return order_results(seen, commands, _specs(self.exchange))


def test_a_pair_is_two_orders_in_one_result() -> None:
    venue = _Venue()
    (pair,) = venue.results(
        "a", c.place_oco("A", Side.SELL, 2, price=3, stop_price=-1, client_order_id="x")
    )
    assert (pair.client_order_id, pair.ord_status, pair.stop_leg.ord_status) == ("x", "NEW", "NEW")
    assert pair.stop_leg.order_id == pair.order_id + 1
    (taker,) = venue.results("b", c.new_order("A", Side.BUY, 1, 3))
    assert taker.ord_status == "FILLED"
    assert [event[0] for event in venue.last.events] == [e.ACCEPTED, e.TRADE]


def test_an_order_and_what_it_triggers_are_one_result() -> None:
    venue = _Venue()
    working = c.new_order("A", Side.BUY, 2, 1, client_order_id="w")
    pair = c.place_ouo(c.place_oco("A", Side.SELL, 2, price=3, stop_price=-1))
    alone, both, after = venue.results(
        "a",
        c.place_oto(c.new_order("A", Side.BUY, 1, 2), c.new_order("A", Side.SELL, 1, 4)),
        c.place_oto(working, pair),
        c.new_order("A", Side.BUY, 1, 1),
    )
    assert [each.ord_status for each in (alone, *alone.pending, after)] == ["NEW"] * 3
    assert (both.client_order_id, [each.order_id for each in both.pending]) == ("w", [4, 5])
    (sold,) = venue.results("a", c.place_order("A", Side.SELL, 1, 2))
    assert sold.ord_status == "FILLED", "what it released is no answer of its own"
    (refused, next_one) = venue.results(
        "a", c.place_oto(working, pair), c.new_order("A", Side.BUY, 1, 1)
    )
    assert (refused.reject_name, refused.client_order_id, refused.pending) == (
        "DUPLICATE_CLIENT_ORDER_ID", "w", (),
    )  # fmt: skip
    assert next_one.ord_status == "NEW"


def test_a_cancel_replace_tells_of_both_orders() -> None:
    venue = _Venue()
    (old,) = venue.results("a", c.new_order("A", Side.BUY, 1, 1))
    new_order = c.new_order("A", Side.BUY, 2, 2)
    (new,) = venue.results("a", c.cancel_replace(new_order, order_id=old.order_id))
    assert (new.ord_status, new.order_qty, new.replaced.ord_status) == ("NEW", 2, "CANCELED")
    assert new.replaced.order_id == old.order_id
    failed, after = venue.results(
        "a", c.cancel_replace(new_order, order_id=old.order_id), c.cancel_order(order_id=77)
    )
    assert (failed.reject_name, failed.replaced.reject_name) == ("CANCEL_FAILED", "TOO_LATE")
    assert after.reject_name == "UNKNOWN_ORDER"


def test_a_mass_cancel_says_how_many_and_which() -> None:
    venue = _Venue()
    venue.results("a", *[c.new_order("A", Side.BUY, 1, price) for price in (1, 2, 3)])
    (result,) = venue.results("a", c.mass_cancel(symbol="A"))
    assert result.ord_status == DONE
    assert result.details == {"account": "a", "canceled": 2, "more": True}  # a page is two
    canceled = canceled_orders(venue.last, _specs(venue.exchange))
    assert [one.reject_name for one in canceled] == ["MASS_CANCEL", "MASS_CANCEL"]


def test_a_repriced_order_has_its_new_price_and_a_stop_that_fires_says_so() -> None:
    venue = _Venue()
    venue.results("b", c.new_order("A", Side.SELL, 1, 1), c.new_order("A", Side.SELL, 1, 1))
    (moved,) = venue.results("a", c.place_order("A", Side.BUY, 1, 3, post_only=PostOnly.REPRICE))
    assert (moved.repriced, str(moved.price), moved.ord_status) == (True, "0.00", "NEW")
    venue.results("a", c.new_order("A", Side.BUY, 1, 1))
    stop = c.place_order("A", Side.BUY, 1, None, ord_type=OrderType.STOP, stop_price=1)
    (fired,) = venue.results("a", stop)
    assert (fired.triggered, fired.ord_status, len(fired.trades)) == (True, "FILLED", 1)


def test_a_call_that_a_sweep_begins_is_no_answer_to_the_next_command() -> None:
    venue = _Venue()
    far = (c.new_order("Q", Side.SELL, 1, 5), c.set_phase("Q", Phase.CONTINUOUS))
    venue.results("op", *far)
    sweep = c.new_order("Q", Side.BUY, 1, 6)
    first, second = venue.results("op", sweep, c.set_phase("Q", Phase.AUCTION))
    assert (first.ord_status, second.ord_status) == ("NEW", DONE)
    kinds = [event[0] for event in venue.last.events]
    assert kinds == [e.ACCEPTED, e.RESTED, e.PHASE_CHANGED, e.PHASE_CHANGED]
    groups = group_events(venue.last.events, (sweep, c.set_phase("Q", Phase.AUCTION)))
    assert [len(group) for group in groups] == [3, 1]


@pytest.mark.parametrize("phase", [Phase.CONTINUOUS, Phase.HALTED])
@pytest.mark.parametrize("after", [Phase.HALTED, Phase.CANCEL_ONLY])
def test_the_phase_an_instrument_begins_with_is_no_answer_to_the_next_command(
    phase: Phase, after: Phase
) -> None:
    venue = _Venue()
    listed, changed = venue.results(
        "op",
        c.list_instrument(FREE._replace(symbol="NEW"), phase),
        c.set_phase("NEW", after),
    )
    assert listed.details["symbol"] == "NEW"
    assert changed.details == {"symbol": "NEW", "phase": after}


def test_what_an_auction_trades_belongs_to_the_phase_that_ran_it() -> None:
    venue = _Venue()
    auction_only = {"time_in_force": TimeInForce.AT_AUCTION}
    done, buy, sell, phase, after = venue.results(
        "op",
        c.set_phase("A", Phase.PRE_OPEN),
        c.new_order("A", Side.BUY, 2, 2),
        c.place_order("A", Side.SELL, 1, 1, **auction_only),
        c.set_phase("A", Phase.CONTINUOUS),
        c.roll_day(),
    )
    assert (done.ord_status, buy.leaves_qty, sell.leaves_qty) == (DONE, 2, 1)
    assert phase.details == {"symbol": "A", "phase": Phase.CONTINUOUS}
    assert after.details == {"day": 1}


def test_the_details_of_an_event_are_named() -> None:
    venue = _Venue()
    created, changed, listed = venue.results(
        "op",
        c.create_account("new", group="desk"),
        c.set_account("new", order_qty_max=5),
        c.list_instrument(FREE._replace(symbol="NEW"), Phase.HALTED),
    )
    assert (created.details["account"], created.details["group"]) == ("new", "desk")
    assert changed.details["order_qty_max"] == 5
    assert (listed.details["symbol"], listed.details["qty_max"]) == ("NEW", 6)
    (again,) = venue.results("op", c.create_account("new"))
    assert again.reject_name == "ACCOUNT_EXISTS"


@pytest.mark.parametrize(
    ("events", "commands"),
    [
        ((), (c.roll_day(),)),
        (((e.DAY_ROLLED, 0, 1), (e.DAY_ROLLED, 0, 2)), (c.roll_day(),)),
        (((e.UNCROSSED, 1, "A", None, 0, 0),), (c.roll_day(),)),
        (((e.CANCEL_REJECTED, 0, 34, ()),), (c.cancel_replace(c.new_order("A", Side.BUY, 1, 1)),)),
    ],
)
def test_half_an_answer_is_none(events: Any, commands: Any) -> None:
    reply = RequestReply(1, 1, 1, 1, 1, 0, events, False, 1, 1, 0.0)
    with pytest.raises(ProtocolError, match="cannot be read"):
        order_results(reply, commands, {})
