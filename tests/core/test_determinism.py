"""The same entries give the same exchange: in another process, gathered otherwise, restored."""

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from raftbook.core import commands as c
from raftbook.core.commands import Entry
from raftbook.core.events import Reply
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.invariants import check
from raftbook.core.snapshot import export_state, restore_state, state_digest
from raftbook.core.types import SelfTradePrevention as Prevention
from raftbook.core.types import Side, TimeInForce
from tests.core import venue_flow, venue_market
from tests.core.flow import GENESIS, OPENING, PROFILES, random_entries, seeded
from tests.core.venue_profiles import PROFILES as VENUE_PROFILES

ROOT = Path(__file__).parents[2]


def fingerprint(seed: int) -> str:
    """Everything a run leaves behind, in one line."""
    found = []
    for genesis, entries in (
        (GENESIS, random_entries(seed, 300)),
        (venue_market.GENESIS, venue_flow.random_entries(seed, 300)),
    ):
        exchange = Exchange(genesis)
        told = [exchange.apply(entry) for entry in entries]
        replies = hashlib.sha256(repr(told).encode()).hexdigest()
        found.append(f"{exchange.digest.value()} {state_digest(exchange)} {replies}")
    return " ".join(found)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"},
        {"PYTHONHASHSEED": "1", "TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8"},
        {"PYTHONHASHSEED": "4242", "TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8"},
        {"PYTHONHASHSEED": "random", "PYTHONOPTIMIZE": "1", "PYTHONUTF8": "0"},
    ],
    ids=lambda environment: environment["PYTHONHASHSEED"],
)
def test_another_process_comes_to_the_same_state(environment: dict[str, str]) -> None:
    script = "from tests.core.test_determinism import fingerprint; print(fingerprint(7))"
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == fingerprint(7)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("gathered", [1, 2, 7, 50, 10_000])
def test_gathering_requests_into_other_entries_changes_nothing(profile: str, gathered: int) -> None:
    entries = random_entries(11, 150, PROFILES[profile])
    requests = [request for entry in entries for request in entry.requests]

    def run(size: int) -> tuple[str, str, list[tuple[object, ...]]]:
        exchange = Exchange(GENESIS)
        told: list[Reply] = []
        for number, start in enumerate(range(0, len(requests), size)):
            entry = Entry(number + 1, 10**18 + number, tuple(requests[start : start + size]))
            told += exchange.apply(entry)
        said = [(reply[0], reply[1], reply[4], reply[5]) for reply in told]
        return exchange.digest.value(), state_digest(exchange), said

    assert run(gathered) == run(3)


@pytest.mark.parametrize("profile", VENUE_PROFILES)
@pytest.mark.parametrize("gathered", [1, 2, 7, 50, 10_000])
def test_gathering_changes_nothing_where_no_bound_of_an_entry_is_reached(
    profile: str, gathered: int
) -> None:
    """Pages go on with the next entry, wherever it begins: here nothing needs a second page."""
    wide = venue_market.LIMITS._replace(triggers_max=100, cancel_page=100, expiries_page=100)
    wide = wide._replace(pegs_page=10_000, auction_page=1_000, fills_max=100_000)
    genesis = venue_market.GENESIS._replace(limits=wide)
    flow = venue_flow.Flow(VENUE_PROFILES[profile])
    entries = venue_flow.entries_of(seeded(11), flow, 150, Exchange(genesis))
    first = len(venue_market.FIRST_ENTRIES)
    requests = [request for entry in entries[first:] for request in entry.requests]

    def run(size: int) -> tuple[str, str, list[tuple[object, ...]]]:
        exchange = Exchange(genesis)
        for entry in entries[:first]:
            exchange.apply(entry)
        told: list[Reply] = []
        for number, start in enumerate(range(0, len(requests), size)):
            here = tuple(requests[start : start + size])
            told += exchange.apply(Entry(number + first + 1, venue_market.START_NS, here))
        said = [(reply[0], reply[1], reply[4], reply[5]) for reply in told]
        return exchange.digest.value(), state_digest(exchange), said

    assert run(gathered) == run(3)


def test_the_clock_is_in_no_digest() -> None:
    entries = random_entries(3, 100)
    here, later = Exchange(GENESIS), Exchange(GENESIS)
    for number, entry in enumerate(entries):
        here.apply(Entry(number + 1, 10**18, entry.requests))
        later.apply(Entry(2 * number + 9, 10**18 + 5 + number, entry.requests))
    assert here.digest.value() == later.digest.value()
    assert state_digest(here) == state_digest(later)


def test_asking_for_the_digest_changes_nothing() -> None:
    asked, unasked = Exchange(GENESIS), Exchange(GENESIS)
    for entry in random_entries(5, 100):
        assert asked.apply(entry) == unasked.apply(entry)
        asked.digest.value()
        state_digest(asked)
        export_state(asked)
    assert asked.digest.value() == unasked.digest.value()


