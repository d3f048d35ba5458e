"""The watch over the members sees each step that must not be, and lets good ones pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from raftbook.replica.membership import Member, Membership, configured, founded, membership_payload
from tests.sim.checks import Checks, Violation
from tests.sim.member_checks import MemberChecks

FOUNDERS = (1, 2, 3)
Change = Callable[[Membership], Membership]


def journal(number: int) -> str:
    return f"{number:032x}"


def founding() -> Membership:
    members = configured(Member(each, f"n{each}", 1, 2) for each in FOUNDERS)
    return founded(members, dict.fromkeys(FOUNDERS, journal(1)))


def watch(*changes: Change) -> MemberChecks:
    """What the watch says of a log in which each membership comes of the one before."""
    checks: Any = Checks.__new__(Checks)
    checks.violation = None
    members = MemberChecks(checks, FOUNDERS)
    membership = founding()
    members.entry_committed(3, membership_payload(membership))
    for index, change in enumerate(changes, start=4):
        membership = change(membership)
        members.entry_committed(index, membership_payload(membership))
    return members


def add(node_id: int) -> Change:
    return lambda before: before.with_learner(Member(node_id, f"n{node_id}", 1, 2))


def promote(node_id: int) -> Change:
    return lambda before: before.promoted(node_id, journal(1))


def remove(node_id: int) -> Change:
    return lambda before: before.without(node_id)


def demote(node_id: int) -> Change:
    return lambda before: before.demoted(node_id)


def test_the_steps_of_raft_are_let_pass() -> None:
    members = watch(add(4), promote(4), remove(1), demote(2), promote(2))
    assert members.ids == (2, 3, 4)
    assert members.retired == (1,)
    assert members.voters_ever == {1, 2, 3, 4}
    before = members.as_of(4)
    assert before is not None and before.learner_ids == (4,)
    assert members.as_of(2) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([lambda m: m.without(1).without(2)], "more than one voter"),
        ([lambda m: replace(m.without(1), retired=())], "retired"),
        (
            [lambda m: m.with_learner(Member(4, "n4", 1, 2)).promoted(4, journal(1))],
            "been learners",
        ),
        ([lambda m: m.promoted(2, journal(2))], "more than one voter"),  # another disk, as it were
        ([remove(1), lambda m: replace(m, retired=()), add(1)], "retired"),
        ([lambda m: replace(m, founding="another")], "retired"),
    ],
)
def test_other_steps_are_found_out(changes: list[Change], message: str) -> None:
    with pytest.raises(Violation, match=message):
        watch(*changes)


def test_a_vote_for_a_node_that_is_known_to_be_removed_is_found_out() -> None:
    members = watch(remove(1))
    host: Any = SimpleNamespace(name="n2", knew_retired=members.retired)
    members.voted(host, 3)
    with pytest.raises(Violation, match="n2 votes for n1"):
        members.voted(host, 1)
