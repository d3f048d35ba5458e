"""Which price a pegged order wants, by hand; and that nobody pays for those who have none."""

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange
from raftbook.core.pegs import wanted_price
from raftbook.core.snapshot import export_state, restore_state
from raftbook.core.types import PegReference, Side
from tests.core import venue_flow, venue_market
from tests.core.flow import EFFORT, GENESIS, OPENING
from tests.core.pair import Pair
from tests.core.venue_profiles import PEGGING

PRIMARY, MARKET, MIDPOINT = PegReference
BUY, SELL = Side


@pytest.mark.parametrize(
    ("side", "reference", "offset", "limit", "bid", "ask", "due"),
    [
        (BUY, PRIMARY, 0, None, 95, 105, 95),
        (BUY, PRIMARY, 2, None, 95, 105, 97),
        (BUY, PRIMARY, -2, None, 95, None, 93),
        (BUY, PRIMARY, 0, None, None, 105, None),
        (SELL, PRIMARY, 0, None, 95, 105, 105),
        (SELL, PRIMARY, -3, None, None, 105, 102),
        (SELL, PRIMARY, 0, None, 95, None, None),
        (BUY, MARKET, 0, None, 95, 105, 104),
        (BUY, MARKET, -1, None, None, 105, 104),
        (BUY, MARKET, -2, None, None, 105, 103),
        (SELL, MARKET, 0, None, 95, 105, 96),
        (SELL, MARKET, 3, None, 95, None, 98),
        (BUY, MIDPOINT, 0, None, 95, 105, 100),
        (BUY, MIDPOINT, 0, None, 95, 104, 99),
        (SELL, MIDPOINT, 0, None, 95, 104, 100),
        (BUY, MIDPOINT, 0, None, -4, -1, -3),
        (SELL, MIDPOINT, 0, None, -4, -1, -2),
        (BUY, MIDPOINT, 0, None, 95, None, None),
        (SELL, MIDPOINT, 0, None, None, 104, None),
        (BUY, MIDPOINT, 9, None, 95, 105, 104),
        (SELL, MIDPOINT, -9, None, 95, 105, 96),
        (BUY, PRIMARY, 0, 90, 95, 105, 90),
        (SELL, PRIMARY, 0, 110, 95, 105, 110),
        (BUY, PRIMARY, 9, 102, 95, 105, 102),
        (SELL, PRIMARY, -9, 98, 95, 105, 98),
        (BUY, PRIMARY, 99, 105, 95, 105, 104),
    ],
)
def test_what_it_wants(
    side: Side,
    reference: PegReference,
    offset: int,
    limit: int | None,
    bid: int | None,
    ask: int | None,
    due: int | None,
) -> None:
    kind = (int(side), 8, 1, 0, 0)
    conditions = (None, 0, 0, 0, 0, 0, 0, 0)
    terms = (1, "a", "", "A", kind, 1, None, conditions, (int(reference), offset, limit))
    assert wanted_price(terms, bid, ask) == due


def test_none_is_entered_before_engine_version_2() -> None:
    exchange = Exchange(GENESIS)
    exchange.apply(Entry(1, 1, OPENING))
    peg = c.place_peg("A", BUY, 1, PRIMARY)
    (reply,) = exchange.apply(Entry(2, 2, ((2, 1, (peg,)),)))
    assert reply[4] == [(e.REJECTED, 0, 48, peg)]


def test_place_order_knows_no_pegged_order() -> None:
    pair = Pair(venue_market.GENESIS)
    for entry in venue_market.FIRST_ENTRIES:
        pair.apply(entry)
    peg = (c.PLACE_ORDER, "A", 1, 8, 1, 1, None, "", 0, 0, None, 0, 0, 0, 0, 0, 0)
    (reply,) = pair.apply(Entry(4, venue_market.START_NS, ((2, 1, (peg,)),)))
    assert reply[4] == [(e.REJECTED, 0, 11, peg)]


def test_a_page_of_moves_goes_on_from_a_snapshot_as_without_one() -> None:
    """The flows stop in the midst of pages; there every entry is taken through a snapshot."""
    between_pages = 0
    for seed in range(6 * EFFORT):
        here, there = Exchange(venue_market.GENESIS), Exchange(venue_market.GENESIS)
        for entry in venue_flow.random_entries(seed, 150, PEGGING):
            there = restore_state(venue_market.GENESIS, export_state(there))
            assert here.apply(entry) == there.apply(entry)
            between_pages += len(here.agenda.following)
    assert between_pages > 3
