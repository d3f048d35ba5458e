"""Who belongs to the cluster: a value that is replicated like everything else.

Owns members, their roles, the steps that lead from one membership to the next, and its bytes in
the log and in snapshots. Must not know who leads, what is committed or how nodes are reached.

A member of Raft is a pair: node_id and the incarnation of its journal. A disk that is lost takes
its promises with it, so the same node_id on a new journal is another member, which has to be
taken in as any newcomer is: as a learner first. Ids of removed nodes never come back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

from raftbook.errors import ProtocolError
from raftbook.wire.packing import pack, unpack

MEMBERSHIP: Final = b"\x02"
"""First byte of a payload that is a membership: PySyncObj's own number for such entries."""
MEMBERS_MAX: Final = 9
_VERSION: Final = 1


class ChangeRefused(Exception):
    """A change of members that cannot begin now; the message says why and what to do."""


class ChangeImpossible(ChangeRefused):
    """It is refused however often it is asked for, until the members are others or it is."""


@dataclass(frozen=True, slots=True)
class Member:
    """One node of the cluster.

    Attributes:
        incarnation: of the journal that votes; "" for a learner, and before the founding.
    """

    node_id: int
    host: str = ""
    raft_port: int = 0
    client_port: int = 0
    http_port: int = 0
    is_voter: bool = True
    incarnation: str = ""

    def address(self) -> tuple[str, int, int, int]:
        """Host, raft port, client port, http port."""
        return self.host, self.raft_port, self.client_port, self.http_port


@dataclass(frozen=True, slots=True)
class Membership:
    """The members from one log entry on.

    Attributes:
        members: by node_id.
        founding: what no other founding has; "" as long as the list is only a configuration.
        retired: the ids of nodes that were removed.
        index: the log entry it stands in; 0 for one that is in no log.
    """

    members: tuple[Member, ...]
    founding: str = ""
    retired: tuple[int, ...] = ()
    index: int = 0

    @property
    def is_founded(self) -> bool:
        """Whether the log says so, not only a configuration file."""
        return self.founding != ""

    @property
    def ids(self) -> tuple[int, ...]:
        """All members."""
        return tuple([member.node_id for member in self.members])

    @property
    def voter_ids(self) -> tuple[int, ...]:
        """Those that count."""
        return tuple([member.node_id for member in self.members if member.is_voter])

    @property
    def learner_ids(self) -> tuple[int, ...]:
        """Those that only listen, until they have caught up."""
        return tuple([member.node_id for member in self.members if not member.is_voter])

    def get(self, node_id: int) -> Member | None:
        """A member by its id."""
        for member in self.members:
            if member.node_id == node_id:
                return member
        return None

    def is_majority(self, node_ids: Iterable[int]) -> bool:
        """Whether more than half of the voters are among these."""
        voters = self.voter_ids
        return 2 * len(set(node_ids) & set(voters)) > len(voters)

    # -- steps --------------------------------------------------------------------------------

    def with_learner(self, member: Member) -> Membership:
        """Take a new node in.

        Raises:
            ChangeImpossible: its id or an address of it is taken or was, or there is no room.
        """
        node_id = member.node_id
        if self.get(node_id) is not None:
            raise ChangeImpossible(f"node {node_id} is a member already")
        if node_id in self.retired:
            raise ChangeImpossible(
                f"node {node_id} was removed, and its id never comes back: take another id"
            )
        for other in self.members:
            ports = {other.raft_port, other.client_port}
            if other.host == member.host and ports & {member.raft_port, member.client_port}:
                raise ChangeImpossible(
                    f"node {other.node_id} has that address: {other.host}:{other.raft_port} for "
                    f"peers, {other.host}:{other.client_port} for clients"
                )
        if len(self.members) >= MEMBERS_MAX:
            raise ChangeImpossible(f"there are {MEMBERS_MAX} members, and no more are possible")
        learner = replace(member, is_voter=False, incarnation="")
        return self._with(*self.members, learner)

    def promoted(self, node_id: int, incarnation: str) -> Membership:
        """Let a learner count, on the journal that has caught up."""
        return self._changed(node_id, is_voter=True, incarnation=incarnation)

    def demoted(self, node_id: int) -> Membership:
        """Let a voter whose journal is gone begin again as a learner."""
        assert set(self.voter_ids) - {node_id}, "the last voter cannot be demoted"
        return self._changed(node_id, is_voter=False, incarnation="")

    def without(self, node_id: int) -> Membership:
        """Let a member go for good.

        Raises:
            ChangeImpossible: it is no member, or the last voter.
        """
        member = self.get(node_id)
        if member is None:
            was = " any more" if node_id in self.retired else ""
            raise ChangeImpossible(f"node {node_id} is no member{was}")
        if self.voter_ids == (node_id,):
            raise ChangeImpossible(f"node {node_id} is the only voter; add another node first")
        others = self._with(*(other for other in self.members if other is not member))
        return replace(others, retired=tuple(sorted({*self.retired, node_id})))

    def _changed(self, node_id: int, *, is_voter: bool, incarnation: str) -> Membership:
        member = self.get(node_id)
        assert member is not None, f"node {node_id} is no member"
        others = (other for other in self.members if other is not member)
        return self._with(*others, replace(member, is_voter=is_voter, incarnation=incarnation))

    def _with(self, *members: Member) -> Membership:
        return replace(self, members=_sorted(members), index=0)


