"""Whether this node's state is the majority's: the continuous comparison behind P4.

Owns the rule, which no single wrong node can turn against the others, leader or not:

    1. About once a second with traffic the leader puts a *check* into the log. Every node that
       applies it tells its leader the rolling digest it has there: at the same index, so equal.
    2. The next check carries what was told. It is an entry: every node judges the same numbers.
    3. A node fences itself when more than half of all members told one digest, and it has another
       at that index. Nothing else fences for a digest, so those who agree are never fenced: a
       leader whose book is wrong reports the others' digests and fences itself on reading them.

Without such a majority nobody can know who is wrong: every node says so and goes on. A new leader
begins anew: a digest is a hash over all that was ever said, so two that differ once differ for
ever, and no comparison is lost by waiting. Knows no sockets, no log and no exchange.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from typing import Final

from raftbook.errors import ProtocolError
from raftbook.replica.fences import Diverged
from raftbook.replica.reports import Reports
from raftbook.wire.entry import pack_check, unpack_check

POINTS_KEPT: Final = 16
"""Checks whose own digest is remembered: a verdict comes with the next one or two."""


class Agreement:
    """The comparison as one node takes part in it.

    Attributes:
        agreed_index: the last entry after which this node is known to have the majority's state.

    Args:
        members: the ids of all members now, this node's among them.
        digest_at: the rolling digest after an entry, None where it is not kept.
        judged_from: checks before this index are history: this node's own log held them when it
            started, and what differed then was judged then.
        interval_s: between two checks.
    """

    def __init__(
        self,
        node_id: int,
        *,
        members: Callable[[], Collection[int]],
        digest_at: Callable[[int], str | None],
        judged_from: int,
        interval_s: float,
        reports: Reports,
    ) -> None:
        self._node_id, self._members, self._digest_at = node_id, members, digest_at
        self._judged_from, self._interval_s, self._reports = judged_from, interval_s, reports
        self.agreed_index = 0
        self._own: OrderedDict[int, str] = OrderedDict()  # own digest at the last checks
        self._point = 0  # the last check that was applied
        self._point_matters = False  # something was said between it and the one before
        self._has_news = False  # something was said since
        self._is_reported = True  # what was told about the point is in the log
        self._told: dict[int, tuple[int, str]] = {}  # by node: the last it told
        self._next_at = 0.0
        self._is_disputed = False  # no digest had a majority at the last check

    def applied_entry(self) -> None:
        """An entry that may have changed the digest was applied."""
        self._has_news = True

    def applied_check(self, index: int, payload: bytes) -> None:
        """A check was applied at `index`.

        Raises:
            Diverged: more than half of the members have another digest than this node.
        """
        self._point, self._point_matters = index, self._has_news
        self._has_news = self._is_reported = False
        digest = self._digest_at(index)
        assert digest is not None, f"no digest at {index}, which was just applied"
        self._own[index] = digest
        if len(self._own) > POINTS_KEPT:
            self._own.popitem(last=False)
        try:
            checked_index, digests = unpack_check(payload)
        except ProtocolError:
            return  # a newer leader's, or a wrong one's: nothing to compare, for nobody
        if digests and index >= self._judged_from:
            self._judge(checked_index, digests)

    def installed(self) -> None:
        """The state was replaced by a leader's: what it was before is not this node's any more."""
        self._own.clear()

    def own_word(self) -> tuple[int, str] | None:
        """(index, digest) for the leader, once after each check that was applied."""
        word = self._told.get(self._node_id)
        if word is not None and word[0] == self._point:
            return None
        if self._point not in self._own:
            return None
        self._told[self._node_id] = word = (self._point, self._own[self._point])
        return word

    def leads(self) -> None:
        """This node leads now: what was told about the last check went to another leader."""
        if self._point_matters and not self._is_reported:
            self._has_news = True

    def told(self, node_id: int, index: int, digest: str) -> None:
        """A peer tells its digest; one that is ahead of this node is remembered."""
        if node_id in self._members():
            self._told[node_id] = (index, digest)

    def next_check(self, now: float) -> bytes | None:
        """What a leader should put into the log now, or None. At most one in `interval_s`."""
        if now < self._next_at:
            return None
        members = self._members()
        if len(members) < 2:
            return None
        digests = {
            node_id: digest
            for node_id, (index, digest) in self._told.items()
            if index == self._point and node_id in members
        }
        has_word = self._point_matters and not self._is_reported and 2 * len(digests) > len(members)
        if not has_word and not self._has_news:
            return None
        self._next_at = now + self._interval_s
        self._is_reported = True
        return pack_check(self._point, digests) if has_word else pack_check(0, {})

    def _judge(self, index: int, digests: dict[int, str]) -> None:
        members = self._members()
        votes = Counter(digest for node_id, digest in digests.items() if node_id in members)
        digest, count = votes.most_common(1)[0] if votes else ("", 0)
        if 2 * count <= len(members):
            if len(votes) > 1 and not self._is_disputed:
                self._is_disputed = True
                self._reports.no_majority(index, digests)
            return
        self._is_disputed = False
        own = self._own.get(index)
        if own is None:
            return  # a snapshot or a start took this node past that index
        if own == digest:
            self.agreed_index = index
            return
        since = f"after entry {self.agreed_index}" if self.agreed_index else "since its start"
        raise Diverged(
            f"the digest of its state at entry {index} is {own}, that of {count} of "
            f"{len(members)} members is {digest}: it came to differ {since}; restart it, and if "
            "that does not help move its directory away and start it empty"
        )
