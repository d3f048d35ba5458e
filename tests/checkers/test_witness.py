"""The witness checker lets good histories pass, and names what is wrong in bad ones."""

from pathlib import Path

import pytest

from raftbook.core import commands as c
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import Side
from tests.broken_exchange import Forgetful
from tests.checkers.history import ACKNOWLEDGED, NOT_ACCEPTED, UNKNOWN, History, Request, merged
from tests.checkers.market import Plan, make_sample
from tests.checkers.witness import check_witness

TERMS = InstrumentTerms("A", "oil", "eur", "1", "1", 10, -10, 10)
GENESIS = Genesis((TERMS,), (("anna", False), ("ben", False)))
OPENING = (
    (c.NO_SESSION, 0, (c.open_session("anna", "k"),)),
    (c.NO_SESSION, 0, (c.open_session("ben", "k"),)),
)
BUY = c.new_order("A", Side.BUY, 2, 5)
SELL = c.new_order("A", Side.SELL, 2, 5)


def _small() -> tuple[History, list[Entry]]:
    """Anna's bid, then Ben's offer that meets it; both were acknowledged, one after the other."""
    entries = [
        Entry(2, 0, OPENING),
        Entry(3, 0, ((1, 1, (BUY,)),)),
        Entry(5, 0, ((2, 1, (SELL,)),)),
    ]
    exchange = Exchange(GENESIS)
    exchange.apply(entries[0])
    history = History()
    for account, entry, begin in (("anna", entries[1], 10), ("ben", entries[2], 30)):
        ((session_id, seq, index, offset, events, _),) = exchange.apply(entry)
        told = tuple(
            event
            if event[0] != 3
            else (*event[:5], (event[5][0], "", "", *event[5][3:]), *event[6:])
            for event in events
        )
        commands = entry.requests[0][2]
        history.requests.append(
            Request(account, "k", seq, tuple(commands), begin, begin + 10, ACKNOWLEDGED,
                    session_id, 1, index, offset, told)
        )  # fmt: skip
    return history, entries


def _rules(history: History, entries: list[Entry]) -> list[str]:
    return [rule for rule, _ in check_witness(history, entries, GENESIS).violations]


@pytest.mark.parametrize("seed", range(60))
def test_a_good_history_passes(seed: int) -> None:
    sample = make_sample(seed)
    verdict = check_witness(sample.history, sample.entries, sample.genesis)
    assert verdict.violations == []
    assert verdict.acknowledged > 80 and verdict.reads > 3


def test_the_samples_hold_everything_a_run_can_bring() -> None:
    outcomes: set[str] = set()
    kinds: set[int] = set()
    repeats = gathered = 0
    for seed in range(60):
        sample = make_sample(seed)
        rows = sample.history.requests
        outcomes |= {row.outcome for row in rows}
        kinds |= {event[0] for row in rows for event in row.events}
        repeats += sum(row.poss_dup for row in rows)
        gathered += sum(len(entry.requests) > 1 for entry in sample.entries)
    assert outcomes == {ACKNOWLEDGED, NOT_ACCEPTED, UNKNOWN}
    assert kinds == {1, 2, 3, 4, 5, 6, 7, 8, 9}
    assert repeats > 100 and gathered > 100


def test_a_history_survives_its_file(tmp_path: Path) -> None:
    history = make_sample(1).history
    history.save(tmp_path / "history.jsonl")
    assert History.load(tmp_path / "history.jsonl") == history


def test_each_rule_is_broken_by_the_smallest_example() -> None:
    history, entries = _small()
    assert _rules(history, entries) == []
    history, entries = _small()
    assert _rules(history, entries[:2]) == ["lost"]
    history, entries = _small()
    history.requests[0].entry_index = 4
    assert _rules(history, entries) == ["place"]
    history, entries = _small()
    history.requests[0].events = (*history.requests[0].events, (8, 0, 1, ()))
    assert _rules(history, entries) == ["reply"]
    history, entries = _small()
    assert _rules(history, [*entries, Entry(6, 0, ((1, 2, (BUY,)),))]) == ["uninvited"]
    history, entries = _small()
    history.requests[1].outcome = NOT_ACCEPTED
    assert _rules(history, entries) == ["refused acted"]
    history, entries = _small()
    history.requests[0].commands = (SELL,)
    assert _rules(history, entries) == ["content"]
    history, entries = _small()
    history.requests[0].invoked_ns, history.requests[0].completed_ns = 50, 60
    assert _rules(history, entries) == ["real time"]


def test_a_request_that_a_broken_exchange_applies_twice_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history, entries = _small()
    entries.append(Entry(6, 0, entries[1].requests))
    assert _rules(history, entries) == []  # repeated in the log, applied once

    monkeypatch.setattr("tests.checkers.witness.Exchange", Forgetful)
    assert "doubled" in _rules(history, entries)


def test_an_unknown_outcome_may_stand_in_the_log_or_not_but_not_too_early() -> None:
    history, entries = _small()
    history.requests[0].outcome, history.requests[0].completed_ns = UNKNOWN, None
    history.requests[0].events = ()
    assert _rules(history, entries) == []
    history.requests[0].invoked_ns = 41  # after Ben had traded with it
    assert _rules(history, entries) == ["real time"]


def test_a_refused_attempt_does_not_begin_the_request_that_came_after_it() -> None:
    rows = [
        Request("anna", "k", 1, (BUY,), 10, 20, NOT_ACCEPTED),
        Request("anna", "k", 1, (BUY,), 30, 40, ACKNOWLEDGED),
    ]
    (row,), problems = merged(rows)
    assert (row.invoked_ns, row.completed_ns, row.outcome) == (30, 40, ACKNOWLEDGED)
    assert problems == []


def test_a_refused_attempt_beside_an_unknown_one_leaves_it_unknown() -> None:
    rows = [
        Request("anna", "k", 1, (BUY,), 10),
        Request("anna", "k", 1, (BUY,), 30, 40, NOT_ACCEPTED),
    ]
    (row,), _ = merged(rows)
    assert (row.invoked_ns, row.completed_ns, row.outcome) == (10, None, UNKNOWN)


def test_a_long_history_is_checked_whole() -> None:
    sample = make_sample(3, Plan(symbols=1, requests_per_symbol=5_000, reads=False))
    verdict = check_witness(sample.history, sample.entries, sample.genesis)
    assert verdict.ok and verdict.requests == 5_000
