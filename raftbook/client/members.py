"""Who belongs to the cluster, as its nodes told: where a client can go when those it was given are
gone.

Owns the addresses beside the ones in the settings, one list for all connections of a client. Must
not know when it is asked for. What a client was given is never dropped: members tell where they
listen, and a client may be where only other names lead.
"""

from __future__ import annotations

from typing import Any, Final

Address = tuple[str, int]

MEMBERS_MAX: Final = 16
"""More than any cluster has; whoever tells more is not believed."""


class KnownMembers:
    """The members that were told last.

    Attributes:
        addresses: (host, client port) of each.
    """

    def __init__(self) -> None:
        self.addresses: tuple[Address, ...] = ()
        self._as_of = 0

    def take(self, status: Any) -> None:
        """Learn from the answer to a `status` query, unless an older one than was known.

        A node that is behind, or was removed, tells whom it knows of.
        """
        if not isinstance(status, dict):
            return
        rows, index = status.get("members"), status.get("applied_index")
        if type(rows) is not tuple or type(index) is not int or index < self._as_of:
            return
        found = [address for row in rows if (address := _address(row)) is not None]
        if 0 < len(found) == len(rows) <= MEMBERS_MAX:
            self.addresses, self._as_of = tuple(found), index


def _address(row: Any) -> Address | None:
    if not isinstance(row, dict):
        return None
    host, port = row.get("host"), row.get("client_port")
    if type(host) is not str or not host or type(port) is not int or not 0 < port < 65_536:
        return None
    return host, port
