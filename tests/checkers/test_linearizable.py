"""The linearizability checker: good windows are legal, bad ones not; it knows its limits."""

from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core.commands import Entry
from raftbook.core.events import Reply
from raftbook.core.exchange import Genesis
from raftbook.core.types import Side
from tests.broken_exchange import Wrapped
from tests.checkers.book_model import Instrument, State, act, matches
from tests.checkers.history import ACKNOWLEDGED, NOT_ACCEPTED, UNKNOWN, History, Request
from tests.checkers.linearizable import ILLEGAL, LEGAL, UNDECIDED, check_window, windows
from tests.checkers.market import TERMS, Plan, Sample, instrument_of, make_sample
from tests.checkers.witness import check_witness

BOOK = Instrument("A", 100, -100, 100)


def _order(order_id: int, side: Side, qty: int, price: int) -> tuple[object, ...]:
    return (order_id, "anna", "", "A", (int(side), 2, 1, 0, 0), qty, price)


def _request(seq: int, begin: int, end: int | None, command: object, *events: object) -> Request:
    outcome = ACKNOWLEDGED if events else UNKNOWN
    return Request("anna", "k", seq, (command,), begin, end, outcome, events=events)  # type: ignore[arg-type]


BUY = c.new_order("A", Side.BUY, 1, 5)
SELL = c.new_order("A", Side.SELL, 1, 5)
BOUGHT = (1, 1, _order(7, Side.BUY, 1, 5))
SOLD = (1, 0, _order(8, Side.SELL, 1, 5))
TRADED = (
    3, 2, 1, 5, 1, _order(7, Side.BUY, 1, 5), 1, 0, 5, _order(8, Side.SELL, 1, 5), 1, 0, 5,
)  # fmt: skip


def _findings(sample: Sample) -> list[str]:
    cut = windows(sample.history, lambda symbol: True)
    terms = {symbol: TERMS._replace(symbol=symbol) for symbol in cut}
    return [check_window(instrument_of(terms[symbol]), cut[symbol]).verdict for symbol in cut]


@pytest.mark.parametrize("seed", range(60))
def test_every_window_of_a_good_history_is_legal(seed: int) -> None:
    plan = Plan(symbols=2, requests_per_symbol=26, lanes=1 + seed % 2)
    assert _findings(make_sample(1_000 + seed, plan)) == [LEGAL, LEGAL]


def test_concurrent_requests_may_take_effect_in_either_order() -> None:
    rows = [_request(1, 0, 10, SELL, SOLD, TRADED), _request(2, 5, 15, BUY, BOUGHT)]
    assert check_window(BOOK, History(rows)).verdict == LEGAL
    rows = [_request(1, 0, 10, SELL, SOLD, TRADED), _request(2, 11, 15, BUY, BOUGHT)]
    assert check_window(BOOK, History(rows)).verdict == ILLEGAL


def test_an_unknown_outcome_explains_a_fill_but_not_before_it_was_sent() -> None:
    rows = [_request(1, 0, None, BUY), _request(2, 50, 60, SELL, SOLD, TRADED)]
    assert check_window(BOOK, History(rows)).verdict == LEGAL
    rows[0].invoked_ns = 61
    assert check_window(BOOK, History(rows)).verdict == ILLEGAL
    rows[0].invoked_ns, rows[0].outcome, rows[0].completed_ns = 0, NOT_ACCEPTED, 5
    assert check_window(BOOK, History(rows)).verdict == ILLEGAL


def test_ids_grow_in_the_order_of_acceptance() -> None:
    later = (1, 2, _order(3, Side.BUY, 1, 5))
    rows = [_request(1, 0, 10, BUY, BOUGHT), _request(2, 20, 30, BUY, later)]
    assert check_window(BOOK, History(rows)).verdict == ILLEGAL


def test_the_search_says_when_it_was_cut_short() -> None:
    (cut,) = windows(make_sample(5, Plan(symbols=1)).history, lambda symbol: True).values()
    instrument = instrument_of(TERMS._replace(symbol="W0"))
    assert check_window(instrument, cut, steps_max=5).verdict == UNDECIDED
    assert check_window(instrument, cut).verdict == LEGAL


def test_the_model_does_not_change_what_it_is_given() -> None:
    state, told = act(BOOK, State(), "anna", (BUY,))
    known = matches(state, told, (BOUGHT,))
    assert known is not None and known.ids == (7,)
    assert state.ids == (None,)
    after, told = act(BOOK, known, "anna", (SELL,))
    assert matches(after, told, (SOLD, TRADED)) is not None
    assert [line.leaves for line in known.bids] == [1]


class BlindExchange(Wrapped):
    """A broken engine: it ignores self-trade prevention, and says nothing of it."""

    def __init__(self, genesis: Genesis) -> None:
        super().__init__(genesis)
        self._modes: dict[str, int] = {}

    def apply(self, entry: Entry) -> list[Reply]:
        requests = []
        for session_id, request_seq, commands in entry.requests:
            orders = [command for command in commands if command[0] == c.NEW_ORDER]
            self._modes.update({order[7]: order[9] for order in orders if order[7]})
            plain = [(*one[:9], 0) if one in orders else one for one in commands]
            requests.append((session_id, request_seq, tuple(plain)))
        replies = self.real.apply(Entry(entry.index, entry.time_ns, tuple(requests)))
        for reply in replies:
            reply[4][:] = map(self._pretended, reply[4])
        return replies

    def _pretended(self, value: Any) -> Any:
        """The same with the mode that was asked for, wherever an order or a command stands."""
        if type(value) is not tuple:
            return value
        if len(value) == 10 and type(value[7]) is str:
            return (*value[:9], self._modes.get(value[7], 0))
        if len(value) == 7 and type(value[4]) is tuple:
            return (*value[:4], (*value[4][:4], self._modes.get(value[2], 0)), *value[5:])
        return tuple(map(self._pretended, value))


def test_it_finds_a_broken_engine_that_the_witness_believes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The witness replays the engine, so it cannot see the engine's own faults. This one can."""
    monkeypatch.setattr("tests.checkers.market.Exchange", BlindExchange)
    monkeypatch.setattr("tests.checkers.witness.Exchange", BlindExchange)
    samples = [make_sample(seed, Plan(symbols=2, troubles=False)) for seed in range(5)]
    for sample in samples:
        assert check_witness(sample.history, sample.entries, sample.genesis).ok
    assert any(ILLEGAL in _findings(sample) for sample in samples)
