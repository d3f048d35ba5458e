"""What a client may ask of the exchange, as the plain tuples that stand in the log.

Owns the shapes and the constructors that build them; `form.py` judges whether something has such a
shape. A command is a flat tuple that starts with its kind; a request is
`(session_id, request_seq, commands)`; an entry is what one index of the Raft log holds. Prices are
integer ticks, quantities integer lots, money minor units of its currency, times nanoseconds.
"""

from dataclasses import dataclass
from typing import Any, Final

from raftbook.core.instrument import PLAIN_TERMS, InstrumentTerms
from raftbook.core.types import (
    OrderType,
    PegReference,
    Phase,
    PostOnly,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TrailUnit,
    TriggerBy,
)

Command = tuple[Any, ...]
Request = tuple[int, int, tuple[Any, ...]]
"""The commands are what the log holds, so any of them may be no Command at all."""

# Kinds: append-only, they stand in every log ever written.
NEW_ORDER: Final = 1
CANCEL_ORDER: Final = 2
AMEND_ORDER: Final = 3
PLACE_ORDER: Final = 4
REPLACE_ORDER: Final = 5
MASS_CANCEL: Final = 6
CANCEL_REPLACE: Final = 7
PLACE_OCO: Final = 8
PLACE_PEG: Final = 9
OPEN_SESSION: Final = 10
CLOSE_SESSION: Final = 11
ATTACH_SESSION: Final = 12
SESSION_LOST: Final = 13
"""Said by a node about a client of its own; `form_error` lets no client say it. So is the next."""
RENEW_LEASE: Final = 14
PLACE_OTO: Final = 15
PLACE_OTOCO: Final = 16
PLACE_OUO: Final = 17
CREATE_INSTRUMENT: Final = 20
SET_PHASE: Final = 21
LIST_INSTRUMENT: Final = 22
AMEND_INSTRUMENT: Final = 23
DELETE_INSTRUMENT: Final = 24
CALL_AUCTION: Final = 25
CREATE_CURRENCY: Final = 26
CREATE_ACCOUNT: Final = 27
SET_ACCOUNT: Final = 28
DEPOSIT: Final = 29
SET_ENGINE_VERSION: Final = 30
"""Said by a leader alone, in an entry of its own; `form_error` lets no client say it."""
WITHDRAW: Final = 31
SET_KILL_SWITCH: Final = 32
BUST_TRADE: Final = 33
ROLL_DAY: Final = 34
SET_DROP_COPY: Final = 35
SET_API_KEY: Final = 36

_PLACED, _PAIRED = 16, 16
"""Fields of an order and of a pair without those that are only there where they say something."""

NO_SESSION: Final = 0
"""session_id of a request that opens a session; such a request is not deduplicated by seq."""


@dataclass(slots=True)
class Entry:
    """One committed log entry: everything the exchange is told, and when.

    Attributes:
        index: position in the Raft log, 1-based, strictly increasing; gaps are Raft's own entries.
        time_ns: the leader's clock when it appended the entry, nanoseconds since 1970 UTC.
        requests: `(session_id, request_seq, commands)` in the order they take effect.

    Not frozen, and no tuple: one is read for every order, and plain slots are read fastest.
    """

    index: int
    time_ns: int
    requests: tuple[Request, ...]


def new_order(
    symbol: str,
    side: Side,
    order_qty: int,
    price: int | None,
    *,
    client_order_id: str = "",
    ord_type: OrderType = OrderType.LIMIT,
    time_in_force: TimeInForce = TimeInForce.GTC,
    post_only: bool = False,
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE,
) -> Command:
    """Buy or sell `order_qty` lots; `price` in ticks, None for a market order."""
    return (
        NEW_ORDER,
        symbol,
        int(side),
        int(ord_type),
        int(time_in_force),
        order_qty,
        price,
        client_order_id,
        int(post_only),
        int(self_trade_prevention),
    )


def cancel_order(*, order_id: int = 0, client_order_id: str = "") -> Command:
    """Cancel one own order, named by our id or, when that is 0, by the client's."""
    return (CANCEL_ORDER, order_id, client_order_id)


