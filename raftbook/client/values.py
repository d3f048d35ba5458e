"""What a client hands to the program that uses it: results with decimals, and why not.

Owns the shapes of results and the reading of events into them. Prices and quantities are exact
`Decimal`s here, in the instrument's own number of places; ticks and lots stay on the wire. Must not
know how a reply arrived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from raftbook.client.rejects import explain_reject as explain_reject
from raftbook.client.rejects import reject_name
from raftbook.client.units import Amount as Amount
from raftbook.client.units import InstrumentSpec as InstrumentSpec
from raftbook.client.units import average_price, side_name
from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command
from raftbook.core.events import Event
from raftbook.core.form import form_error
from raftbook.core.types import OrderType, OrdStatus, SelfTradePrevention, Side, TimeInForce
from raftbook.errors import ProtocolError

UNKNOWN: Final = "UNKNOWN"
"""ord_status of an order whose request may or may not have taken effect (`submit_many` only)."""

NOT_ACCEPTED: Final = "NOT_ACCEPTED"
"""ord_status of an order whose request certainly had no effect (`submit_many` only)."""

DONE: Final = "DONE"
"""ord_status of a command that took effect and is about no order."""


@dataclass(frozen=True, slots=True)
class RequestReply:
    """What one request got.

    Attributes:
        session_id: the session it was made in.
        request_seq: its number there; the same number again gets this same reply.
        entry_index: index of the log entry that holds it.
        term: Raft term of that entry; 0 with poss_dup, as it is not remembered. So is the next.
        time_ns: the entry's time, nanoseconds since 1970 UTC.
        event_offset: events of the same entry that came before these.
        events: raw events as in `raftbook/core/events.py`, all commands' after one another.
        poss_dup: the request had taken effect before this attempt; these are its original events.
        leader_id: the leader as the answering node knew it, 0 if it knew none.
        node_id: the node that answered.
        elapsed_ms: from the call to the reply, retries included.
    """

    session_id: int
    request_seq: int
    entry_index: int
    term: int
    time_ns: int
    event_offset: int
    events: tuple[Event, ...]
    poss_dup: bool
    leader_id: int
    node_id: int
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order as a program writes it, for `submit_many`.

    Attributes:
        side: a `Side` or "buy" / "sell".
        qty: in base; must be a whole number of lots.
        price: in quote; must be a whole number of ticks; None is a market order.
        ord_type: None is LIMIT with a price and MARKET without.
        time_in_force: None is GTC for a limit order and IOC for a market order.
        client_order_id: your own name for it, unique per account; up to 64 printable ASCII
            characters without spaces; may be empty.
    """

    symbol: str
    side: Side | str
    qty: Amount
    price: Amount | None = None
    ord_type: OrderType | None = None
    time_in_force: TimeInForce | None = None
    post_only: bool = False
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE
    client_order_id: str = ""


@dataclass(frozen=True, slots=True)
class TradeResult:
    """One trade of an order that came in, as it met `maker_order_id`."""

    trade_id: int
    price: Decimal
    qty: Decimal
    maker_order_id: int


@dataclass(frozen=True, slots=True)
class OrderResult:
    """What became of one command, as it stood when that command ended.

    Attributes:
        order_id: ours; 0 if there is none.
        side: "BUY" or "SELL"; "" if unknown.
        ord_status: name of a `types.OrdStatus`, or DONE, UNKNOWN, NOT_ACCEPTED.
        order_qty: total, in base; None if unknown, as after a refused cancel. So are the next two.
        cum_qty: traded so far.
        leaves_qty: still open.
        avg_price: of all that traded so far, rounded half to even to the tick's decimal places
            plus AVG_PRICE_EXTRA_PLACES; None if nothing did, or if the reply does not tell (a
            cancel or an amend of an order that traded earlier).
        reject_code: a `types.Reject`: why it was refused, or why its rest was ended; 0 for none.
        reject_name: the code's name, "" for none.
        text: the code in one sentence, "" for none.
        entry_index: index of its log entry; 0 if it was refused before it was sent.
        term: of that entry; 0 with poss_dup, as it is not remembered.
        node_id: the node that answered; 0 if none was asked.
        leader_id: the leader as that node knew it.
        request_seq: number of the request that held it; 0 if it was not sent.
        poss_dup: it had taken effect before this attempt; this is the original result.
        trades: its trades as the incoming order, in order.
    """

    order_id: int = 0
    client_order_id: str = ""
    symbol: str = ""
    side: str = ""
    ord_status: str = OrdStatus.REJECTED.name
    order_qty: Decimal | None = None
    cum_qty: Decimal | None = None
    leaves_qty: Decimal | None = None
    avg_price: Decimal | None = None
    reject_code: int = 0
    reject_name: str = ""
    text: str = ""
    entry_index: int = 0
    term: int = 0
    node_id: int = 0
    leader_id: int = 0
    request_seq: int = 0
    poss_dup: bool = False
    elapsed_ms: float = 0.0
    trades: tuple[TradeResult, ...] = ()

    @property
    def is_rejected(self) -> bool:
        """Whether the command was refused and changed nothing."""
        return self.ord_status == OrdStatus.REJECTED.name


