"""What every HTTP answer says of the node that gave it.

Owns the names: X-Raftbook-Node, -Leader (empty while none is known), -Term and -Applied: what the
answer shows is of that entry or a later one. An answer to what took effect in the log also has
X-Raftbook-Entry; see `marks.py`.
"""

from __future__ import annotations

from starlette.routing import Mount

from raftbook.replica.replica import Replica

Header = tuple[bytes, bytes]


def node_headers(replica: Replica, shown_index: int = 0) -> tuple[Header, Header, Header, Header]:
    """Of this moment.

    Args:
        shown_index: the entry that the answer shows at least; 0 for that of this moment.
    """
    raft = replica.raft
    return (
        (b"x-raftbook-node", b"%d" % replica.node_id),
        (b"x-raftbook-leader", b"%d" % raft.leader_id if raft.leader_id else b""),
        (b"x-raftbook-term", b"%d" % raft.term),
        (b"x-raftbook-applied", b"%d" % (shown_index or raft.applied_index)),
    )


class Direct(Mount):
    """A part that answers all below a path by itself, headers included: no framework is asked on
    the way to it, since orders come by there."""
