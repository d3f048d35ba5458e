"""How much a client may say on a WebSocket.

Owns the bound and the text of its refusal. What counts as said is for whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MESSAGES_PER_S: Final = 5
"""What a client may say, as at Binance; it may save up MESSAGES_BURST, which Binance does not say:
a client that begins with twenty streams asks for them one by one."""
MESSAGES_BURST: Final = 25
TOO_MANY_MESSAGES: Final = "too many messages: 5 a second"


class Throttle:
    """How much a client may say: a bucket of MESSAGES_BURST that fills at MESSAGES_PER_S."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = float(MESSAGES_BURST)
        self._at = clock()

    def allows(self) -> bool:
        """Whether one more message is in order."""
        now = self._clock()
        self._left = min(MESSAGES_BURST, self._left + (now - self._at) * MESSAGES_PER_S)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
