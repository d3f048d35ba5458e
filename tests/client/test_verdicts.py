"""What a question ends with that a node refused: never, or not now."""

from __future__ import annotations

from raftbook.client.flow import Flow
from raftbook.client.operation import Operation
from raftbook.client.rejects import Refused
from raftbook.core.types import Reject
from raftbook.errors import NotAccepted
from raftbook.wire import client_messages as m
from tests.client.test_flow import hear, new_flow, ready, said


def asked_to_add(flow: Flow) -> Operation:
    """A question on its way to the leader."""
    flow.connect(0.0)
    ready(flow)
    return flow.query("add", {}, 0.0)


def test_a_question_that_a_node_answered_is_not_said_to_have_no_answer() -> None:
    flow = new_flow(1)
    operation = asked_to_add(flow)
    why = "node 4 is still catching up"
    now = 0.0
    while not operation.is_done:
        if said(flow):
            hear(flow, now, (m.FAILURE, operation.ref, int(Reject.NOT_READY), why))
        now = flow.wake_at
        flow.wake(now)
    assert str(operation.error) == f"add: not now: {why}"
    assert isinstance(operation.error, NotAccepted)
    assert now == 5.0


def test_what_can_never_be_done_ends_at_once_in_the_nodes_own_words() -> None:
    flow = new_flow(1)
    operation = asked_to_add(flow)
    hear(flow, 0.0, (m.FAILURE, operation.ref, int(Reject.MALFORMED), "node 5 was removed"))
    assert operation.is_done
    assert isinstance(operation.error, Refused)
    assert operation.error.reason == "node 5 was removed"