def amend_order(
    *,
    order_id: int = 0,
    client_order_id: str = "",
    order_qty: int | None = None,
    price: int | None = None,
) -> Command:
    """Change the total quantity (lots) and/or the price (ticks) of one own resting order."""
    return (AMEND_ORDER, order_id, client_order_id, order_qty, price)


def place_order(
    symbol: str,
    side: Side,
    order_qty: int,
    price: int | None,
    *,
    client_order_id: str = "",
    ord_type: OrderType = OrderType.LIMIT,
    time_in_force: TimeInForce = TimeInForce.GTC,
    post_only: PostOnly = PostOnly.NO,
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE,
    stop_price: int | None = None,
    trail_unit: TrailUnit = TrailUnit.NONE,
    trail_offset: int = 0,
    display_qty: int = 0,
    min_qty: int = 0,
    expire_time_ns: int = 0,
    quote_qty: int = 0,
    trigger_by: TriggerBy = TriggerBy.LAST,
    hidden: bool = False,
) -> Command:
    """An order with conditions; see `conditions.OrderConditions` for what stands behind the mode.

    `order_qty` is 0 exactly when `quote_qty` (tick-lots) names the amount instead.
    """
    return (
        PLACE_ORDER,
        symbol,
        int(side),
        int(ord_type),
        int(time_in_force),
        order_qty,
        price,
        client_order_id,
        int(post_only),
        int(self_trade_prevention),
        stop_price,
        int(trail_unit),
        trail_offset,
        display_qty,
        min_qty,
        expire_time_ns,
        quote_qty,
        *_unusual(trigger_by, hidden=hidden),
    )


def _unusual(trigger_by: TriggerBy, *, hidden: bool) -> tuple[int, ...]:
    """The last fields of an order, which are only there where one of them says something."""
    return (int(trigger_by), int(hidden)) if trigger_by or hidden else ()


def replace_order(
    *,
    order_id: int = 0,
    client_order_id: str = "",
    order_qty: int | None = None,
    price: int | None = None,
    stop_price: int | None = None,
    trail_offset: int | None = None,
    display_qty: int | None = None,
    expire_time_ns: int | None = None,
) -> Command:
    """Change one own open order, resting or waiting; None leaves a field as it was."""
    return (
        REPLACE_ORDER,
        order_id,
        client_order_id,
        order_qty,
        price,
        stop_price,
        trail_offset,
        display_qty,
        expire_time_ns,
    )


def mass_cancel(
    *,
    account: str = "",
    session_id: int = 0,
    symbol: str = "",
    side: Side | None = None,
    price_low: int | None = None,
    price_high: int | None = None,
) -> Command:
    """Cancel every order that fits all that is given.

    Args:
        account: empty is the own account; another one, or "*" for all, is for operators.
        session_id: only orders entered through this session; 0 is any.
        symbol: empty is all instruments.
        price_low, price_high: limit prices from and to, both included; needs a symbol.
    """
    number = 0 if side is None else int(side)
    return (MASS_CANCEL, account, session_id, symbol, number, price_low, price_high)


def cancel_replace(
    order: Command, *, order_id: int = 0, client_order_id: str = "", or_place: bool = False
) -> Command:
    """Cancel one own order and enter `order`, a NEW_ORDER or PLACE_ORDER, in one step.

    Args:
        or_place: enter the new order even if there was nothing to cancel any more.

    Raises:
        ValueError: the new order is of another kind.
    """
    fields = _fields_of(order, "a pegged order cannot be entered instead of another one")
    return (CANCEL_REPLACE, order_id, client_order_id, int(or_place), *fields)


def _fields_of(order: Command, otherwise: str) -> Command:
    """What a NEW_ORDER or PLACE_ORDER says, as a PLACE_ORDER would."""
    if order[0] not in (NEW_ORDER, PLACE_ORDER):
        raise ValueError(otherwise)
    return order[1:] if order[0] == PLACE_ORDER else (*order[1:], None, 0, 0, 0, 0, 0, 0)