def configured(members: Iterable[Member]) -> Membership:
    """The list of a configuration file: who shall found the cluster."""
    return Membership(_sorted(members))


def founded(configuration: Membership, incarnations: dict[int, str]) -> Membership:
    """The first membership of the log: the configured one, each node with its journal."""
    members = tuple(
        replace(member, is_voter=True, incarnation=incarnations[member.node_id])
        for member in configuration.members
    )
    text = repr([(member.node_id, member.incarnation) for member in members])
    return Membership(members, founding=blake2b(text.encode(), digest_size=16).hexdigest())


def list_digest(membership: Membership) -> str:
    """Equal for nodes whose configurations name the same nodes at the same addresses."""
    text = repr([(member.node_id, *member.address()) for member in membership.members])
    return blake2b(text.encode(), digest_size=16).hexdigest()


def differences(configuration: Membership, replicated: Membership) -> list[str]:
    """What a configuration file says otherwise than the log, in words."""
    found: list[str] = []
    for member in configuration.members:
        other = replicated.get(member.node_id)
        if other is None:
            found.append(f"the file has node {member.node_id}, the cluster has not")
        elif other.address() != member.address():
            found.append(
                f"node {member.node_id} is at {other.host}:{other.raft_port} (clients "
                f"{other.client_port}), the file says {member.host}:{member.raft_port} (clients "
                f"{member.client_port})"
            )
    for member in replicated.members:
        if configuration.get(member.node_id) is None:
            found.append(f"the cluster has node {member.node_id}, the file has not")
    return found


# -- bytes --------------------------------------------------------------------------------------


def membership_value(membership: Membership) -> tuple[Any, ...]:
    """As a value that `pack` takes."""
    members = tuple(
        (m.node_id, m.host, m.raft_port, m.client_port, m.http_port, m.is_voter, m.incarnation)
        for m in membership.members
    )
    return _VERSION, membership.founding, members, membership.retired


def read_membership(value: Any, index: int) -> Membership:
    """The membership that stands in entry `index`.

    Raises:
        ProtocolError: it is none.
    """
    try:
        version, founding, rows, retired = value
        members = tuple(Member(*row) for row in rows)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"entry {index} holds no membership: {error}") from error
    if version != _VERSION:
        raise ProtocolError(f"membership format {version}; this build reads {_VERSION}")
    membership = Membership(members, founding, tuple(retired), index)
    _check(membership)
    return membership


def membership_payload(membership: Membership) -> bytes:
    """As the payload of a log entry."""
    return MEMBERSHIP + pack(membership_value(membership))


def read_payload(payload: bytes, index: int) -> Membership:
    """The membership of an entry; see `read_membership`."""
    return read_membership(unpack(payload[1:]), index)


_TYPES: Final = (int, str, int, int, int, bool, str)


def _check(membership: Membership) -> None:
    for m in membership.members:
        fields = (*(m.node_id, *m.address()), m.is_voter, m.incarnation)
        if tuple(map(type, fields)) != _TYPES or m.node_id < 1:
            raise ProtocolError(f"{m!r:.200} is no member")
        if m.is_voter != bool(m.incarnation):
            raise ProtocolError(f"node {m.node_id}: exactly the voters have a journal")
    ids = membership.ids
    is_sound = (
        type(membership.founding) is str
        and membership.is_founded
        and ids == tuple(sorted(set(ids)))
        and membership.voter_ids
        and all(type(node_id) is int for node_id in membership.retired)
        and not set(ids) & set(membership.retired)
    )
    if not is_sound:
        raise ProtocolError(f"entry {membership.index} holds an impossible membership")


def _sorted(members: Iterable[Member]) -> tuple[Member, ...]:
    return tuple(sorted(members, key=lambda member: member.node_id))
