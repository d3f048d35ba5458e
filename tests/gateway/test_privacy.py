"""The market is anonymous: what an account is told names nobody but itself."""

from typing import Any

from raftbook.core import events as e
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange
from raftbook.gateway.privacy import private_view
from tests.core.flow import GENESIS, MIXED, random_entries
from tests.wire.samples import EVENTS


def test_a_counterparty_is_an_order_id_and_its_terms() -> None:
    (view,) = private_view([EVENTS["TRADE"]], "bob")
    assert view[5] == (3, "bob", "b1", "BTC-USD", (2, 2, 1, 1, 4), 7, 10_125)
    (view,) = private_view([EVENTS["TRADE"]], "alice")
    assert view[5] == (3, "", "", "BTC-USD", (2, 2, 1, 1, 4), 7, 10_125)
    assert view[:5] == EVENTS["TRADE"][:5]
    assert view[10:] == EVENTS["TRADE"][10:]


def test_events_without_a_trade_are_not_copied() -> None:
    events = [event for name, event in EVENTS.items() if name != "TRADE"]
    assert private_view(events, "alice") is events


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