def place_oco(
    symbol: str,
    side: Side,
    order_qty: int,
    *,
    price: int,
    stop_price: int | None,
    stop_limit_price: int | None = None,
    time_in_force: TimeInForce = TimeInForce.GTC,
    expire_time_ns: int = 0,
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE,
    client_order_id: str = "",
    stop_client_order_id: str = "",
    post_only: PostOnly = PostOnly.NO,
    display_qty: int = 0,
    trail_unit: TrailUnit = TrailUnit.NONE,
    trail_offset: int = 0,
    trigger_by: TriggerBy = TriggerBy.LAST,
    hidden: bool = False,
) -> Command:
    """A limit order and a stop order of which one ends the other. The limit order enters first."""
    return (
        PLACE_OCO,
        symbol,
        int(side),
        order_qty,
        int(time_in_force),
        expire_time_ns,
        int(self_trade_prevention),
        price,
        client_order_id,
        int(post_only),
        display_qty,
        int(OrderType.STOP if stop_limit_price is None else OrderType.STOP_LIMIT),
        stop_price,
        stop_limit_price,
        int(trail_unit),
        trail_offset,
        stop_client_order_id,
        *_unusual(trigger_by, hidden=hidden),
    )


def place_ouo(pair: Command) -> Command:
    """A PLACE_OCO, but what its limit order trades is taken off the stop instead of ending it."""
    if pair[0] != PLACE_OCO:
        raise ValueError(f"command kind {pair[0]} is no pair")
    return (PLACE_OUO, *pair[1:])


def place_oto(working: Command, pending: Command) -> Command:
    """An order, and what is released when it is filled.

    Args:
        working: a NEW_ORDER or PLACE_ORDER.
        pending: the same, or a PLACE_OCO or PLACE_OUO: that makes it a PLACE_OTOCO.

    Raises:
        ValueError: they are of other kinds, or of two instruments.
    """
    otherwise = "a pegged order triggers no other, and none triggers it"
    first = _whole(_fields_of(working, otherwise), _PLACED)
    if pending[1] != first[0]:
        raise ValueError(f"one order is of {first[0]}, the other one of {pending[1]}")
    if pending[0] in (PLACE_OCO, PLACE_OUO):
        pair = _whole(pending[1:], _PAIRED)
        return (PLACE_OTOCO, *first, *pair[1:], int(pending[0] == PLACE_OUO))
    return (PLACE_OTO, *first, *_whole(_fields_of(pending, otherwise), _PLACED)[1:])


def _whole(fields: Command, count: int) -> Command:
    """The same with those of the last fields that may be left out."""
    return fields if len(fields) > count else (*fields, 0, 0)


def place_peg(
    symbol: str,
    side: Side,
    order_qty: int,
    reference: PegReference,
    *,
    offset: int = 0,
    limit_price: int | None = None,
    time_in_force: TimeInForce = TimeInForce.GTC,
    expire_time_ns: int = 0,
    client_order_id: str = "",
) -> Command:
    """A limit order that follows a reference; see `conditions.PegTerms`."""
    return (
        PLACE_PEG,
        symbol,
        int(side),
        int(time_in_force),
        order_qty,
        limit_price,
        client_order_id,
        int(reference),
        offset,
        expire_time_ns,
    )


def open_session(account: str, key: str) -> Command:
    """Open a session for `account`: the one known by (account, key), or a new one.

    An empty key always opens a new one; so does a key whose session was closed or evicted.
    """
    return (OPEN_SESSION, account, key)


def close_session() -> Command:
    """Forget this session and its stored replies."""
    return (CLOSE_SESSION,)


def attach_session(*, cancel_on_disconnect: bool, lease_ms: int = 0) -> Command:
    """Say that this session is served by this connection from here on; its epoch grows by one.

    Args:
        cancel_on_disconnect: when the connection ends, the session's orders are cancelled.
        lease_ms: the same when nothing was heard of the session for so long, should the node
            that serves it die; 0 is never.
    """
    return (ATTACH_SESSION, int(cancel_on_disconnect), lease_ms)


def session_lost(session_id: int, epoch: int) -> Command:
    """The connection of that epoch of the session has ended. Said with session 0, by a node."""
    return (SESSION_LOST, session_id, epoch)


def renew_lease(session_id: int, epoch: int) -> Command:
    """The client of that epoch of the session is still there. Said with session 0, by a node."""
    return (RENEW_LEASE, session_id, epoch)


def create_instrument(terms: InstrumentTerms) -> Command:
    """Add an instrument (operators only). What only LIST_INSTRUMENT can say must be default."""
    return (CREATE_INSTRUMENT, *terms[:PLAIN_TERMS])


