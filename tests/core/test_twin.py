"""The exchange and its stupid twin are told the same and must say the same, for ever.

Every step of the machines is one entry; whole replies are compared, then the invariants of the
exchange and of a ledger that reads nothing but replies. HYPOTHESIS_PROFILE=long runs it longer.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from raftbook.core import call, keys
from raftbook.core.build import KIND
from raftbook.core.commands import Entry
from raftbook.core.events import ENGINE_VERSION_SET
from raftbook.core.versions import ENGINE_VERSION
from tests.core import venue_flow, venue_market, venue_profiles
from tests.core.flow import (
    AMENDING,
    EFFORT,
    MIXED,
    OPENING,
    PROFILES,
    SELF_TRADING,
    Choose,
    Flow,
    Profile,
    advance,
    random_entries,
    seeded,
)
from tests.core.pair import Pair

VENUE_PROFILES = venue_profiles.PROFILES


@cache
def index_below(count: int) -> st.SearchStrategy[int]:
    """Made once for each size: making strategies costs more than drawing from them."""
    return st.integers(0, count - 1)


@st.composite
def drawn(draw: st.DrawFn, make: Callable[[Choose], Any]) -> Any:
    """What `make` comes to with choices that shrink towards the first option."""

    def choose(options: Sequence[Any]) -> Any:
        return options[draw(index_below(len(options)))]

    return make(choose)


class TwinMachine(RuleBasedStateMachine):
    """What engine version 1 knows."""

    profile: Profile = MIXED

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.flow = Flow(self.profile)
        self.index = 0
        self.time_ns = 10**18

    @initialize()
    def open(self) -> None:
        self._apply(OPENING)

    @rule(data=st.data())
    def entry(self, data: st.DataObject) -> None:
        def make(choose: Choose) -> Any:
            self.time_ns += advance(choose)
            return tuple(self.flow.request(choose) for _ in range(choose((1, 2, 3, 4))))

        self._apply(data.draw(drawn(make)))

    def _apply(self, requests: Any) -> None:
        self.index += 1
        self.flow.learn(self.pair.apply(Entry(self.index, self.time_ns, requests)))

    @invariant()
    def holds(self) -> None:
        self.pair.check()

    def teardown(self) -> None:
        self.pair.sweep()


class AmendingMachine(TwinMachine):
    profile = AMENDING


class SelfTradingMachine(TwinMachine):
    profile = SELF_TRADING


class VenueMachine(RuleBasedStateMachine):
    """What engine version 2 knows, in one venue where everything collides."""

    profile: venue_profiles.Profile = venue_profiles.EVERYTHING

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(venue_market.GENESIS)
        self.flow = venue_flow.Flow(self.profile)

    @initialize()
    def open(self) -> None:
        for entry in venue_market.FIRST_ENTRIES:
            self.flow.learn(self.pair.apply(entry))

    @rule(data=st.data())
    def entry(self, data: st.DataObject) -> None:
        def make(choose: Choose) -> Entry:
            time_ns = self.flow.advance(choose)
            requests = tuple(self.flow.request(choose) for _ in range(choose((1, 2, 3))))
            return Entry(self.pair.engine.applied_index + 1, time_ns, requests)

        self.flow.learn(self.pair.apply(data.draw(drawn(make))))

    @invariant()
    def holds(self) -> None:
        self.pair.check()

    def teardown(self) -> None:
        if self.pair.engine.applied_index >= len(venue_market.FIRST_ENTRIES):
            self.pair.call_and_sweep()


class StoppingMachine(VenueMachine):
    profile = venue_profiles.STOPPING


class SettlingMachine(VenueMachine):
    profile = venue_profiles.SETTLING


_SETTINGS = settings(
    max_examples=25 * EFFORT,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

TestMixedFlow = TwinMachine.TestCase
TestAmending = AmendingMachine.TestCase
TestSelfTrading = SelfTradingMachine.TestCase
TestMixedFlow.settings = TestAmending.settings = TestSelfTrading.settings = _SETTINGS

TestVenue = VenueMachine.TestCase
TestVenueStopping = StoppingMachine.TestCase
TestVenueSettling = SettlingMachine.TestCase
TestVenue.settings = settings(_SETTINGS, max_examples=12 * EFFORT)
TestVenueStopping.settings = TestVenueSettling.settings = TestVenue.settings


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("seed", range(8 * EFFORT))
def test_engine_and_twin_say_the_same_over_a_long_run(profile: str, seed: int) -> None:
    pair = Pair()
    for entry in random_entries(seed, 250, PROFILES[profile]):
        pair.apply(entry)
        pair.check()
    pair.sweep()


@pytest.mark.parametrize("profile", VENUE_PROFILES)
@pytest.mark.parametrize("seed", range(4 * EFFORT))
def test_engine_and_twin_say_the_same_of_a_whole_venue(profile: str, seed: int) -> None:
    pair = Pair(venue_market.GENESIS)
    for entry in venue_flow.random_entries(seed, 200, VENUE_PROFILES[profile]):
        pair.apply(entry)
        pair.check()
    pair.call_and_sweep()


@pytest.mark.parametrize("engine_version", [2, ENGINE_VERSION])
@pytest.mark.parametrize("profile", ["stopping", "linking", "everything", "uncrossing", "ending"])
def test_they_do_where_entries_ask_for_more_than_there_is_room_for(
    profile: str, engine_version: int
) -> None:
    narrow = venue_market.LIMITS._replace(
        fills_max=2, triggers_max=1, auction_page=1, expiries_page=1, cancel_page=1, pegs_page=1
    )
    spent = 0
    for seed in range(2 * EFFORT):
        choose, flow = seeded(seed), venue_flow.Flow(VENUE_PROFILES[profile])
        pair = Pair(venue_market.GENESIS._replace(limits=narrow))
        for entry in venue_market.first_entries(engine_version):
            flow.learn(pair.apply(entry))
        assert pair.engine.engine_version == engine_version
        for index in range(len(venue_market.FIRST_ENTRIES) + 1, 80):
            requests = tuple(flow.request(choose) for _ in range(15))
            flow.learn(pair.apply(Entry(index, flow.advance(choose), requests)))
            pair.check()
            spent += pair.engine.agenda.room.is_spent()
        pair.call_and_sweep()
    assert spent


@pytest.mark.parametrize(("before", "after"), [(1, 2), (1, 3), (2, 3), (1, 4), (2, 4), (3, 4)])
@pytest.mark.parametrize("profile", VENUE_PROFILES)
def test_a_venue_may_be_upgraded_in_the_midst_of_its_trading(
    profile: str, before: int, after: int
) -> None:
    genesis = venue_market.OLD_GENESIS if before == 1 else venue_market.GENESIS
    for seed in range(EFFORT):
        pair = Pair(genesis)
        flow = venue_flow.Flow(VENUE_PROFILES[profile])
        upgrades = {10: before, 50: after} if before == 3 else {50: after}
        venue_flow.entries_of(seeded(seed), flow, 120, pair, upgrades=upgrades)
        pair.check()
        assert pair.twin.version == after
        pair.call_and_sweep()


@pytest.mark.skipif(KIND == "compiled", reason="a compiled core has its constants built in")
@pytest.mark.parametrize("near_max", [2, 3, 4])
def test_deep_ladders_behave_like_shallow_ones(
    near_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best levels stand apart from the rest; with so few near ones both parts are at work."""
    monkeypatch.setattr(keys, "_NEAR_MAX", near_max)
    for seed in range(100, 100 + 6 * EFFORT):
        pair = Pair()
        for entry in random_entries(seed, 150):
            pair.apply(entry)
            pair.check()
        pair.sweep()


