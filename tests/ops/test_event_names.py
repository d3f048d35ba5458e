"""Every kind of event has a name of its own."""

from raftbook.core import events
from raftbook.ops.event_names import EVENT_NAMES

KINDS = {
    value
    for name, value in vars(events).items()
    if name.isupper() and isinstance(value, int) and name != "UNASKED"
}


def test_every_kind_of_event_has_a_name() -> None:
    assert set(EVENT_NAMES) == KINDS == set(range(1, len(KINDS) + 1))
    assert len(set(EVENT_NAMES.values())) == len(KINDS)
