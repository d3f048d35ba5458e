"""What the collector of a node looks at: the little that is young, and all of it now and then."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from raftbook import node_memory
from raftbook.node_memory import Memory


class Knot:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """The process's collector as it was, and still while a test runs."""
    gc.collect()
    gc.disable()
    yield
    gc.unfreeze()
    gc.enable()


def plenty() -> list[list[int]]:
    """More objects than a look leaves alone."""
    return [[number] for number in range(2 * node_memory.YOUNG_MAX)]


def memory(*, is_leader: bool = False) -> Memory:
    """One that looks at everything from second 100 on, and looked at what is young in second 9."""
    made = Memory(lambda: not is_leader)
    made._full_at, made._looked_at = 100.0, 9.0
    return made


def test_what_is_made_in_plenty_is_not_looked_at_until_everything_is() -> None:
    watch = memory()
    knot, kept = weakref.ref(Knot()), plenty()
    watch.look(9.5)
    gc.collect()
    assert knot() is not None
    watch.look(100.0)
    assert knot() is None
    assert len(kept) > node_memory.YOUNG_MAX


def test_a_quiet_node_looks_at_what_is_young() -> None:
    watch = memory()
    knot, kept = weakref.ref(Knot()), plenty()
    watch.look(11.0)
    assert knot() is None
    assert len(kept) > node_memory.YOUNG_MAX


def test_a_leader_puts_off_the_look_at_everything_but_not_for_ever() -> None:
    watch = memory(is_leader=True)
    knot, kept = weakref.ref(Knot()), plenty()
    watch.look(9.5)
    watch.look(100.0 + node_memory.PUT_OFF_MAX_S - 1)
    assert knot() is not None
    watch.look(100.0 + node_memory.PUT_OFF_MAX_S)
    assert knot() is None
    assert len(kept) > node_memory.YOUNG_MAX
