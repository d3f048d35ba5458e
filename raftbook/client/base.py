"""What the blocking client and the asyncio client share: their settings, their state, their end.

Owns the constructor and what can be told without waiting. How a call waits is `sync.py`'s and
`aio.py`'s.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from raftbook.client.flow import Flow
from raftbook.client.settings import NEVER, Settings
from raftbook.client.verbs import Verbs

FORGET_TIMEOUT_S: Final = 0.25
"""How long `close` waits for the session to be forgotten; it is a courtesy, not a duty."""


class BaseClient:
    """A client of one cluster, without the waiting."""

    def __init__(
        self,
        nodes: Sequence[tuple[str, int]],
        *,
        account: str = "",
        secret: str = "",
        session_key: str = "",
        client_name: str = "python",
        timeout_s: float = 5.0,
        request_attempt_timeout_s: float = 2.5,
        ends_at: float = NEVER,
        gives_up_when_refused: bool = False,
        follows_members: bool = True,
        rng: random.Random | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        """Opens no connection: the first call does.

        Args:
            nodes: (host, client port), tried in this order.
            account: who is trading; empty may only look at the market.
            secret: the account's; empty for one without.
            session_key: names the session, up to 64 characters; one live client per key. Empty
                makes a random one, so that reconnects find the session again, and `close` forgets
                it.
            timeout_s: longest any call takes.
            request_attempt_timeout_s: longest one node is waited for; above its
                request_deadline_ms.
            ends_at: no call goes on beyond this time of the client's clock (`time.monotonic`, the
                running loop's time for asyncio): one deadline for many calls.
            gives_up_when_refused: end a call as soon as every node has refused a connection,
                instead of trying until timeout_s.
            follows_members: learn from the nodes who else belongs to the cluster, and go there too
                when one is lost: a client then outlives all the nodes it was given. Without, only
                `nodes` are asked: for a question to one node.
            rng: jitter of the backoff.
            on_progress: is told, in one line, whenever something is tried again.
        """
        self._settings = Settings(
            nodes=tuple(nodes),
            account=account,
            secret=secret,
            session_key=session_key or secrets.token_hex(16),
            client_name=client_name,
            timeout_s=timeout_s,
            attempt_timeout_s=request_attempt_timeout_s,
            gives_up_when_refused=gives_up_when_refused,
            follows_members=follows_members,
            rng=rng or random.Random(),
        )
        self._is_own_key = not session_key
        self._flow = Flow(self._settings, is_own_key=self._is_own_key, ends_at=ends_at)
        self._verbs = Verbs()
        self._on_progress = on_progress
        self._is_closed = False
        self._prepare()

    def _prepare(self) -> None:
        """Make what the calls wait with."""
        raise NotImplementedError

    @property
    def node(self) -> int:
        """Id of the node connected to, 0 while there is none."""
        return self._flow.node_id

    @property
    def session_key(self) -> str:
        """What names the session: a client of the same key may repeat this one's requests."""
        return self._settings.session_key

    @property
    def is_operator(self) -> bool:
        """Whether the account is an operator; known once connected."""
        return self._flow.is_operator

    def _should_forget(self, forget_session: bool | None) -> bool:
        """Whether `close` lets the cluster forget the session."""
        wanted = self._is_own_key if forget_session is None else forget_session
        return wanted and self._flow.may_forget_session
