"""What one account may see of an event: its own side.

Owns the rule that the market is anonymous: of a counterparty a client learns the order_id, never
the account or the client_order_id.
"""

from __future__ import annotations

from typing import Any

from raftbook.core.events import TRADE, Event


def private_view(events: list[Event], account_name: str) -> list[Event]:
    """The events with other accounts' names and ids taken out; the same list if there are none."""
    for event in events:
        if event[0] == TRADE and not event[5][1] == event[9][1] == account_name:
            return [_view(each, account_name) for each in events]
    return events


def _view(event: Event, account_name: str) -> Event:
    if event[0] != TRADE:
        return event
    maker, taker = _terms(event[5], account_name), _terms(event[9], account_name)
    return (*event[:5], maker, *event[6:9], taker, *event[10:])


def _terms(terms: tuple[Any, ...], account_name: str) -> tuple[Any, ...]:
    if terms[1] == account_name:
        return terms
    return (terms[0], "", "", *terms[3:])
