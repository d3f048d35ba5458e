"""Why not, in words: one sentence per reject code, and the error that carries a code.

Owns the sentences; the codes are `raftbook.core.types.Reject`. Must not know when they are said.
"""

from __future__ import annotations

from typing import Final

from raftbook.core.types import Reject
from raftbook.errors import NotAccepted

_SENTENCES: Final[dict[Reject, str]] = {
    Reject.NONE: "Nothing was refused.",
    Reject.UNKNOWN_INSTRUMENT: "There is no instrument of this symbol.",
    Reject.INSTRUMENT_CLOSED: "The instrument is closed for good.",
    Reject.INSTRUMENT_HALTED: "Trading in the instrument is halted; only cancels are taken.",
    Reject.PHASE_FORBIDS: "The instrument's trading phase does not admit it.",
    Reject.UNKNOWN_ACCOUNT: "There is no such account.",
    Reject.ACCOUNT_SUSPENDED: "The account is suspended.",
    Reject.KILL_SWITCH: "A kill switch stopped this account's trading.",
    Reject.UNKNOWN_SESSION: "The session does not exist, or was forgotten after a long silence.",
    Reject.STALE_REQUEST: "The request number is older than the replies the book remembers.",
    Reject.DUPLICATE_CLIENT_ORDER_ID: "Another order of the account has this client order id.",
    Reject.UNSUPPORTED_COMBINATION: (
        "This order type, time in force, price and conditions do not go together."
    ),
    Reject.BAD_QTY: "The quantity must be positive, and at least its own minimum.",
    Reject.LOT_SIZE: "The quantity is not a whole number of lots.",
    Reject.QTY_TOO_SMALL: "The quantity is below the instrument's minimum.",
    Reject.QTY_TOO_LARGE: "The quantity is above the instrument's or the account's maximum.",
    Reject.BAD_PRICE: "The price is outside what the instrument admits.",
    Reject.TICK_SIZE: "The price is not a whole number of ticks.",
    Reject.PRICE_BAND: "The price is outside the instrument's price band.",
    Reject.NOTIONAL_LIMIT: "Price times quantity is outside the instrument's or account's limits.",
    Reject.OPEN_ORDER_LIMIT: "The account has as many open orders as it may.",
    Reject.RATE_LIMIT: "Too many at once: wait, or close sessions that are no longer used.",
    Reject.BAD_EXPIRE_TIME: "The expiry time is not acceptable.",
    Reject.INSUFFICIENT_FUNDS: "The account's balance does not cover it.",
    Reject.INSUFFICIENT_POSITION: "The account does not hold enough to sell.",
    Reject.POST_ONLY_WOULD_CROSS: "A post-only order would have traded at once.",
    Reject.FOK_CANNOT_FILL: "Fill-or-kill: the whole quantity could not be filled at once.",
    Reject.MIN_QTY_NOT_MET: "The minimum quantity could not be filled at once.",
    Reject.NO_LIQUIDITY: "Nobody was left to trade with on the other side.",
    Reject.PRICE_COLLAR: "The market order stopped at the price collar.",
    Reject.NO_REFERENCE_PRICE: "The order needs a reference price, and there is none yet.",
    Reject.SELF_TRADE: "It would have traded with an order of its own account.",
    Reject.BAD_DISPLAY_QTY: "The displayed quantity is not acceptable.",
    Reject.BAD_STOP_PRICE: "The stop price is not acceptable.",
    Reject.UNKNOWN_ORDER: "The account has no such order, or it was closed long ago.",
    Reject.TOO_LATE: "The order is closed already.",
    Reject.NOT_OWNER: "The order belongs to another account.",
    Reject.AMEND_NOT_ALLOWED: "The amend changes nothing, or what such an order does not have.",
    Reject.VERSION_MISMATCH: "The order has changed since.",
    Reject.INSTRUMENT_EXISTS: "There is an instrument of this symbol already.",
    Reject.INSTRUMENT_NOT_EMPTY: "The instrument still has open orders, or is not closed.",
    Reject.BOOK_FULL: "The book holds as many orders, or the exchange as many books, as it may.",
    Reject.UNKNOWN_TRADE: "There is no such trade.",
    Reject.ALREADY_BUSTED: "The trade was cancelled already.",
    Reject.OVERFLOW: "The numbers are too large.",
    Reject.UNSUPPORTED_VERSION: "The node does not speak this version.",
    Reject.NOT_AUTHORIZED: "The account is not allowed to do this; check account and secret.",
    Reject.BAD_SIDE: "The side must be buy or sell.",
    Reject.MALFORMED: "The command is not well formed.",
    Reject.AUCTION_ONLY: "The order is for auctions only.",
    Reject.IOC_IN_AUCTION: "An auction takes no immediate orders.",
    Reject.FILL_LIMIT: "It would have met more orders than one command may.",
    Reject.UNKNOWN_CURRENCY: "There is no such currency.",
    Reject.ACCOUNT_EXISTS: "There is an account of this name already.",
    Reject.CURRENCY_EXISTS: "There is a currency of this name already.",
    Reject.TOO_MANY: "There are as many of these as there may be.",
    Reject.BAD_AMOUNT: "The amount is not positive, or no whole number of the smallest unit.",
    Reject.OCO_DONE: "The other order of the pair traded, fired or was cancelled.",
    Reject.OTO_FAILED: "The order that it was pending on ended before it was filled.",
    Reject.MASS_CANCEL: "It was cancelled together with others.",
    Reject.DISCONNECTED: "Its session was cut off, and had asked for its orders to end then.",
    Reject.TIME_IS_UP: "Its time was over.",
    Reject.CANCEL_FAILED: "The order to replace could not be cancelled, so nothing was entered.",
    Reject.NO_LEADER: "The cluster has no leader right now; nothing happened, send again.",
    Reject.OVERLOADED: "The node is busy; nothing happened, send again a little later.",
    Reject.OUTCOME_UNKNOWN: (
        "It may have taken effect; send again only with the same session and request number."
    ),
    Reject.TOO_STALE: "The node is not current enough; ask again, or another node.",
    Reject.NOT_READY: "The node is starting; nothing happened, send again.",
}


def explain_reject(code: int) -> str:
    """One sentence for a reject code, whoever said it; also for codes of newer nodes."""
    try:
        return _SENTENCES[Reject(code)]
    except (ValueError, KeyError):
        return f"Refused with code {code}, which this client does not know."


def reject_name(code: int) -> str:
    """The code's name; "" for 0, "CODE_n" for one of a newer node."""
    if not code:
        return ""
    try:
        return Reject(code).name
    except ValueError:
        return f"CODE_{code}"


class Refused(NotAccepted):
    """A node said no, and why. What was asked had no effect.

    Args:
        code: a `types.Reject`.
        reason: the node's own words; the code's sentence when it had none.
        doing: what was refused, in a few words.

    Attributes:
        reason: never empty.
    """

    def __init__(self, code: int, reason: str, *, doing: str) -> None:
        self.reason = reason or explain_reject(code)
        super().__init__(f"{doing}: {self.reason} ({reject_name(code)})")
        self.code = code
        self.reject_name = reject_name(code)
