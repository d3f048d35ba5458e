"""What goes wrong at this door, in Binance's codes and words; clients match both.

Owns the texts, and the table from the engine's reasons to them. The codes and sentences are those
of Binance's published error list; what Binance has no word for is said under the nearest code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from raftbook.core.types import Reject


class Fault(Exception):
    """An answer that is an error.

    Attributes:
        status: of HTTP.
        data: what stands beside code and msg, of the few errors that tell more.
        retry_after_s: how long whoever is refused with 429 should wait.
    """

    def __init__(
        self,
        status: int,
        code: int,
        msg: str,
        *,
        data: Mapping[str, Any] | None = None,
        retry_after_s: int = 1,
    ) -> None:
        super().__init__(f"{code} {msg}")
        self.status = status
        self.code = code
        self.msg = msg
        self.data = data
        self.retry_after_s = retry_after_s

    def document(self) -> dict[str, Any]:
        """As JSON says it."""
        body: dict[str, Any] = {"code": self.code, "msg": self.msg}
        if self.data is not None:
            body["data"] = self.data
        return body


def missing(name: str) -> Fault:
    """A parameter that must be there is not, is empty, or is nothing of the kind."""
    return Fault(
        400,
        -1102,
        f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.",
    )


def either_missing(name: str, other: str) -> Fault:
    """One of two must be there."""
    return Fault(400, -1102, f"Param '{name}' or '{other}' must be sent, but both were empty/null!")


def illegal(name: str, legal: str) -> Fault:
    """Characters that never stand in such a parameter."""
    text = f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."
    return Fault(400, -1100, text)


def invalid(name: str) -> Fault:
    """A value that cannot be."""
    return Fault(400, -1130, f"Data sent for parameter '{name}' is not valid.")


def not_required(name: str) -> Fault:
    """A parameter that does not go with the others."""
    return Fault(400, -1106, f"Parameter '{name}' sent when not required.")


def empty(name: str) -> Fault:
    """A parameter that says nothing."""
    return Fault(400, -1105, f"Parameter '{name}' was empty.")


def too_precise(name: str) -> Fault:
    """More places than are kept of anything."""
    return Fault(400, -1111, f"Parameter '{name}' has too much precision.")


def duplicate() -> Fault:
    """One parameter, two values."""
    return Fault(400, -1101, "Duplicate values for a parameter detected.")


def filtered(name: str) -> Fault:
    """A filter of `exchangeInfo` says no."""
    return Fault(400, -1013, f"Filter failure: {name}")


def bad_symbol() -> Fault:
    """No such instrument."""
    return Fault(400, -1121, "Invalid symbol.")


def bad_key() -> Fault:
    """Nobody has this key."""
    return Fault(401, -2015, "Invalid API-key, IP, or permissions for action.")


def no_key() -> Fault:
    """No key at all."""
    return Fault(401, -2014, "API-key format invalid.")


def bad_signature() -> Fault:
    """Not signed, or not by whoever has this key."""
    return Fault(400, -1022, "Signature for this request is not valid.")


def no_order() -> Fault:
    """A question about an order that nobody knows."""
    return Fault(400, -2013, "Order does not exist.")


def unknown_order() -> Fault:
    """A cancel of an order that is not open."""
    return Fault(400, -2011, "Unknown order sent.")


def crowded(msg: str, *, retry_after_s: int = 1) -> Fault:
    """Too much at once; safe to send again."""
    return Fault(429, -1003, msg, retry_after_s=retry_after_s)


def unavailable(msg: str) -> Fault:
    """It never left this node, or this node may not answer; safe to send again."""
    return Fault(503, -1001, msg)


def stopping() -> Fault:
    """The node goes down before it has answered a question."""
    return unavailable("This node stops; please ask another.")


def unknown_outcome() -> Fault:
    """It may take effect yet."""
    return Fault(
        504,
        -1007,
        "Timeout waiting for response from backend server. "
        "Send status unknown; execution status unknown.",
    )


_FUNDS: Final = "Account has insufficient balance for requested action."
_CLOSED: Final = "Market is closed."
_NO_ACCOUNT: Final = "This action is disabled on this account."
_UNSUPPORTED: Final = "Unsupported order combination."
_STOP: Final = "Stop price is not valid."

_TABLE: Final[dict[Reject, tuple[int, int, str]]] = {
    Reject.NONE: (500, -1000, "An unknown error occurred while processing the request."),
    Reject.UNKNOWN_INSTRUMENT: (400, -1121, "Invalid symbol."),
    Reject.INSTRUMENT_CLOSED: (400, -2010, _CLOSED),
    Reject.INSTRUMENT_HALTED: (400, -2010, _CLOSED),
    Reject.PHASE_FORBIDS: (400, -2010, _CLOSED),
    Reject.UNKNOWN_ACCOUNT: (401, -2015, "Invalid API-key, IP, or permissions for action."),
    Reject.ACCOUNT_SUSPENDED: (400, -2010, _NO_ACCOUNT),
    Reject.KILL_SWITCH: (400, -2010, _NO_ACCOUNT),
    Reject.UNKNOWN_SESSION: (503, -1001, "The session of this node is gone; please try again."),
    Reject.DUPLICATE_CLIENT_ORDER_ID: (400, -2010, "Duplicate order sent."),
    Reject.UNSUPPORTED_COMBINATION: (400, -1014, _UNSUPPORTED),
    Reject.BAD_QTY: (400, -1013, "Invalid quantity."),
    Reject.LOT_SIZE: (400, -1013, "Filter failure: LOT_SIZE"),
    Reject.QTY_TOO_SMALL: (400, -1013, "Filter failure: LOT_SIZE"),
    Reject.QTY_TOO_LARGE: (400, -1013, "Filter failure: LOT_SIZE"),
    Reject.BAD_PRICE: (400, -1013, "Filter failure: PRICE_FILTER"),
    Reject.TICK_SIZE: (400, -1013, "Filter failure: PRICE_FILTER"),
    Reject.PRICE_BAND: (400, -1013, "Filter failure: PRICE_FILTER"),
    Reject.NOTIONAL_LIMIT: (400, -1013, "Filter failure: NOTIONAL"),
    Reject.OPEN_ORDER_LIMIT: (400, -1013, "Filter failure: EXCHANGE_MAX_NUM_ORDERS"),
    Reject.RATE_LIMIT: (429, -1015, "Too many new orders."),
    Reject.BAD_EXPIRE_TIME: (400, -1130, "Data sent for parameter 'goodTillDate' is not valid."),
    Reject.INSUFFICIENT_FUNDS: (400, -2010, _FUNDS),
    Reject.INSUFFICIENT_POSITION: (400, -2010, _FUNDS),
    Reject.POST_ONLY_WOULD_CROSS: (400, -2010, "Order would immediately match and take."),
    Reject.FOK_CANNOT_FILL: (400, -2010, "Order could not be filled at once."),
    Reject.MIN_QTY_NOT_MET: (400, -2010, "Order could not be filled at once."),
    Reject.NO_LIQUIDITY: (400, -2010, "There is nothing to trade with."),
    Reject.PRICE_COLLAR: (400, -2010, "Order would trade too far from the last price."),
    Reject.NO_REFERENCE_PRICE: (400, -2010, "Market orders are not supported for this symbol."),
    Reject.SELF_TRADE: (400, -2010, "Order would trade with an order of the same account."),
    Reject.BAD_DISPLAY_QTY: (400, -2010, "IcebergQty exceeds QTY."),
    Reject.BAD_STOP_PRICE: (400, -1013, _STOP),
    Reject.UNKNOWN_ORDER: (400, -2011, "Unknown order sent."),
    Reject.TOO_LATE: (400, -2011, "Unknown order sent."),
    Reject.NOT_OWNER: (400, -2011, "Unknown order sent."),
    Reject.AMEND_NOT_ALLOWED: (400, -2038, "This order cannot be amended so."),
    Reject.VERSION_MISMATCH: (400, -2010, "The order has changed meanwhile."),
    Reject.INSTRUMENT_EXISTS: (400, -2010, "This instrument exists."),
    Reject.INSTRUMENT_NOT_EMPTY: (400, -2010, "This instrument has open orders."),
    Reject.BOOK_FULL: (400, -1013, "Filter failure: MAX_NUM_ORDERS"),
    Reject.UNKNOWN_TRADE: (400, -2013, "Trade does not exist."),
    Reject.ALREADY_BUSTED: (400, -2010, "This trade was undone already."),
    Reject.OVERFLOW: (400, -1108, "The amount is too large."),
    Reject.UNSUPPORTED_VERSION: (
        400,
        -2010,
        "This action is not supported until every node runs the newer release.",
    ),
    Reject.NOT_AUTHORIZED: (401, -2015, "Invalid API-key, IP, or permissions for action."),
    Reject.BAD_SIDE: (400, -1117, "Invalid side."),
    Reject.MALFORMED: (400, -1130, "Invalid data sent for a parameter."),
    Reject.AUCTION_ONLY: (400, -1014, _UNSUPPORTED),
    Reject.IOC_IN_AUCTION: (400, -1014, _UNSUPPORTED),
    Reject.FILL_LIMIT: (400, -2010, "Order would trade with too many others."),
    Reject.UNKNOWN_CURRENCY: (400, -2010, "There is no such currency."),
    Reject.ACCOUNT_EXISTS: (400, -2010, "This account exists."),
    Reject.CURRENCY_EXISTS: (400, -2010, "This currency exists."),
    Reject.TOO_MANY: (400, -1013, "Filter failure: MAX_NUM_ALGO_ORDERS"),
    Reject.BAD_AMOUNT: (400, -1013, "Invalid quantity."),
    Reject.OCO_DONE: (400, -2011, "Unknown order sent."),
    Reject.OTO_FAILED: (400, -2011, "Unknown order sent."),
    Reject.MASS_CANCEL: (400, -2011, "Unknown order sent."),
    Reject.DISCONNECTED: (400, -2011, "Unknown order sent."),
    Reject.TIME_IS_UP: (400, -2011, "Unknown order sent."),
    Reject.CANCEL_FAILED: (400, -2022, "Order cancel-replace failed."),
    Reject.NO_LEADER: (503, -1001, "No leader is known; please try again."),
    Reject.OVERLOADED: (429, -1003, "Too many requests queued."),
    Reject.TOO_STALE: (503, -1001, "This node is behind the others; please ask another."),
    Reject.NOT_READY: (503, -1001, "This node takes no part now; please use another."),
}
"""STALE_REQUEST and OUTCOME_UNKNOWN are not here: of both nobody knows whether it took effect."""

_UNKNOWN: Final = frozenset((Reject.STALE_REQUEST, Reject.OUTCOME_UNKNOWN))


def refused(code: int) -> Fault:
    """The answer to a request that the engine or this node refused.

    Raises:
        ValueError: no reason has this number.
    """
    reason = Reject(code)
    if reason in _UNKNOWN:
        return unknown_outcome()
    return Fault(*_TABLE[reason])
