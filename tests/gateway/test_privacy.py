"""The market is anonymous: what an account is told names nobody but itself."""

from typing import Any

import pytest

from raftbook.core import events as e
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange
from raftbook.gateway.privacy import private_view, report_view
from tests.core import venue_flow, venue_market
from tests.core.flow import GENESIS, MIXED, random_entries
from tests.core.venue_profiles import PROFILES as VENUE_PROFILES
from tests.wire.samples import EVENTS


def test_a_counterparty_is_an_order_id_and_its_terms() -> None:
    taker = (4, "alice", "a1", *EVENTS["TRADE"][9][3:])
    trade = (*EVENTS["TRADE"][:9], taker, *EVENTS["TRADE"][10:])
    (view,) = private_view([trade], "bob")
    assert view[5] == (3, "bob", "b1", "BTC-USD", (2, 2, 1, 1, 4), 7, 10_125)
    (view,) = private_view([trade], "alice")
    assert view[5] == (3, "", "", "BTC-USD", (2, 2, 1, 1, 4), 7, 10_125)
    assert view[:5] == trade[:5]
    assert view[9:] == trade[9:]


def test_events_of_the_own_account_alone_are_not_copied() -> None:
    own = [(e.ACCEPTED, 1, BOB), (e.RESTED, 2, BOB, 1), (e.REJECTED, 0, 10, ()), CANCELED_OF_BOB]
    assert private_view(own, "bob") is own


PLAIN = (2, 2, 1, 0, 0)
BOB = (3, "bob", "b1", "BTC-USD", PLAIN, 7, 10_125)
ALICE = (4, "alice", "a1", "BTC-USD", (1, 2, 1, 0, 0), 9, 10_125, (None, 0, 0, 2, 0, 0, 0, 0))
ALICE_VEILED = (4, "", "", "BTC-USD", (1, 2, 1, 0, 0), 0, 10_125)
CANCELED_OF_BOB = (e.CANCELED, 4, BOB, 7, 2, 1, 0)

OF_AN_ORDER = {
    e.ACCEPTED: (),
    e.RESTED: (2, 2),
    e.CANCELED: (7, 2, 1, 57, 1),
    e.EXPIRED: (7, 2, 1, 60),
    e.REPLACED: (ALICE, 7, 1, 2, 1, 1, 1),
    e.RESTATED: (0, 4, 3, 1),
    e.TRIGGERED: (10_000,),
    e.REFILLED: (1, 5),
    e.REPRICED: (10_130,),
}
ANSWERS_OR_PUBLIC = {
    e.REJECTED: (10, ()),
    e.CANCEL_REJECTED: (34, ()),
    e.SESSION_OPENED: (12, "bob", 41),
    e.SESSION_CLOSED: (12,),
    e.SESSION_ATTACHED: (12, 1),
    e.SESSION_LAPSED: (12, 1),
    e.INSTRUMENT_CREATED: (("BTC-USD",),),
    e.INSTRUMENT_AMENDED: (("BTC-USD",),),
    e.INSTRUMENT_DELETED: ("BTC-USD",),
    e.PHASE_CHANGED: ("BTC-USD", 4),
    e.UNCROSSED: ("BTC-USD", 10_125, 3, 0),
    e.ENGINE_VERSION_SET: (2,),
    e.CURRENCY_CREATED: ("USD", 2),
    e.ACCOUNT_CHANGED: ("alice", 0, 1, "", 0, 0, 0, 0, 0),
    e.BALANCE_CHANGED: ("alice", "USD", 5, 5, "t", 0),
    e.KILL_SWITCH_SET: ("alice", 1),
    e.MASS_CANCELED: ("alice", 3, 0),
    e.DAY_ROLLED: (1,),
    e.DROP_COPY_SET: ("bob", "alice", 1),
    e.API_KEY_SET: ("alice", "k", 1),
}
TRADES = (e.TRADE, e.AUCTION_TRADE, e.TRADE_BUSTED)


def test_every_kind_of_event_is_thought_of() -> None:
    kinds = set(range(e.ACCEPTED, e.API_KEY_SET + 1))
    assert {*OF_AN_ORDER, *ANSWERS_OR_PUBLIC, *TRADES} == kinds


@pytest.mark.parametrize("kind", OF_AN_ORDER)
def test_what_happened_to_orders_of_others_is_left_out(kind: int) -> None:
    event = (kind, 5, ALICE, *OF_AN_ORDER[kind])
    assert private_view([CANCELED_OF_BOB, event], "bob") == [CANCELED_OF_BOB]
    assert private_view([event], "alice") == [event]
    assert report_view(event, "bob") is None
    assert report_view(event, "alice") == event


@pytest.mark.parametrize("kind", ANSWERS_OR_PUBLIC)
def test_an_answer_and_what_the_market_sees_stay_in_a_reply(kind: int) -> None:
    event = (kind, 0, *ANSWERS_OR_PUBLIC[kind])
    assert private_view([event, CANCELED_OF_BOB], "bob") == [event, CANCELED_OF_BOB]
    is_of_alice = kind in (
        e.ACCOUNT_CHANGED,
        e.BALANCE_CHANGED,
        e.KILL_SWITCH_SET,
        e.MASS_CANCELED,
    )
    assert report_view(event, "alice") == (event if is_of_alice else None)
    assert report_view(event, "bob") is None


def test_everybody_hears_of_the_switch_that_stops_everybody() -> None:
    event = (e.KILL_SWITCH_SET, 0, "", 1)
    assert report_view(event, "bob") == event