# -- events into results ----------------------------------------------------------------------

_REJECTIONS: Final = frozenset((e.REJECTED, e.CANCEL_REJECTED))
_HEADS: Final = frozenset(
    (
        e.ACCEPTED,
        e.REJECTED,
        e.CANCEL_REJECTED,
        e.REPLACED,
        e.SESSION_OPENED,
        e.SESSION_CLOSED,
        e.INSTRUMENT_CREATED,
        e.PHASE_CHANGED,
    )
)


def group_events(events: Sequence[Event]) -> list[tuple[Event, ...]]:
    """The events of a request, one group per command, in order.

    Every command begins with exactly one head: ACCEPTED or REJECTED of an order, CANCELED or
    CANCEL_REJECTED of a cancel, REPLACED, CANCELED or CANCEL_REJECTED of an amend, and the one
    event of everything else. What trading does (TRADE, RESTED, EXPIRED, RESTATED) is never a head.
    CANCELED is both: with a reason (self-trade prevention, which cancels in the middle of trading)
    it belongs to the order that came in; without one it is what a cancel or an amend asked for.
    """
    groups: list[list[Event]] = []
    for event in events:
        if event[0] in _HEADS or (event[0] == e.CANCELED and event[6] == 0):
            groups.append([event])
        elif groups:
            groups[-1].append(event)
        else:
            raise ValueError(f"events begin with {event!r:.200}, which begins no command")
    return [tuple(group) for group in groups]


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
        groups = group_events(reply.events)
        if len(groups) != len(commands):
            raise ValueError(f"{len(groups)} results for {len(commands)} commands")
        return [
            _result(reply, command, group, instruments)
            for command, group in zip(commands, groups, strict=True)
        ]
    except (IndexError, TypeError, ValueError) as error:
        raise ProtocolError(f"the reply cannot be read: {error}") from error


def _result(
    reply: RequestReply,
    command: Command,
    group: Sequence[Event],
    instruments: Mapping[str, InstrumentSpec],
) -> OrderResult:
    head = group[0]
    if head[0] in _REJECTIONS:
        return _rejected(reply, command, head[2], instruments)
    if head[0] not in (e.ACCEPTED, e.REPLACED, e.CANCELED):
        return _with_reply(reply, ord_status=DONE)
    progress = _Progress(head)
    for event in group[1:]:
        progress.see(event)
    order_id, _, client_order_id, symbol, kind, order_qty, _ = head[2]
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
        trades=tuple(
            TradeResult(event[2], spec.price(event[3]), spec.qty(event[4]), event[5][0])
            for event in group
            if event[0] == e.TRADE
        ),
    )


class _Progress:
    """One order along the events of the command that brought it in, changed or cancelled it.

    `notional` is None while the events have not told it: a REPLACED or CANCELED of an order that
    traded before does not.
    """

    def __init__(self, head: Event) -> None:
        kind, terms = head[0], head[2]
        self.order_id = terms[0]
        self.status = OrdStatus.NEW
        self.reason = 0
        self.cum = 0
        self.leaves = terms[5]
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
        if kind == e.TRADE:
            # It is the taker: nobody else comes in while this command is carried out.
            self.cum, self.leaves, self.notional = event[10:13]
            self.status = OrdStatus.PARTIALLY_FILLED if self.leaves else OrdStatus.FILLED
        elif event[2][0] != self.order_id:
            return
        elif kind == e.RESTATED:
            self.leaves = event[4]
        elif kind == e.CANCELED:
            self._end(event, OrdStatus.CANCELED)
        elif kind == e.EXPIRED:
            self._end(event, OrdStatus.EXPIRED)

    def _end(self, event: Event, status: OrdStatus) -> None:
        self.cum, self.leaves, self.status, self.reason = event[3], 0, status, event[6]


def _rejected(
    reply: RequestReply, command: Command, code: int, instruments: Mapping[str, InstrumentSpec]
) -> OrderResult:
    named: dict[str, Any] = {}
    if form_error(command) is None:
        if command[0] == c.NEW_ORDER:
            spec = instruments.get(command[1])
            named = {"symbol": command[1], "client_order_id": command[7]}
            if command[2] in tuple(Side):
                named["side"] = side_name(command[2])
            if spec is not None:
                named |= {"order_qty": spec.qty(command[5])}
                named |= {"cum_qty": spec.qty(0), "leaves_qty": spec.qty(0)}
        elif command[0] in (c.CANCEL_ORDER, c.AMEND_ORDER):
            named = {"order_id": command[1], "client_order_id": command[2]}
    return _with_reply(reply, **named, **_why(code))


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
