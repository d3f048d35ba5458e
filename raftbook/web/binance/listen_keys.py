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
ACCOUNTS_MAX: Final = 10_000
"""Accounts of whose keys a node remembers what it heard: as many as there are (`accounts_max`),
unless that was raised. Then those it has not heard of for longest are forgotten."""
KEYS_MAX: Final = 16
"""Keys of one account of which each is remembered by itself."""
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
        self._heard: OrderedDict[str, _Heard] = OrderedDict()  # by account, eldest word first
        self.on_ended: list[Callable[[str], None]] = []

    def key_for(self, account: str, now_ms: int) -> str:
        """The account's key: the one that is good already, or a new one; good for an hour."""
        heard = self._heard.get(account) or _Heard()
        key = heard.current
        made_ms = self._made_ms(key, account, now_ms)
        if key is None or made_ms is None or made_ms + LIFE_MS < now_ms + GOOD_MS:
            key = self._new_key(account, now_ms, heard)
        self._remember(account, key, now_ms + GOOD_MS).current = key
        return key

    def keep(self, key: str, account: str, now_ms: int) -> None:
        """Let a key be good for another hour.

        Raises:
            Fault: the account has no such key.
        """
        if self.account_of(key, now_ms) != account:
            raise unknown_listen_key()
        self._remember(account, key, now_ms + GOOD_MS)

    def end(self, key: str, account: str, now_ms: int) -> None:
        """Let a key be good no longer, at this node.

        Raises:
            Fault: the account has no such key.
        """
        if self.account_of(key, now_ms) != account:
            raise unknown_listen_key()
        heard = self._remember(account, key, _ENDED)
        if heard.current == key:
            heard.current = None
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
        heard = self._heard.get(account)
        good_until = made_ms + LIFE_MS
        if heard is not None:
            unheard_of = good_until if made_ms > heard.ended_ms else _ENDED
            good_until = heard.good_until.get(key, unheard_of)
        return account if now_ms < good_until else None

    def _remember(self, account: str, key: str, good_until: int) -> _Heard:
        heard = self._heard.setdefault(account, _Heard())
        self._heard.move_to_end(account)
        heard.good_until[key] = good_until
        if len(heard.good_until) > KEYS_MAX:
            ended = min(heard.good_until, key=heard.good_until.__getitem__)
            del heard.good_until[ended]
            found = self._read(ended)
            assert found is not None, f"{ended} is no key of this cluster"
            heard.ended_ms = max(heard.ended_ms, found[0])
        if len(self._heard) > ACCOUNTS_MAX:
            self._heard.popitem(last=False)
        return heard

    # -- the key itself -----------------------------------------------------------------------

    def _new_key(self, account: str, now_ms: int, heard: _Heard) -> str:
        """One that this node has not heard of, even within one millisecond."""
        made_ms = now_ms
        while (key := self._written(account, made_ms)) in heard.good_until:
            made_ms += 1
        return key

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


class _Heard:
    """What a node heard of the keys of one account.

    Attributes:
        current: the one that is given to whoever asks.
        good_until: by key; the one that ended first makes room.
        ended_ms: a key that was made by then and is not remembered is good no longer. So one that
            made room does not come back.
    """

    __slots__ = ("current", "ended_ms", "good_until")

    def __init__(self) -> None:
        self.current: str | None = None
        self.good_until: dict[str, int] = {}
        self.ended_ms = 0


def unknown_listen_key() -> Fault:
    """Nobody, or somebody else, has this key."""
    return Fault(400, -1125, "This listenKey does not exist.")
