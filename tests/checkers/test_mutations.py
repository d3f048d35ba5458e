"""The checkers are tested too: of a thousand bad histories at most one in a hundred may pass."""

from collections import Counter

from tests.checkers.linearizable import ILLEGAL, LEGAL, UNDECIDED, check_window, windows
from tests.checkers.market import TERMS, instrument_of
from tests.checkers.mutant import Mutant
from tests.checkers.mutations import BOTH, WITNESS_ONLY, mutants
from tests.checkers.witness import check_witness

PER_KIND = 44
KINDS = len(BOTH) + len(WITNESS_ONLY)


def _search(mutant: Mutant) -> str:
    history = windows(mutant.sample.history, lambda symbol: symbol == mutant.symbol)
    instrument = instrument_of(TERMS._replace(symbol=mutant.symbol))
    return check_window(instrument, history[mutant.symbol]).verdict


def test_a_thousand_bad_histories_are_rejected() -> None:
    witnessed: Counter[str] = Counter()
    searched: Counter[str] = Counter()
    missed: list[str] = []
    made = [*mutants(BOTH, PER_KIND), *mutants(WITNESS_ONLY, PER_KIND)]
    visible = {kind.__name__ for kind in BOTH}
    for kind, mutant in made:
        sample = mutant.sample
        is_witnessed = not check_witness(sample.history, sample.entries, sample.genesis).ok
        witnessed[kind] += is_witnessed
        if not is_witnessed:
            missed.append(f"witness: {kind}: {mutant.why}")
        if kind in visible:
            verdict = _search(mutant)
            searched[verdict] += 1
            if verdict == LEGAL:
                missed.append(f"linearizability: {kind}: {mutant.why}")
    assert len(made) == KINDS * PER_KIND >= 1_000
    assert set(witnessed) == {kind for kind, _ in made}
    assert witnessed.total() >= 0.99 * len(made), missed
    in_scope = len(BOTH) * PER_KIND
    assert searched[ILLEGAL] >= 0.99 * in_scope, (searched, missed)
    assert searched[UNDECIDED] <= 0.01 * in_scope, searched
