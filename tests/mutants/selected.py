"""Which tests know which file of the core: the quick ones, those most likely to notice first."""

from typing import Final

LEFT_OUT: Final = frozenset(("__init__.py", "build.py", "invariants.py"))
"""Nothing to change, and what is itself a test."""

_TWIN: Final = "tests/core/test_twin.py::test_engine_and_twin_say_the_same_of_a_whole_venue"
_RUN: Final = "tests/core/test_twin.py::test_engine_and_twin_say_the_same_over_a_long_run"
_MATCHING: Final = ("tests/golden/test_matching.py",)
_VENUE: Final = tuple(
    f"{_TWIN}[{seed}-{profile}]"
    for seed in (0,)
    for profile in (
        *("everything", "settling", "slicing", "calling", "uncrossing"),
        *("pegging", "stopping", "ending", "listing", "linking"),
    )
)
_LONG: Final = tuple(f"{_RUN}[0-{profile}]" for profile in ("mixed", "amending", "self_trading"))
_SNAPSHOT: Final = "tests/core/test_determinism.py::test_so_does_a_snapshot_of_a_whole_venue"
_STATE: Final = (
    *(
        f"{_SNAPSHOT}[{profile}]"
        for profile in ("ending", "listing", "everything", "pegging", "linking")
    ),
    "tests/core/test_determinism.py::test_a_snapshot_is_plain_values_only",
    "tests/core/test_determinism.py::test_what_time_brings_about_is_in_the_digest_though_no_time_is",
    "tests/core/test_call.py::test_in_pages_it_does_what_it_does_at_once[A-1]",
    "tests/golden/test_journals.py::test_the_log_leads_to_the_same_state",
)
_EDGES: Final = tuple(
    f"tests/core/test_{each}.py"
    for each in ("venue_edges", "corners", "looks", "room", "linked", "lapses", "terms")
)
_ALL: Final = (*_MATCHING, *_LONG, *_VENUE, *_EDGES)
_FIRST: Final[dict[str, tuple[str, ...]]] = {
    "auction.py": ("tests/core/test_auction.py",),
    "call.py": ("tests/core/test_call.py",),
    "candles.py": (
        "tests/core/test_candles.py",
        "tests/gateway/test_venue_queries.py",
        "tests/core/test_overflow.py",
    ),
    "chores.py": ("tests/core/test_call.py",),
    "commands.py": ("tests/wire/test_golden_bytes.py",),
    "digest.py": ("tests/golden/test_journals.py::test_the_log_leads_to_the_same_state",),
    "events.py": ("tests/wire/test_golden_bytes.py",),
    "form.py": ("tests/core/test_totality.py", "tests/wire/test_golden_bytes.py"),
    "hidden.py": ("tests/core/test_hidden.py",),
    "instrument.py": ("tests/test_config_market.py", "tests/client/test_values.py"),
    "keys.py": (
        "tests/core/test_keys.py",
        "tests/core/test_twin.py::test_deep_ladders_behave_like_shallow_ones[2]",
    ),
    "ladder.py": ("tests/core/test_keys.py", "tests/gateway/test_refresh.py"),
    "ledger.py": ("tests/core/test_overflow.py",),
    "limits.py": ("tests/test_config_market.py",),
    "pegs.py": ("tests/core/test_pegs.py",),
    "sessions.py": ("tests/core/test_sessions.py",),
    "trailing.py": ("tests/core/test_trailing.py",),
    "types.py": ("tests/wire/test_golden_bytes.py",),
    "versions.py": (
        "tests/golden/test_journals.py::test_there_is_one_of_this_engine_version",
        "tests/replica/test_upgrade.py",
    ),
    "walks.py": tuple(
        f"tests/core/test_dry_run.py::{test}"
        for test in (
            "test_fill_or_kill_fills_exactly_when_trading_would_fill",
            "test_a_minimum_is_met_exactly_when_trading_would_meet_it",
            "test_a_quote_amount_buys_and_sells_exactly_the_lots_it_became",
        )
    ),
}
_AFTER: Final[dict[str, tuple[str, ...]]] = {
    "snapshot.py": _STATE,
    "snapshot_parts.py": _STATE,
}


def tests_of(file: str) -> list[str]:
    """Arguments of pytest for the tests of one file of the core, in their order."""
    return [*_FIRST.get(file, ()), *_AFTER.get(file, _ALL)]


def all_tests() -> list[str]:
    """What is run for some file, each once."""
    tests = dict.fromkeys(_ALL)
    for some in (*_FIRST.values(), *_AFTER.values()):
        tests |= dict.fromkeys(some)
    return [*tests]
