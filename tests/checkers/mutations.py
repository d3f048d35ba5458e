"""Bad histories, made from good ones by one change each: what the checkers must catch.

Owns the list of changes, and which checker can see which. The changes themselves, each with the
reason why its result is illegal, are in `wrong_answers.py` and `wrong_effects.py`.

`BOTH` are visible in what clients were told and when; the linearizability checker must reject the
window they are in. `WITNESS_ONLY` change the log, an index in a reply, or what is known of a
session: the linearizability checker believes none of these, so nothing illegal is left for it.
"""

from __future__ import annotations

import random
from typing import Final

from tests.checkers.market import Plan, make_sample
from tests.checkers.mutant import Mutant, Mutation
from tests.checkers.wrong_answers import (
    cancel_refused,
    fill_missing,
    fill_price,
    fill_quantity,
    leaves_quantity,
    order_id_twice,
    resurrected,
    swapped_replies,
)
from tests.checkers.wrong_effects import (
    effect_doubled,
    effect_lost,
    never_happened,
    not_in_log,
    other_content,
    read_order_missing,
    read_quantity,
    refused_acted,
    refused_in_log,
    reordered,
    stale_read,
    traded_before_sent,
    two_replies,
    uninvited,
    wrong_index,
)

BOTH: Final[tuple[Mutation, ...]] = (
    fill_quantity,
    fill_price,
    fill_missing,
    leaves_quantity,
    swapped_replies,
    order_id_twice,
    cancel_refused,
    resurrected,
    reordered,
    traded_before_sent,
    stale_read,
    read_quantity,
    read_order_missing,
    refused_acted,
    never_happened,
    two_replies,
    effect_lost,
    effect_doubled,
    other_content,
)
WITNESS_ONLY: Final[tuple[Mutation, ...]] = (not_in_log, wrong_index, uninvited, refused_in_log)


def mutants(
    kinds: tuple[Mutation, ...], per_kind: int, *, first_seed: int = 0
) -> list[tuple[str, Mutant]]:
    """So many of each kind, each from a sample of its own."""
    made: list[tuple[str, Mutant]] = []
    for kind in kinds:
        count, seed = 0, first_seed
        while count < per_kind:
            seed += 1
            assert seed < first_seed + 40 * per_kind, f"{kind.__name__} finds no occasion"
            rng = random.Random(f"{kind.__name__}-{seed}")
            # A gap explains itself where every outcome is known.
            sample = make_sample(seed, Plan(symbols=2, requests_per_symbol=24,
                                            troubles=bool(seed % 2)))  # fmt: skip
            mutant = kind(sample, rng)
            if mutant is not None:
                made.append((kind.__name__, mutant))
                count += 1
    return made