@pytest.mark.skipif(KIND == "compiled", reason="a compiled core has its constants built in")
@pytest.mark.parametrize("size", [1, 2])
def test_auctions_are_the_same_in_blocks_of_any_size(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks so small that even a book of few levels has several."""
    monkeypatch.setattr(call, "_BLOCK_MIN", 1)
    monkeypatch.setattr(call, "_BLOCK_MAX", size)
    for seed in range(100, 100 + 6 * EFFORT):
        pair = Pair(venue_market.GENESIS)
        flow = venue_flow.Flow(VENUE_PROFILES["uncrossing"])
        venue_flow.entries_of(seeded(seed), flow, 120, pair)
        pair.check()
        pair.call_and_sweep()


@pytest.mark.parametrize("seed", range(3))
def test_a_market_goes_over_to_a_newer_engine_version_with_all_that_is_in_it(seed: int) -> None:
    pair = Pair()
    entries = random_entries(seed, 80)
    for entry in entries[:40]:
        pair.apply(entry)
    at = entries[40]
    assert pair.engine.engine_version == 1
    (told,) = pair.apply(Entry(at.index, at.time_ns, (venue_market.SWITCH,)))
    assert told[4] == [(ENGINE_VERSION_SET, 0, ENGINE_VERSION)]
    for entry in entries[41:]:
        pair.apply(entry)
        pair.check()
    assert pair.engine.engine_version == ENGINE_VERSION
