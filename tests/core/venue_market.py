"""A small complete venue to begin with: instruments that settle and that do not, small bounds.

What the generator of `venue_flow.py` trades on. Few prices, because collisions are where the bugs
are; bounds so tight that pages, windows and limits are reached all the time.
"""

from raftbook.core import commands as c
from raftbook.core.commands import PLAIN_TERMS, Entry, Request
from raftbook.core.exchange import Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.core.versions import ENGINE_VERSION

MS = 1_000_000
MINUTE_NS = 60 * 10**9
START_NS = 10**18

FREE = InstrumentTerms("A", "oil", "usd", "0.01", "1", 6, -4, 4)
FENCED = InstrumentTerms("B", "gas", "usd", "0.5", "10", 5, -4, 4, -2, 2, 6, 1, 0, 2, 1)
BANDED = InstrumentTerms(
    "Q", "sun", "usd", "1", "1", 7, 1, 6, reference_price=3, volatility_band=1, volatility_call_ms=3
)
FUNDED = InstrumentTerms(
    "F", "oil", "eur", "0.03", "2", 6, 1, 6, settlement=2, maker_fee=-7_001, taker_fee=30_000
)
CREDIT = InstrumentTerms(
    "K",
    "eur",
    "usd",
    "0.07",
    "0.1",
    6,
    0,
    5,
    collar=2,
    reference_price=2,
    settlement=1,
    maker_fee=3_333,
    taker_fee=-1_111,
    volatility_band=3,
    volatility_call_ms=1,
)
LATER = InstrumentTerms("C", "oil", "eur", "0.01", "1", 4, 0, 4, settlement=2, collar=1)
"""Not there from the beginning: created, amended, closed and deleted along the way."""

LIMITS = Limits(
    sessions_max=8,
    sessions_per_account_max=3,
    session_idle_ns=5 * MINUTE_NS,
    reply_window=4,
    closed_orders_max=3,
    open_orders_max=10,
    book_orders_max=11,
    accounts_max=7,
    instruments_max=7,
    trades_kept=4,
    session_recent_ns=2 * MS,
    fills_max=4,
    stops_max=5,
    triggers_max=2,
    cancel_page=2,
    expiries_page=2,
    transfers_kept=2,
    currencies_max=4,
    api_keys_max=2,
    drop_copies_max=1,
    auction_page=2,
    pegs_max=4,
    pegs_page=3,
    hidden_max=4,
)
ACCOUNTS = (("op", True), ("a", False), ("b", False), ("d", False), ("f", False))
CURRENCIES = (("eur", 2), ("usd", 3), ("oil", 0))
DEPOSITS = tuple(
    (account, currency, amount)
    for account in ("a", "b", "d")
    for currency, amount in (("eur", 150), ("oil", 30), ("usd", 1_000))
)
GENESIS = Genesis(
    (FREE, FENCED, BANDED, FUNDED, CREDIT),
    ACCOUNTS,
    LIMITS,
    currencies=CURRENCIES,
    deposits=DEPOSITS,
)

OLD_GENESIS = Genesis(
    tuple(
        InstrumentTerms(*terms[:PLAIN_TERMS]) for terms in (FREE, FENCED, BANDED, FUNDED, CREDIT)
    ),
    ACCOUNTS,
    LIMITS,
)
"""The same venue as engine version 1 knows it: nothing settles, nothing is called."""

OPENING: tuple[Request, ...] = tuple(
    (c.NO_SESSION, 0, (c.open_session(account, key),))
    for account, key in (
        ("op", "k"),
        ("a", "k"),
        ("a", "l"),
        ("b", "k"),
        ("b", "l"),
        ("d", "k"),
        ("f", "k"),
    )
)


def switch_to(engine_version: int) -> Request:
    """What puts rules in force; of the venue, those of version 2 are from the beginning."""
    return (c.NO_SESSION, 0, (c.set_engine_version(engine_version, "x"),))


SWITCH = switch_to(ENGINE_VERSION)
GROUPS: Request = (
    1,
    1,
    (c.set_account("a", group="g"), c.set_account("d", group="g", open_orders_max=5)),
)


def first_entries(engine_version: int) -> tuple[Entry, ...]:
    """What opens the venue, by the rules of this version."""
    return (
        Entry(1, START_NS, OPENING),
        Entry(2, START_NS, (switch_to(engine_version),)),
        Entry(3, START_NS, (GROUPS,)),
    )


FIRST_ENTRIES = first_entries(ENGINE_VERSION)

PRICES = {
    "A": (0, 1, -1, 2, -2, 0, 1, -1, 3),
    "B": (0, 1, -1, 2, -2, 0, 1, -1, 3),
    "Q": (3, 2, 4, 3, 2, 4, 5, 1, 6),
    "F": (3, 2, 4, 3, 2, 4, 5, 1, 6),
    "K": (2, 1, 3, 2, 1, 3, 4, 0, 5),
    **dict.fromkeys("CDE", (2, 1, 3, 2, 1, 3, 4, 0)),
}
