"""Listen keys: what a client shows to hear the events of its account, without a signature.

Owns how long a key is good. A key proves itself: it names its account and when it was made, under
the cluster's secret, so one that was made at a node is good at every other. That a key was kept
alive, or closed, is known only where that was said: a node that heard nothing of a key lets it be
good for a day. Binance's rules apply where they can: 60 minutes from its making or the last word of
it, the same key for the same account as long as it is good.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from raftbook.web.binance.faults import Fault

GOOD_MS: Final = 60 * 60 * 1_000
"""How long after it was made or kept alive."""
LIFE_MS: Final = 24 * GOOD_MS
"""Nothing keeps a key alive for longer."""
AHEAD_MS: Final = 60_000
"""So far may the clocks of two nodes be apart."""
KNOWN_MAX: Final = 10_000
"""Keys of which a node remembers what it heard."""
_MADE_BYTES: Final = 8
_PROOF_BYTES: Final = 20
_CHARS_MAX: Final = 400
_ENDED: Final = 0


class ListenKeys:
    """The listen keys that one node knows, and the test of any other. Times are its clock's.

    Args:
        secret: the cluster's.

    Attributes:
        on_ended: called with a key that was ended here.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.digest(secret, b"raftbook listen key", "sha256")
        self._good_until: OrderedDict[str, int] = OrderedDict()  # by key, eldest word first
        self._current: OrderedDict[str, str] = OrderedDict()  # by account
        self.on_ended: list[Callable[[str], None]] = []

    def key_for(self, account: str, now_ms: int) -> str:
        """The account's key: the one that is good already, or a new one; good for an hour."""
        key = self._current.get(account)
        made_ms = self._made_ms(key, account, now_ms)
        if key is None or made_ms is None or made_ms + LIFE_MS < now_ms + GOOD_MS:
            key = self._written(account, now_ms)
        self._remember(key, now_ms + GOOD_MS)
        self._current[account] = key
        self._current.move_to_end(account)
        if len(self._current) > KNOWN_MAX:
            self._current.popitem(last=False)
        return key

    def keep(self, key: str, account: str, now_ms: int) -> None:
        """Let a key be good for another hour.

        Raises:
            Fault: the account has no such key.
        """
        if self.account_of(key, now_ms) != account:
            raise unknown_listen_key()
        self._remember(key, now_ms + GOOD_MS)

    def end(self, key: str, account: str, now_ms: int) -> None:
        """Let a key be good no longer, at this node.

        Raises:
            Fault: the account has no such key.
        """
        if self.account_of(key, now_ms) != account:
            raise unknown_listen_key()
        self._remember(key, _ENDED)
        if self._current.get(account) == key:
            del self._current[account]
        for listener in self.on_ended:
            listener(key)

    def account_of(self, key: str, now_ms: int) -> str | None:
        """Whose key it is; None if it is not good here and now."""
        found = self._read(key)
        if found is None:
            return None
        made_ms, account = found
        if not made_ms - AHEAD_MS <= now_ms < made_ms + LIFE_MS:
            return None
        return account if now_ms < self._good_until.get(key, made_ms + LIFE_MS) else None

    def _remember(self, key: str, good_until: int) -> None:
        self._good_until[key] = good_until
        self._good_until.move_to_end(key)
        if len(self._good_until) > KNOWN_MAX:
            self._good_until.popitem(last=False)

    # -- the key itself -----------------------------------------------------------------------

    def _written(self, account: str, made_ms: int) -> str:
        said = made_ms.to_bytes(_MADE_BYTES, "big") + account.encode()
        return base64.urlsafe_b64encode(self._proof(said) + said).decode().rstrip("=")

    def _proof(self, said: bytes) -> bytes:
        return hmac.digest(self._secret, said, "sha256")[:_PROOF_BYTES]

    def _read(self, key: str) -> tuple[int, str] | None:
        """When it was made and for whom; None if this cluster did not make it."""
        if not key or len(key) > _CHARS_MAX or not key.isascii():
            return None
        try:
            raw = base64.b64decode(key + "=" * (-len(key) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        proof, said = raw[:_PROOF_BYTES], raw[_PROOF_BYTES:]
        if len(said) <= _MADE_BYTES or not hmac.compare_digest(proof, self._proof(said)):
            return None
        return int.from_bytes(said[:_MADE_BYTES], "big"), said[_MADE_BYTES:].decode()

    def _made_ms(self, key: str | None, account: str, now_ms: int) -> int | None:
        """When a key was made, None if it is none of the account's that is good."""
        if key is None or self.account_of(key, now_ms) != account:
            return None
        found = self._read(key)
        return None if found is None else found[0]


def unknown_listen_key() -> Fault:
    """Nobody, or somebody else, has this key."""
    return Fault(400, -1125, "This listenKey does not exist.")
