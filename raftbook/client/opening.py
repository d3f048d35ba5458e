"""The session on the connection that stands: whether it is open, and the OPEN under way.

Owns when an OPEN is sent and until when it is waited for. To repeat one is harmless, since a
session has a key. The numbers of a session are `session.py`'s; what becomes of the requests that
wait for it is `flow.py`'s.
"""

from __future__ import annotations

from typing import Any

from raftbook.client.settings import NEVER, Settings
from raftbook.errors import ProtocolError
from raftbook.wire import client_messages as m


class SessionOpening:
    """One client's OPENs, one at a time.

    Attributes:
        is_open: requests may be sent on this connection.
        answer_due: an OPEN is waited for until then; NEVER if none is under way.
        not_before: the last OPEN was refused, the next one may go then.
    """

    def __init__(self, settings: Settings) -> None:
        self.is_open = False
        self.answer_due = NEVER
        self.not_before = -NEVER
        self._settings = settings
        self._ref = 0
        self._failures = 0

    @property
    def is_under_way(self) -> bool:
        """Whether an OPEN waits for its answer."""
        return bool(self._ref)

    def begin(self, ref: int, now: float) -> tuple[Any, ...]:
        """The OPEN to send now."""
        assert not self._ref, f"OPEN {self._ref} is under way"
        self._ref = ref
        self.answer_due = now + self._settings.attempt_timeout_s
        return (m.OPEN, ref, self._settings.session_key)

    def is_answer(self, message: tuple[Any, ...]) -> bool:
        """Whether a RESULT or FAILURE answers the OPEN under way."""
        return self.is_under_way and bool(message[1] == self._ref)

    def opened(self, value: Any) -> tuple[int, int]:
        """The node opened the session or found it: (session_id, highest_seq).

        Raises:
            ProtocolError: the value says neither.
        """
        if not (type(value) is tuple and len(value) == 2 and all(type(v) is int for v in value)):
            raise ProtocolError(f"OPEN was answered by {value!r:.60}")
        self._settle()
        self._failures, self.is_open = 0, True
        return value[0], value[1]

    def refused(self, now: float) -> None:
        """The node could not open it now; the next OPEN waits a little."""
        self._settle()
        self._failures += 1
        self.not_before = now + self._settings.backoff(self._failures)

    def forget(self) -> None:
        """The connection is gone, and what was open on it."""
        self._settle()
        self.is_open, self.not_before = False, -NEVER

    def _settle(self) -> None:
        self._ref, self.answer_due = 0, NEVER
