"""The exchange and its stupid twin are told the same and must say the same, for ever.

Every step of the machine is one entry; whole replies are compared, then the invariants of the
exchange and of a ledger that reads nothing but replies. HYPOTHESIS_PROFILE=long runs it longer.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from raftbook.core import keys
from raftbook.core.build import KIND
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange
from tests.core.flow import (
    AMENDING,
    EFFORT,
    GENESIS,
    MIXED,
    OPENING,
    PROFILES,
    SELF_TRADING,
    Flow,
    Profile,
    advance,
    random_entries,
)
from tests.core.pair import Pair


class TwinMachine(RuleBasedStateMachine):
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
        def choose(options: Any) -> Any:
            return data.draw(st.sampled_from(options))

        self.time_ns += advance(choose)
        count = choose((1, 2, 3, 4))
        self._apply(tuple(self.flow.request(choose) for _ in range(count)))

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


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("seed", range(8 * EFFORT))
def test_engine_and_twin_say_the_same_over_a_long_run(profile: str, seed: int) -> None:
    pair = Pair()
    for entry in random_entries(seed, 250, PROFILES[profile]):
        pair.apply(entry)
        pair.check()
    pair.sweep()


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


def test_the_long_runs_reach_what_they_are_for() -> None:
    """A generator that always bounces off the same refusal tests nothing: count what happens."""
    told: dict[tuple[int, int], int] = {}
    for profile in PROFILES.values():
        for seed in range(8):
            exchange = Exchange(GENESIS)
            for entry in random_entries(seed, 250, profile):
                for reply in exchange.apply(entry):
                    for event in reply[4]:
                        reason = event[2] if event[0] in (8, 9) else 0
                        told[event[0], reason] = told.get((event[0], reason), 0) + 1
    kinds = {kind for kind, _ in told}
    assert kinds == set(range(1, 14)), "some event never happens"
    reasons_of_new = {reason for kind, reason in told if kind == 8}
    assert reasons_of_new >= {
        1,
        2,
        3,
        4,
        5,
        8,
        9,
        10,
        11,
        12,
        18,
        19,
        20,
        21,
        25,
        39,
        41,
        46,
        47,
        48,
    }
    reasons_of_change = {reason for kind, reason in told if kind == 9}
    assert reasons_of_change >= {3, 4, 8, 9, 12, 15, 16, 18, 19, 25, 34, 35, 37, 48}
