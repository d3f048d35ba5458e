"""The vocabulary of the exchange: enumerations, their numbers and the limits of its integers.

Owns every number that stands in the log, in a snapshot or on a wire: they are append-only. FIX tag
values are used where FIX has one [54, 40, 59]. Knows nothing of commands or state.
"""

from enum import IntEnum
from typing import Final

INT64_MAX: Final = 2**63 - 1

ID_CHARS_MAX: Final = 64
"""Longest client_order_id, symbol, account name or session key, in characters."""


class Side(IntEnum):
    BUY = 1
    SELL = 2


class OrderType(IntEnum):
    """What an order is; those above LIMIT sleep until a price reaches their stop price."""

    MARKET = 1
    LIMIT = 2
    STOP = 3
    """A market order once the market has run against it: a buy when last >= stop."""
    STOP_LIMIT = 4
    IF_TOUCHED = 5
    """A market order once the market has come to it: a buy when last <= stop."""
    LIMIT_IF_TOUCHED = 6
    MARKET_TO_LIMIT = 7
    """Takes at the best opposite price alone; what is left is a limit order at that price."""
    PEGGED = 8
    """A limit order whose price follows the best prices of the others; never takes."""


class TimeInForce(IntEnum):
    DAY = 0
    """Until the day is rolled."""
    GTC = 1
    AT_AUCTION = 2
    """Only in a call; what the auction leaves of it expires."""
    IOC = 3
    FOK = 4
    GTD = 6
    """Until its expire time."""


class PostOnly(IntEnum):
    """What becomes of an order that must not take, when it would."""

    NO = 0
    REJECT = 1
    REPRICE = 2
    """It is entered one tick behind the best opposite price."""


class TrailUnit(IntEnum):
    """What the offset of a trailing stop counts."""

    NONE = 0
    TICKS = 1
    BASIS_POINTS = 2


class TriggerBy(IntEnum):
    """The price that a stop looks at."""

    LAST = 0
    """Of the last trade."""
    BID = 1
    ASK = 2
    """The best prices of orders that show themselves and are not pegged."""
    MID = 3
    """The half of their sum."""


class PegReference(IntEnum):
    """What the price of a pegged order is counted from."""

    PRIMARY = 1
    """The best price of its own side."""
    MARKET = 2
    """The best price of the other side."""
    MIDPOINT = 3


class Settlement(IntEnum):
    """Whether trades of an instrument move money."""

    NONE = 0
    """No balances are kept: whoever may trade may trade any amount."""
    CREDIT = 1
    """Balances are kept and may go below zero."""
    FUNDED = 2
    """An order needs funds, which are held until it trades or ends."""


class SelfTradePrevention(IntEnum):
    """What happens when the taker meets an order of its own account; the taker's mode rules."""

    NONE = 0
    CANCEL_NEWEST = 1
    CANCEL_OLDEST = 2
    CANCEL_BOTH = 3
    DECREMENT = 4


class Phase(IntEnum):
    """Trading phase of one instrument."""

    PRE_OPEN = 1
    """Orders gather, nothing trades."""
    AUCTION = 2
    """The same, and the price at which they would trade is shown."""
    CONTINUOUS = 3
    HALTED = 4
    CANCEL_ONLY = 5
    CLOSED = 6


class OrdStatus(IntEnum):
    """What a report says of the order after the event [39]."""

    NEW = 0
    PARTIALLY_FILLED = 1
    FILLED = 2
    CANCELED = 4
    REJECTED = 8
    EXPIRED = 12


class Reject(IntEnum):
    """Reason codes of refusals and of cancels the engine made itself. Stable, append-only."""

    NONE = 0
    UNKNOWN_INSTRUMENT = 1
    INSTRUMENT_CLOSED = 2
    INSTRUMENT_HALTED = 3
    PHASE_FORBIDS = 4
    UNKNOWN_ACCOUNT = 5
    ACCOUNT_SUSPENDED = 6
    KILL_SWITCH = 7
    UNKNOWN_SESSION = 8
    STALE_REQUEST = 9
    DUPLICATE_CLIENT_ORDER_ID = 10
    UNSUPPORTED_COMBINATION = 11
    BAD_QTY = 12
    LOT_SIZE = 13
    QTY_TOO_SMALL = 14
    QTY_TOO_LARGE = 15
    BAD_PRICE = 16
    TICK_SIZE = 17
    PRICE_BAND = 18
    NOTIONAL_LIMIT = 19
    OPEN_ORDER_LIMIT = 20
    RATE_LIMIT = 21
    BAD_EXPIRE_TIME = 22
    INSUFFICIENT_FUNDS = 23
    INSUFFICIENT_POSITION = 24
    POST_ONLY_WOULD_CROSS = 25
    FOK_CANNOT_FILL = 26
    MIN_QTY_NOT_MET = 27
    NO_LIQUIDITY = 28
    PRICE_COLLAR = 29
    NO_REFERENCE_PRICE = 30
    SELF_TRADE = 31
    BAD_DISPLAY_QTY = 32
    BAD_STOP_PRICE = 33
    UNKNOWN_ORDER = 34
    TOO_LATE = 35
    NOT_OWNER = 36
    AMEND_NOT_ALLOWED = 37
    VERSION_MISMATCH = 38
    INSTRUMENT_EXISTS = 39
    INSTRUMENT_NOT_EMPTY = 40
    BOOK_FULL = 41
    UNKNOWN_TRADE = 42
    ALREADY_BUSTED = 43
    OVERFLOW = 44
    UNSUPPORTED_VERSION = 45
    NOT_AUTHORIZED = 46
    BAD_SIDE = 47
    MALFORMED = 48
    AUCTION_ONLY = 49
    IOC_IN_AUCTION = 50
    FILL_LIMIT = 51
    UNKNOWN_CURRENCY = 52
    ACCOUNT_EXISTS = 53
    CURRENCY_EXISTS = 54
    TOO_MANY = 55
    BAD_AMOUNT = 56
    OCO_DONE = 57
    MASS_CANCEL = 58
    DISCONNECTED = 59
    TIME_IS_UP = 60
    CANCEL_FAILED = 61
    # Never logged: said by a gateway that could not get the request into the log.
    NO_LEADER = 900
    OVERLOADED = 901
    OUTCOME_UNKNOWN = 902
    TOO_STALE = 903
    NOT_READY = 904
