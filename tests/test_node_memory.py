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


def test_what_was_made_in_plenty_is_not_looked_at_until_everything_is() -> None:
    memory = Memory(lambda: True)
    memory._full_at = 10.0
    knot = weakref.ref(Knot())
    plenty = [[number] for number in range(2 * node_memory.YOUNG_MAX)]
    memory.look(9.0)
    gc.collect()
    assert knot() is not None
    memory.look(10.0)
    assert knot() is None
    assert len(plenty) == 2 * node_memory.YOUNG_MAX


def test_a_quiet_node_collects_as_ever() -> None:
    memory = Memory(lambda: True)
    memory._full_at = 10.0
    gc.collect()
    knot = weakref.ref(Knot())
    memory.look(9.0)
    gc.collect()
    assert knot() is None


def test_everything_is_looked_at_only_when_that_disturbs_nobody() -> None:
    is_leader = True
    memory = Memory(lambda: not is_leader)
    memory._full_at = 10.0
    knot = weakref.ref(Knot())
    memory.look(11.0)
    assert knot() is not None
    is_leader = False
    memory.look(11.1)
    assert knot() is None
