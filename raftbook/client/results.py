"""Events into results: which events of a reply belong to which command, and what they amount to.

Owns the grouping of events by command, and the reading of a group. Must not know how a reply
arrived. What happened to other accounts is not in a reply (docs/PROTOCOL.md "What a client sees").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from raftbook.client.details import event_details
from raftbook.client.rejects import explain_reject, reject_name
from raftbook.client.units import InstrumentSpec, average_price, side_name
from raftbook.client.values import DONE, OrderResult, RequestReply, TradeResult
from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command
from raftbook.core.events import Event
from raftbook.core.form import form_error
from raftbook.core.types import OrdStatus, Phase, Reject, Side
from raftbook.errors import ProtocolError

_REJECTIONS: Final = frozenset((e.REJECTED, e.CANCEL_REJECTED))
_ORDERS: Final = frozenset((e.ACCEPTED, e.REPLACED, e.CANCELED))
_TRADES: Final = frozenset((e.TRADE, e.AUCTION_TRADE))
_NEVER_HEADS: Final = frozenset(
    (
        e.RESTED,
        e.TRADE,
        e.EXPIRED,
        e.RESTATED,
        e.TRIGGERED,
        e.REFILLED,
        e.REPRICED,
        e.AUCTION_TRADE,
        e.UNCROSSED,
    )
)
_AUCTION: Final = int(Phase.AUCTION)
_MALFORMED: Final = int(Reject.MALFORMED)
_TOGETHER: Final = {c.PLACE_OCO: 2, c.PLACE_OUO: 2, c.PLACE_OTO: 2, c.PLACE_OTOCO: 3}
"""How many orders a command enters, of those that enter several."""


# -- grouping ---------------------------------------------------------------------------------


def group_events(events: Sequence[Event], commands: Sequence[Command]) -> list[tuple[Event, ...]]:
    """The events of a request, one group per command, in order.

    Every command begins with a head: ACCEPTED or REJECTED of an order, CANCELED or CANCEL_REJECTED
    of a cancel, REPLACED, CANCELED or CANCEL_REJECTED of an amend, and the one event of everything
    else. Orders that are entered together begin with an ACCEPTED of each, a cancel-replace has the
    head of its cancel and later that of its order. What trading does is never a head. Two kinds are
    both: CANCELED without a reason is what a cancel or an amend asked for, with one it happened in
    the middle of something; PHASE_CHANGED is the answer to its command, but also stands last where
    a volatility call began, and after the creation of an instrument that does not trade at once.

    Raises:
        ValueError: they do not fit the commands.
    """
    groups: list[tuple[Event, ...]] = []
    at = 0
    for number, command in enumerate(commands):
        start = at
        at += 1  # the head
        if start >= len(events) or not _is_head(events[start]):
            raise ValueError(f"nothing answers command {number + 1} of {len(commands)}")
        at += _tail(events, at, commands[number + 1 :])
        for _ in range(_further_heads(command, events[start])):
            if at >= len(events) or not _is_head(events[at]):
                raise ValueError(f"half an answer to command {number + 1} of {len(commands)}")
            at += 1
            at += _tail(events, at, commands[number + 1 :])
        groups.append(tuple(events[start:at]))
    if at < len(events):
        raise ValueError(f"{events[at]!r:.200} answers no command")
    return groups


def _is_head(event: Event) -> bool:
    if event[0] == e.CANCELED:
        return not event[6]
    return event[0] not in _NEVER_HEADS


def _further_heads(command: Command, head: Event) -> int:
    kind = _kind(command)
    if kind in _TOGETHER:
        return _TOGETHER[kind] - 1 if head[0] == e.ACCEPTED else 0
    if kind != c.CANCEL_REPLACE:
        return 0
    if head[0] == e.CANCEL_REJECTED:
        return int(head[2] != _MALFORMED)
    return int(head[0] == e.CANCELED)


def _tail(events: Sequence[Event], at: int, following: Sequence[Command]) -> int:
    """How many events from `at` on belong to what stands before them."""
    count = 0
    while at + count < len(events):
        event = events[at + count]
        if _is_head(event) and not (
            event[0] == e.PHASE_CHANGED and _is_aside(events, at + count, following)
        ):
            break
        count += 1
    return count


def _is_aside(events: Sequence[Event], at: int, following: Sequence[Command]) -> bool:
    """Whether a PHASE_CHANGED answers none of the commands that follow, which is to say that there
    are more of the same than commands that bring them."""
    told = _run(event[:1] + event[2:] == events[at][:1] + events[at][2:] for event in events[at:])
    asked = _run(_phase_of(command) == events[at][2:] for command in following)
    return told > asked


def _run(fitting: Iterable[bool]) -> int:
    count = 0
    for fits in fitting:
        if not fits:
            break
        count += 1
    return count


def _phase_of(command: Command) -> tuple[Any, ...]:
    """(symbol, phase) that a command enters."""
    kind = _kind(command)
    if kind == c.SET_PHASE:
        return tuple(command[1:3])
    return (*command[1:2], _AUCTION) if kind == c.CALL_AUCTION else ()


def _kind(command: Command) -> Any:
    """What it begins with; a program may send what is no command at all."""
    return command[0] if command else None


# -- results ----------------------------------------------------------------------------------


def order_results(
    reply: RequestReply, commands: Sequence[Command], instruments: Mapping[str, InstrumentSpec]
) -> list[OrderResult]:
    """What became of each command of a request, in order.

    Args:
        reply: the reply to that request.
        commands: the commands as they were sent.
        instruments: by symbol; at least those that the commands touched.

    Raises:
        KeyError: an instrument is missing; the key is its symbol.
        ProtocolError: the reply does not fit the commands.
    """
    try:
        groups = group_events(reply.events, commands)
        return [
            _result(reply, command, group, instruments)
            for command, group in zip(commands, groups, strict=True)
        ]
    except (IndexError, TypeError, ValueError) as error:
        raise ProtocolError(f"the reply cannot be read: {error}") from error


def canceled_orders(
    reply: RequestReply, instruments: Mapping[str, InstrumentSpec]
) -> list[OrderResult]:
    """The own orders that a mass cancel ended, each as if it had been cancelled by itself."""
    return [
        _order_result(reply, event, (), instruments)
        for event in reply.events
        if event[0] == e.CANCELED
    ]


def _result(
    reply: RequestReply,
    command: Command,
    group: Sequence[Event],
    instruments: Mapping[str, InstrumentSpec],
) -> OrderResult:
    head = group[0]
    kind = _kind(command)
    if kind == c.CANCEL_REPLACE and head[0] != e.REJECTED:
        return _cancel_replace_result(reply, command, group, instruments)
    if head[0] in _REJECTIONS:
        return _rejected(reply, command, head[2], instruments)
    if head[0] not in _ORDERS:
        return _with_reply(reply, ord_status=DONE, details=event_details(head))
    result = _order_result(reply, head, group[1:], instruments)
    others = [
        _order_result(reply, group[at], group[at + 1 :], instruments)
        for at in range(1, _TOGETHER.get(kind, 1))
    ]
    if kind in (c.PLACE_OCO, c.PLACE_OUO):
        return replace(result, stop_leg=others[0])
    return replace(result, pending=tuple(others)) if others else result


def _cancel_replace_result(
    reply: RequestReply,
    command: Command,
    group: Sequence[Event],
    instruments: Mapping[str, InstrumentSpec],
) -> OrderResult:
    head = group[0]
    if head[0] == e.CANCELED:
        replaced = _order_result(reply, head, (), instruments)
    else:
        named = {"order_id": command[1], "client_order_id": command[2]}
        replaced = _with_reply(reply, **named, **_why(head[2]))
    places = [at for at, event in enumerate(group) if at and _is_head(event)]
    if not places:
        return replace(_rejected(reply, command, head[2], instruments), replaced=replaced)
    second = group[places[0]]
    if second[0] == e.REJECTED:
        result = _rejected(reply, command, second[2], instruments)
    else:
        result = _order_result(reply, second, group[places[0] + 1 :], instruments)
    return replace(result, replaced=replaced)


def _order_result(
    reply: RequestReply,
    head: Event,
    following: Sequence[Event],
    instruments: Mapping[str, InstrumentSpec],
) -> OrderResult:
    """An order as the events after its head left it."""
    progress = _Progress(head)
    for event in following:
        progress.see(event)
    order_id, _, client_order_id, symbol, kind, order_qty, price, *_ = progress.terms
    spec = instruments[symbol]
    return _with_reply(
        reply,
        order_id=order_id,
        client_order_id=client_order_id,
        symbol=symbol,
        side=side_name(kind[0]),
        ord_status=progress.status.name,
        order_qty=spec.qty(order_qty),
        cum_qty=spec.qty(progress.cum),
        leaves_qty=spec.qty(progress.leaves),
        avg_price=(
            None
            if progress.notional is None
            else average_price(progress.notional, progress.cum, spec)
        ),
        **_why(progress.reason),
        trades=tuple(_trade(event, order_id, spec) for event in progress.trades),
        price=None if price is None else spec.price(price),
        repriced=progress.repriced,
        triggered=progress.triggered,
        released=progress.released,
    )


def _trade(event: Event, order_id: int, spec: InstrumentSpec) -> TradeResult:
    fee = None
    if len(event) > 13:
        fee = event[13] if event[5][0] == order_id else event[14]
    return TradeResult(
        event[2],
        spec.price(event[3]),
        spec.qty(event[4]),
        event[5][0],
        event[9][0],
        None if fee is None else spec.money(fee),
    )


class _Progress:
    """One order along the events of the command that brought it in, changed or cancelled it.

    `notional` is None while the events have not told it: a REPLACED or CANCELED of an order that
    traded before does not.
    """

    def __init__(self, head: Event) -> None:
        kind, terms = head[0], head[2]
        self.order_id = terms[0]
        self.terms = terms
        self.status = OrdStatus.NEW
        self.reason = 0
        self.cum = 0
        self.leaves = terms[5]
        self.repriced = self.triggered = self.released = False
        self.trades: list[Event] = []
        if kind == e.REPLACED:
            self.cum, self.leaves = head[4], head[5]
        elif kind == e.CANCELED:
            self._end(head, OrdStatus.CANCELED)
        self.notional: int | None = None if self.cum else 0
        if self.cum and self.leaves:
            self.status = OrdStatus.PARTIALLY_FILLED

    def see(self, event: Event) -> None:
        """Follow one event; those about other orders change nothing."""
        kind = event[0]
        if kind in _TRADES:
            if event[9][0] == self.order_id:
                self._traded(event, event[10:13])
            elif event[5][0] == self.order_id:  # met by a stop that it set off
                self._traded(event, event[6:9])
            return
        about = event[2]
        if type(about) is not tuple or about[0] != self.order_id:
            return
        if kind == e.RESTATED:
            self.leaves = event[4]
        elif kind == e.CANCELED:
            self._end(event, OrdStatus.CANCELED)
        elif kind == e.EXPIRED:
            self._end(event, OrdStatus.EXPIRED)
        elif kind == e.REPRICED:
            self.terms, self.repriced = about, True
        elif kind == e.RESTED:
            self.terms = about  # a pegged order stands somewhere now
        elif kind == e.TRIGGERED and event[3] is None:
            self.released = True
        elif kind == e.TRIGGERED:
            self.triggered = True

    def _traded(self, event: Event, progress: Sequence[int]) -> None:
        self.trades.append(event)
        self.cum, self.leaves, self.notional = progress
        self.status = OrdStatus.PARTIALLY_FILLED if self.leaves else OrdStatus.FILLED

    def _end(self, event: Event, status: OrdStatus) -> None:
        self.cum, self.leaves, self.status, self.reason = event[3], 0, status, event[6]


def _rejected(
    reply: RequestReply, command: Command, code: int, instruments: Mapping[str, InstrumentSpec]
) -> OrderResult:
    named: dict[str, Any] = {}
    if form_error(command) is None:
        order = new_order_fields(command)
        if order is not None:
            symbol, side, qty, client_order_id = order
            spec = instruments.get(symbol)
            named = {"symbol": symbol, "client_order_id": client_order_id}
            if side in tuple(Side):
                named["side"] = side_name(side)
            if spec is not None:
                named |= {"order_qty": spec.qty(qty) if qty else None}
                named |= {"cum_qty": spec.qty(0), "leaves_qty": spec.qty(0)}
        elif command[0] in (c.CANCEL_ORDER, c.AMEND_ORDER, c.REPLACE_ORDER):
            named = {"order_id": command[1], "client_order_id": command[2]}
    return _with_reply(reply, **named, **_why(code))


def new_order_fields(command: Command) -> tuple[str, int, int, str] | None:
    """(symbol, side, lots, client_order_id) of a well-formed command that brings an order; None for
    any other. Of several it is the first one's."""
    if command[0] in (c.NEW_ORDER, c.PLACE_ORDER, c.PLACE_OTO, c.PLACE_OTOCO):
        return command[1], command[2], command[5], command[7]
    if command[0] == c.PLACE_PEG:
        return command[1], command[2], command[4], command[6]
    if command[0] == c.CANCEL_REPLACE:
        return command[4], command[5], command[8], command[10]
    if command[0] in (c.PLACE_OCO, c.PLACE_OUO):
        return command[1], command[2], command[3], command[8]
    return None


def _why(code: int) -> dict[str, Any]:
    if not code:
        return {}
    return {
        "reject_code": int(code),
        "reject_name": reject_name(code),
        "text": explain_reject(code),
    }


def _with_reply(reply: RequestReply, **fields: Any) -> OrderResult:
    return OrderResult(
        entry_index=reply.entry_index,
        term=reply.term,
        node_id=reply.node_id,
        leader_id=reply.leader_id,
        request_seq=reply.request_seq,
        poss_dup=reply.poss_dup,
        elapsed_ms=reply.elapsed_ms,
        **fields,
    )
