"""When a cluster goes over to newer rules, and where a node that is too old stops.

Owns what is known of the members' engine versions, and the switch that follows from it. Must not
know what an engine version changes: see `core/versions.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from raftbook import __version__
from raftbook.core.versions import ENGINE_VERSION, EngineTooOld, refuse_engine_version
from raftbook.storage.snapshot_header import SnapshotHeader
from raftbook.wire.entry import UnsupportedVersion, pack_engine_switch

_log = logging.getLogger(__name__)

UNKNOWN: Final = 0
"""The engine version of a member that has not told it, or is not connected now."""


class EngineVersions:
    """What this node and its peers can run. A peer tells it in the handshake of a connection, and
    may come back as another build, so it is known only as long as that connection stands.
    """

    def __init__(self) -> None:
        self._known: dict[int, int] = {}
        self._proposed = (0, 0)

    def learn(self, peer_id: int, engine_version: int) -> None:
        """A peer is connected and has said what it can run."""
        self._known[peer_id] = engine_version

    def forget(self, peer_id: int) -> None:
        """The connection is gone."""
        self._known.pop(peer_id, None)

    def common(self, peer_ids: Iterable[int]) -> int:
        """The newest that this node and all of these have; UNKNOWN if it is not known of one."""
        known = self._known
        return min((known.get(peer_id, UNKNOWN) for peer_id in peer_ids), default=ENGINE_VERSION)

    def next_switch(
        self, peer_ids: Iterable[int], *, in_force: int, term: int, wall_ns: Callable[[], int]
    ) -> bytes | None:
        """The entry by which a leader should put newer rules in force now, once in a term.

        Args:
            peer_ids: every other member, whether it votes or not: who is left out would stop.
            in_force: the engine version of the leader's state.
        """
        if in_force >= ENGINE_VERSION:
            return None  # as in almost every turn
        wanted = min(self.common(peer_ids), ENGINE_VERSION)
        if wanted <= in_force or self._proposed == (term, wanted):
            return None
        self._proposed = (term, wanted)
        _log.info("every member has engine version %d: it is proposed", wanted)
        return pack_engine_switch(wall_ns(), wanted, __version__, in_force=in_force)


def check_engine(header: SnapshotHeader) -> None:
    """Refuse a snapshot before anything of it is taken.

    Raises:
        UnsupportedVersion: this build does not have the rules that are in force in it.
    """
    try:
        what = f"snapshot {header.index}"
        refuse_engine_version(header.engine_version, header.created_by, what=what)
    except EngineTooOld as error:
        raise UnsupportedVersion(str(error)) from error
