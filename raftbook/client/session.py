"""The numbers of one client's session: which request_seq next, and which must never come again.

Owns the rule that a number names one request for ever, also when the session behind it was evicted
and another has taken its place. Must not know requests or connections.
"""

from __future__ import annotations

from typing import Final

IN_FLIGHT_MAX: Final = 512
"""request_seqs between the oldest without an outcome and the newest. Half the default reply_window:
a request that is sent again must still be inside the window, however many came after it."""


class SessionNumbers:
    """The session as the log last told it, and how far its numbers are used.

    Attributes:
        session_id: 0 before it was first opened.
        next_seq: the next new request's number.
        lost_seq_max: numbers up to this one belong to a session that is gone.
    """

    def __init__(self, *, is_own_key: bool) -> None:
        self.session_id = 0
        self.next_seq = 1
        self.lost_seq_max = 0
        self._is_own_key = is_own_key
        self._sent_seq_max = 0

    def opened(self, session_id: int, highest_seq: int) -> bool:
        """The log opened the session, or found it; whether it replaces one that is gone."""
        is_first = not self.session_id
        is_replaced = not is_first and session_id != self.session_id
        if is_replaced:
            # Never used again, so that a repeated one is recognised.
            self.lost_seq_max = self.next_seq - 1
        if is_first and not self._is_own_key:
            # An earlier process of this key may have requests on their way: leave their numbers.
            highest_seq += IN_FLIGHT_MAX
        self.session_id = session_id
        self.next_seq = max(self.next_seq, highest_seq + 1)
        return is_replaced

    def is_unused(self, request_seq: int) -> bool:
        """Whether nobody can have sent a request of this number before."""
        return self._is_own_key and request_seq > self._sent_seq_max

    def sent(self, request_seq: int) -> None:
        """A request of this number left."""
        self._sent_seq_max = max(self._sent_seq_max, request_seq)

    def used(self, request_seq: int) -> None:
        """A request of this number exists."""
        self.next_seq = max(self.next_seq, request_seq + 1)
