"""The mark that a node belonged to a cluster once, beside its directory and not in it.

A node without a past founds a cluster together with the others of its cluster.toml. Where that
list is older than the cluster, those may be a minority of today's members: were all of them to lose
their directories, they would begin anew beside the others, who hold the orders. The mark outlives
the directory: who has it waits to be caught up. Owns that file. Must not know memberships.
"""

from __future__ import annotations

from pathlib import Path

from raftbook.storage.atomic import write_durably
from raftbook.storage.failures import explain
from raftbook.storage.journal_file import JournalIdentity


class FoundedMark:
    """The mark of one node.

    Args:
        directory: the node's own; the mark stands beside it.
        identity: a mark of another cluster, or of another beginning of this one, says nothing.
    """

    def __init__(self, directory: Path, identity: JournalIdentity) -> None:
        self.path = directory.with_name(f"{directory.name}.founded")
        self._title = (
            f"node {identity.node_id} of cluster {identity.cluster_id}, "
            f"genesis {identity.genesis_digest}"
        )
        self._text = (
            f"{self._title}\n"
            f"It belongs to a cluster that was founded. If {directory.name}/ is lost, it waits to\n"
            "be caught up by the others. Remove this file only to begin a new, empty cluster.\n"
        )

    @property
    def is_set(self) -> bool:
        """Whether this node, with this identity, belonged to a cluster.

        Raises:
            StorageError: the mark cannot be read.
        """
        try:
            return self.path.read_text(errors="replace").partition("\n")[0] == self._title
        except FileNotFoundError:
            return False
        except OSError as error:
            raise explain(self.path, error) from error

    def set(self) -> None:
        """Write it down, durably, unless it stands already.

        Raises:
            StorageError: it cannot be written.
        """
        if self.is_set:
            return
        try:
            write_durably(self.path, self._text.encode())
        except OSError as error:
            raise explain(self.path, error) from error