@pytest.mark.parametrize("kind", [e.TRADE, e.AUCTION_TRADE])
def test_of_a_trade_each_side_sees_its_own_fee_and_what_shows(kind: int) -> None:
    trade = (kind, 2, 1, 10_125, 7, ALICE, 7, 5, 70, BOB, 7, 2, 70, 11, 22, 2, None)
    veiled_maker = (kind, 2, 1, 10_125, 7, ALICE_VEILED, 7, 2, 70, BOB, 7, 2, 70)
    assert private_view([trade], "bob") == [(*veiled_maker, None, 22, None, None)]
    (seen,) = private_view([trade], "alice")
    assert seen[5:9] == (ALICE, 7, 5, 70)
    assert seen[9][:3] == (3, "", "")
    assert seen[13:] == (11, None, 2, None)
    assert private_view([trade], "carol") == []
    assert report_view(trade, "carol") is None
    assert report_view(trade, "bob") == (*veiled_maker, None, 22, None, None)


@pytest.mark.parametrize("kind", [e.TRADE, e.AUCTION_TRADE])
def test_of_a_hidden_order_its_counterparty_learns_the_side(kind: int) -> None:
    hidden = (*ALICE[:7], (None, 0, 0, 0, 0, 0, 0, 0, 0, 1))
    trade = (kind, 2, 1, 10_125, 7, hidden, 7, 2, 70, BOB, 7, 2, 70)
    (seen,) = private_view([trade], "bob")
    nobody = (0, "", "", "BTC-USD", (1, 2, 1, 0, 0), 0, None)
    assert seen == (kind, 2, 1, 10_125, 7, nobody, 0, 0, 0, BOB, 7, 2, 70)
    (own,) = private_view([trade], "alice")
    assert own[5:9] == (hidden, 7, 2, 70)
    (seen,) = private_view([(e.TRADE_BUSTED, 9, "BTC-USD", 1, 10_125, 7, hidden, BOB)], "bob")
    assert seen[6:] == (nobody, BOB)


def test_a_busted_trade_names_only_the_own_side() -> None:
    busted = (e.TRADE_BUSTED, 9, "BTC-USD", 1, 10_125, 7, ALICE, BOB)
    (seen,) = private_view([busted], "bob")
    assert seen == (e.TRADE_BUSTED, 9, "BTC-USD", 1, 10_125, 7, ALICE_VEILED, BOB)
    (told,) = private_view([busted], "op")  # whoever undid it is answered, and told no names
    assert (told[6], told[7][:3]) == (ALICE_VEILED, (3, "", ""))
    assert report_view(busted, "carol") is None


@pytest.mark.parametrize("profile", VENUE_PROFILES)
def test_nobody_is_told_of_others_whatever_a_venue_does(profile: str) -> None:
    exchange = Exchange(venue_market.GENESIS)
    names = [name for name, _ in venue_market.ACCOUNTS]
    told = 0
    for entry in venue_flow.random_entries(7, 300, VENUE_PROFILES[profile]):
        for reply in exchange.apply(entry):
            for name in names:
                seen = [report_view(event, name) for event in reply[4]]
                own = [event for event in seen if event is not None]
                told += len(own)
                for event in (*own, *private_view(reply[4], name)):
                    others = [terms for terms in _orders_in(event) if terms[1] != name]
                    assert all(terms[1:3] == ("", "") for terms in others), event
                    assert all(len(terms) == 7 for terms in others), event
    assert told > 100


def _orders_in(event: Any) -> list[Any]:
    """The terms of all orders that an event tells of."""
    if event[0] in (e.REJECTED, e.CANCEL_REJECTED, e.INSTRUMENT_CREATED, e.INSTRUMENT_AMENDED):
        return []
    return [field for field in event[2:] if isinstance(field, tuple)]


def _texts(value: Any) -> set[str]:
    if isinstance(value, tuple | list):
        return set().union(*map(_texts, value))
    return {value} if isinstance(value, str) else set()


def test_no_reply_ever_names_another_account_or_its_orders() -> None:
    exchange = Exchange(GENESIS)
    trades = 0
    for entry in random_entries(3, 400, MIXED):
        named = _with_names_of_their_own(entry, exchange)
        for reply in exchange.apply(named):
            session = exchange.sessions.by_id.get(reply[0])
            if session is None:
                continue
            name = session.account.name
            view = private_view(reply[4], name)
            trades += sum(event[0] == e.TRADE for event in view)
            others = {"a", "b", "op"} - {name}
            seen = {text for event in view if event[0] == e.TRADE for text in _texts(event)}
            assert not seen & others, f"{name} is told of {seen & others}"
            strange = {text for text in seen if "/" in text and not text.startswith(name + "/")}
            assert not strange, f"{name} is told of {strange}"
    assert trades > 50


def _with_names_of_their_own(entry: Entry, exchange: Exchange) -> Entry:
    """The same entry, each new order named account/n."""
    requests = []
    for session_id, request_seq, commands in entry.requests:
        session = exchange.sessions.by_id.get(session_id)
        owner = session.account.name if session else "nobody"
        renamed = tuple(
            (*command[:7], f"{owner}/{entry.index}.{at}", *command[8:])
            if len(command) == 10 and command[0] == 1
            else command
            for at, command in enumerate(commands)
        )
        requests.append((session_id, request_seq, renamed))
    return Entry(entry.index, entry.time_ns, tuple(requests))
