"""What a client is told once, and how long it waits before it tries again.

Owns the settings that both clients share, their check, and the backoff. Must not know connections.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from raftbook.client.members import Address, KnownMembers
from raftbook.core.form import is_id

__all__ = ["NEVER", "Address", "Settings"]

NEVER: Final = math.inf

BACKOFF_MIN_S: Final = 0.02
BACKOFF_MAX_S: Final = 0.5
"""Longest wait before the next node is tried: well within one election."""

ATTEMPTS_MIN: Final = 8
"""A call that begins while others are waiting must still get its tries before its deadline."""

GREETING_MIN_S: Final = 0.25
"""A node that is well greets in a millisecond; on a busy machine it may take this long."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client is told once.

    Attributes:
        nodes: (host, client port), tried in this order, round and round.
        account: empty is nobody: the market may be looked at, nothing can be sent.
        secret: the account's; empty for an account without one.
        session_key: names the session; reconnects with the same key resume it.
        timeout_s: after this long a call ends, known or not.
        attempt_timeout_s: after this long without an answer another node is asked.
        gives_up_when_refused: calls end as soon as every node has refused a connection, instead of
            trying until timeout_s: nothing listens there, and nobody is expected to come.
        follows_members: nodes are asked who else there is, and those are tried as well.
        rng: jitter of the backoff.
        members: what was learned; shared by all connections of these settings.
    """

    nodes: Sequence[Address]
    account: str = ""
    secret: str = field(default="", repr=False)
    session_key: str = ""
    client_name: str = "python"
    timeout_s: float = 5.0
    attempt_timeout_s: float = 2.5
    gives_up_when_refused: bool = False
    follows_members: bool = False
    rng: random.Random = field(default_factory=random.Random)
    members: KnownMembers = field(default_factory=KnownMembers)

    def __post_init__(self) -> None:
        if self.timeout_s <= 0 or self.attempt_timeout_s <= 0:
            raise ValueError("timeouts must be positive, in seconds")
        if not self.nodes:
            raise ValueError("a client needs at least one node: nodes=[(host, client_port), ...]")
        for name in ("account", "session_key"):
            if not is_id(getattr(self, name)):
                raise ValueError(
                    f"{name} {getattr(self, name)!r} must be printable ASCII without spaces, "
                    "64 characters at most"
                )

    @property
    def greeting_timeout_s(self) -> float:
        """How long a node may take to greet: nodes that hang must leave time to try the others."""
        share_s = self.timeout_s / (len(self.nodes) + 1)
        return min(self.attempt_timeout_s, max(GREETING_MIN_S, share_s))

    def backoff(self, times: int) -> float:
        """Seconds to wait after so many failures in a row; jittered, so that clients that failed
        together do not come back together."""
        longest_s = min(BACKOFF_MAX_S, self.timeout_s / ATTEMPTS_MIN)
        return min(longest_s, BACKOFF_MIN_S * 2.0 ** min(times, 16)) * self.rng.uniform(0.5, 1.0)