@pytest.mark.parametrize(
    "other",
    [
        c.new_order("B", Side.BUY, 3, 1, client_order_id="x"),
        c.new_order("A", Side.SELL, 3, 1, client_order_id="x"),
        c.new_order("A", Side.BUY, 2, 1, client_order_id="x"),
        c.new_order("A", Side.BUY, 3, 2, client_order_id="x"),
        c.new_order("A", Side.BUY, 3, 1, client_order_id="y"),
        c.new_order("A", Side.BUY, 3, 1, client_order_id="x", post_only=True),
        c.new_order(
            "A", Side.BUY, 3, 1, client_order_id="x", self_trade_prevention=Prevention.DECREMENT
        ),
        c.new_order("A", Side.BUY, 3, 1, client_order_id="x", time_in_force=TimeInForce.IOC),
        c.new_order("Z", Side.BUY, 3, 1, client_order_id="x"),
    ],
    ids=str,
)
@pytest.mark.parametrize("session_id", [2, 4])
def test_every_field_of_an_order_is_in_the_digest(other: c.Command, session_id: int) -> None:
    order = c.new_order("A", Side.BUY, 3, 1, client_order_id="x")

    def digest(session_id: int, command: c.Command) -> str:
        exchange = Exchange(GENESIS)
        exchange.apply(Entry(1, 10**18, (*OPENING, (session_id, 1, (command,)))))
        return exchange.digest.value()

    assert digest(2, other) != digest(2, order)
    assert (digest(session_id, order) == digest(2, order)) == (session_id == 2)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_snapshot_at_every_index_goes_on_as_if_nothing_had_happened(profile: str) -> None:
    go_on_from_every_index(GENESIS, random_entries(23, 70, PROFILES[profile]))


@pytest.mark.parametrize("profile", VENUE_PROFILES)
def test_so_does_a_snapshot_of_a_whole_venue(profile: str) -> None:
    entries = venue_flow.random_entries(23, 70, VENUE_PROFILES[profile])
    go_on_from_every_index(venue_market.GENESIS, entries)


def go_on_from_every_index(genesis: Genesis, entries: list[Entry]) -> None:
    original = Exchange(genesis)
    told, values = [], []
    for entry in entries:
        told.append(original.apply(entry))
        values.append(export_state(original))
    for position, value in enumerate(values):
        # Through text, so that nothing of the original can be shared.
        restored = restore_state(genesis, ast.literal_eval(repr(value)))
        check(restored)
        assert export_state(restored) == value, f"after entry {entries[position].index}"
        for entry, expected in zip(entries[position + 1 :], told[position + 1 :], strict=True):
            assert restored.apply(entry) == expected, f"restored at {position}, {entry}"
        assert restored.digest.value() == original.digest.value()
        assert state_digest(restored) == state_digest(original)
        assert export_state(restored) == export_state(original)
        assert restored.now_ns == original.now_ns


@pytest.mark.parametrize("is_venue", [False, True])
def test_a_snapshot_does_not_change_when_the_exchange_goes_on(is_venue: bool) -> None:
    entries = venue_flow.random_entries(29, 60) if is_venue else random_entries(29, 60)
    exchange = Exchange(venue_market.GENESIS if is_venue else GENESIS)
    for entry in entries[:30]:
        exchange.apply(entry)
    value = export_state(exchange)
    written = repr(value)
    for entry in entries[30:]:
        exchange.apply(entry)
    assert repr(value) == written


def test_a_snapshot_is_plain_values_only() -> None:
    def leaves(value: object) -> set[type]:
        if type(value) is tuple:
            return set().union(*(leaves(item) for item in value))
        return {type(value)}

    for genesis, entries in (
        (GENESIS, random_entries(31, 150, PROFILES["self_trading"])),
        (venue_market.GENESIS, venue_flow.random_entries(31, 150)),
    ):
        exchange = Exchange(genesis)
        for entry in entries:
            exchange.apply(entry)
        assert leaves(export_state(exchange)) <= {int, str, bytes, type(None)}


def test_what_time_brings_about_is_in_the_digest_though_no_time_is() -> None:
    order = c.place_order(
        "A",
        Side.BUY,
        1,
        0,
        time_in_force=TimeInForce.GTD,
        expire_time_ns=venue_market.START_NS + 10,
    )

    def digest(at_ns: int) -> str:
        exchange = Exchange(venue_market.GENESIS)
        entries = (
            *venue_market.FIRST_ENTRIES,
            Entry(4, venue_market.START_NS, ((2, 1, (order,)),)),
        )
        for entry in entries:
            exchange.apply(entry)
        exchange.apply(Entry(5, venue_market.START_NS + at_ns, ()))
        return exchange.digest.value()

    assert digest(0) == digest(9) != digest(10) == digest(11)
