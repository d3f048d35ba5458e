"""Which node is tried next.

Owns the turn, the waits between two rounds, and what was wrong with each node. Must not know what
is said to a node.
"""

from __future__ import annotations

from raftbook.client.settings import Address, Settings


class NodeRing:
    """The nodes of a client, tried one after the other.

    Attributes:
        address: the node whose turn it is.
        troubles: each node's last trouble since one of them did what it was asked to.
    """

    def __init__(self, settings: Settings) -> None:
        self.troubles: dict[Address, str] = {}
        self._settings = settings
        self._given = tuple((host, port) for host, port in settings.nodes)
        self._failures = 0
        self._refusals = 0  # in a row
        self.address = self._given[0]

    @property
    def _nodes(self) -> tuple[Address, ...]:
        """Those that were given, then the other members."""
        learned = self._settings.members.addresses
        return tuple(dict.fromkeys((*self._given, *learned))) if learned else self._given

    @property
    def is_alone(self) -> bool:
        """Whether there is no other node to turn to."""
        return self._nodes == (self.address,)

    @property
    def all_refused(self) -> bool:
        """Whether nothing listens at any of the addresses: the last round brought only refusals."""
        return self._refusals >= len(self._nodes)

    def succeeded(self) -> None:
        """The node did what it was asked to."""
        self._failures = self._refusals = 0
        self.troubles.clear()

    def failed(self, why: str, *, is_refusal: bool = False) -> float:
        """Move on to the next node; how long to wait first, in seconds.

        The first round through the list is free of waits: one dead node should cost nothing.

        Args:
            is_refusal: nothing listened at the address.
        """
        self.troubles[self.address] = why
        self._refusals = self._refusals + 1 if is_refusal else 0
        nodes = self._nodes
        # One that is no member any more, and was tried last, has no place: begin at the front.
        turn = nodes.index(self.address) + 1 if self.address in nodes else 0
        self.address = nodes[turn % len(nodes)]
        self._failures += 1
        rounds = self._failures - len(nodes)
        return self._settings.backoff(rounds) if rounds >= 0 else 0.0

    def describe(self, under_way: str = "") -> str:
        """Every node's last trouble, in one line.

        Args:
            under_way: what the node whose turn it is has not done yet; "" if it is not being tried.
        """
        troubles = self.troubles | ({self.address: under_way} if under_way else {})
        if not troubles:
            return "no node was tried yet"
        return "; ".join(f"{host}:{port}: {why}" for (host, port), why in troubles.items())
