"""How often what is said to the small venue of `venue_market.py`: one profile per idea."""

from typing import NamedTuple


class Profile(NamedTuple):
    """How often what is said: lists to choose from, the commonest more than once.

    Attributes:
        kinds: sorts of command of a trader; operators say half of theirs from `venue` instead.
        sorts: sorts of a new order.
        symbols: instruments of new orders.
    """

    kinds: tuple[str, ...]
    sorts: tuple[str, ...]
    symbols: tuple[str, ...] = ("A", "B", "Q", "F", "K", "A", "B", "Q", "F", "K", "C")
    modes: tuple[int, ...] = (0, 0, 0, 1, 2, 3, 4)
    accounts: tuple[str, ...] = ("a", "b", "d", "a", "b", "d", "a", "b", "d", "op", "f")
    venue: tuple[str, ...] = (
        *("phase",) * 6,
        *("call",) * 3,
        *("money",) * 4,
        *("account",) * 3,
        *("bust",) * 3,
        *("instrument",) * 6,
        *("roll", "roll", "kill"),
    )


_KINDS = (
    ("new",) * 20
    + ("cancel",) * 3
    + ("amend",) * 7
    + ("oco",) * 3
    + ("cancel_replace",) * 3
    + ("peg",) * 2
)
_OTHERS = ("mass", "mass", "attach", "session", "key", "copy", "kill", "odd", "odd", "odd", "junk")
_SORTS = ("gtc",) * 6 + ("ioc", "fok", "day", "gtd", "post", "reprice", "market", "market_fok")
STOPS = ("stop", "stop_limit", "touch", "touch_limit", "trail", "trail_limit")
_FINE = ("iceberg", "iceberg", "hidden", "hidden", "min", "min_ioc", "quote", "quote", "to_limit")

EVERYTHING = Profile(_KINDS + _OTHERS, _SORTS + STOPS + _FINE + ("at_auction", "market_auction"))
STOPPING = Profile(
    ("new",) * 16 + ("oco",) * 5 + ("amend",) * 5 + ("cancel", "cancel_replace"),
    ("gtc",) * 5 + ("ioc", "market", "gtd", "hidden") + STOPS * 3,
    symbols=("A", "A", "K", "F", "Q"),
    venue=("phase", "call", "money", "roll"),
)
SLICING = Profile(
    ("new",) * 9 + ("amend",) * 5 + ("cancel", "oco", "cancel_replace"),
    ("iceberg",) * 6
    + ("hidden",) * 4
    + ("gtc",) * 3
    + _FINE
    + ("ioc", "fok", "fok", "market", "reprice"),
    symbols=("A", "F", "Q"),
    modes=(0, 0, 4, 4, 2, 1, 3),
    venue=("phase", "bust", "roll", "call"),
)
CALLING = Profile(
    ("new",) * 14 + ("amend",) * 4 + ("cancel", "oco", "cancel_replace", "mass"),
    ("gtc",) * 6
    + ("at_auction", "market_auction", "to_limit") * 3
    + ("iceberg", "iceberg", "hidden", "hidden", "stop", "trail", "min", "ioc", "post", "gtd"),
    symbols=("A", "A", "F", "F", "K", "Q"),
    accounts=("a", "b", "d", "a", "b", "d", "op", "op"),
    venue=("phase",) * 5 + ("call",) * 6 + ("money", "bust", "roll"),
)
SETTLING = Profile(
    ("new",) * 14 + ("amend",) * 6 + ("cancel", "oco", "oco", "cancel_replace", "cancel_replace"),
    _SORTS + _FINE + STOPS + ("market", "market", "quote"),
    symbols=("F", "F", "F", "K", "C"),
    venue=("money",) * 8 + ("bust",) * 4 + ("phase", "call", "instrument", "instrument"),
)
ENDING = Profile(
    ("new",) * 12 + ("mass",) * 3 + ("attach",) * 3 + ("amend", "oco", "cancel", "session"),
    ("gtd",) * 6 + ("day",) * 6 + ("gtc",) * 3 + ("iceberg", "hidden") + STOPS,
    symbols=("A", "A", "K"),
    accounts=("a", "a", "b", "d", "op"),
    venue=("roll",) * 4 + ("account", "account", "phase", "call"),
)
LISTING = Profile(
    ("new",) * 9 + ("oco", "amend", "cancel", "cancel_replace", "mass"),
    ("gtc",) * 5 + ("day", "market", "stop", "iceberg", "gtd"),
    symbols=("C", "C", "C", "D"),
    accounts=("op", "op", "op", "a", "b", "a", "b", "d"),
    venue=("instrument",) * 12 + ("money", "money", "phase", "call", "bust", "account"),
)
UNCROSSING = Profile(
    ("new",) * 30 + ("cancel", "amend", "cancel_replace", "mass", "peg", "oco"),
    ("gtc",) * 3
    + ("at_auction", "market_auction", "to_limit") * 2
    + ("iceberg", "hidden", "day", "gtd"),
    symbols=("A", "A", "A", "F"),
    accounts=("a", "b", "d", "f", "a", "b", "d", "f", "a", "b", "d", "f", "op"),
    venue=("phase", "call", "call", "phase", "roll"),
)
PEGGING = Profile(
    ("peg",) * 9
    + ("new",) * 9
    + ("cancel",) * 3
    + ("amend",) * 3
    + ("cancel_replace", "mass", "oco"),
    ("gtc",) * 9
    + ("ioc", "ioc", "market", "post", "reprice", "iceberg", "stop", "to_limit", "gtd")
    + ("hidden", "hidden"),
    symbols=("A", "A", "B", "F", "K", "Q"),
    modes=(0, 0, 0, 0, 2, 4),
    venue=("phase", "phase", "call", "call", "money", "bust", "roll", "instrument"),
)
PROFILES = {
    "uncrossing": UNCROSSING,
    "pegging": PEGGING,
    "everything": EVERYTHING,
    "stopping": STOPPING,
    "slicing": SLICING,
    "calling": CALLING,
    "settling": SETTLING,
    "ending": ENDING,
    "listing": LISTING,
}