def list_instrument(terms: InstrumentTerms, phase: Phase = Phase.CONTINUOUS) -> Command:
    """Add an instrument with all its terms, in a phase to begin with (operators only)."""
    return (LIST_INSTRUMENT, *terms, int(phase))


def amend_instrument(terms: InstrumentTerms) -> Command:
    """Give an instrument new terms (operators only). Base, quote and settlement stay; tick and
    lot size change only while its book is empty."""
    return (AMEND_INSTRUMENT, *terms)


def delete_instrument(symbol: str) -> Command:
    """Forget an instrument that is closed and empty (operators only)."""
    return (DELETE_INSTRUMENT, symbol)


def call_auction(symbol: str, *, until_ns: int, then: Phase = Phase.CONTINUOUS) -> Command:
    """Begin a call now; at logical time `until_ns` it ends with its auction (operators only)."""
    return (CALL_AUCTION, symbol, until_ns, int(then))


def create_currency(name: str, decimals: int) -> Command:
    """Keep balances in a currency, in units of 10**-decimals (operators only)."""
    return (CREATE_CURRENCY, name, decimals)


def create_account(name: str, *, is_operator: bool = False, group: str = "") -> Command:
    """Know an account (operators only). Accounts of one group do not trade with each other
    where self-trade prevention is asked for; an empty group is the account alone."""
    return (CREATE_ACCOUNT, name, int(is_operator), group)


def set_account(
    name: str,
    *,
    enabled: bool | None = None,
    group: str | None = None,
    open_orders_max: int | None = None,
    order_qty_max: int | None = None,
    order_notional_max: int | None = None,
    orders_per_s: int | None = None,
    orders_burst: int | None = None,
) -> Command:
    """Change an account and its limits (operators only). None leaves as it was, 0 is no limit.

    Args:
        order_qty_max: lots of one order. order_notional_max: tick-lots of one order.
        orders_per_s, orders_burst: a token bucket on logical time for orders and amends.
    """
    flag = None if enabled is None else int(enabled)
    limits = (open_orders_max, order_qty_max, order_notional_max, orders_per_s, orders_burst)
    return (SET_ACCOUNT, name, flag, group, *limits)


def deposit(account: str, currency: str, amount: int, transfer_id: str) -> Command:
    """Add money to an account (operators only). The same transfer_id again adds nothing."""
    return (DEPOSIT, account, currency, amount, transfer_id)


def withdraw(account: str, currency: str, amount: int, transfer_id: str) -> Command:
    """Take available money out of an account (operators only), once per transfer_id."""
    return (WITHDRAW, account, currency, amount, transfer_id)


def set_kill_switch(*, account: str = "", on: bool) -> Command:
    """Let an account, or with an empty name everybody, enter no orders: cancels go on. An account
    may pull its own switch; the rest is for operators."""
    return (SET_KILL_SWITCH, account, int(on))


def bust_trade(symbol: str, trade_id: int) -> Command:
    """Undo a trade that is still remembered: money and cum_qty (operators only)."""
    return (BUST_TRADE, symbol, trade_id)


def roll_day() -> Command:
    """End the trading day: every DAY order expires (operators only)."""
    return (ROLL_DAY,)


def set_drop_copy(reader: str, *, on: bool) -> Command:
    """Let account `reader` listen to the reports of the own account, or stop it."""
    return (SET_DROP_COPY, reader, int(on))


def set_api_key(account: str, key: str, secret: str) -> Command:
    """Give an account an API key, or take it away with an empty secret. An account may do so for
    itself, an operator for anybody. The secret stands in the log and in snapshots."""
    return (SET_API_KEY, account, key, secret)


def set_phase(symbol: str, phase: Phase) -> Command:
    """Halt, resume or close an instrument (operators only)."""
    return (SET_PHASE, symbol, int(phase))


def set_engine_version(engine_version: int, written_by: str) -> Command:
    """Put newer rules in force; `written_by` is the leader's package version, for the reader."""
    return (SET_ENGINE_VERSION, engine_version, written_by)


def without_secret(command: Any) -> Any:
    """A command as a reject may tell it: the secret of an API key is nobody's to read."""
    if type(command) is tuple and len(command) == 4 and command[0] == SET_API_KEY:
        return (*command[:3], "")
    return command
