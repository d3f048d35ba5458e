"""Listen keys: how clients of before 2026 name the stream of their own account.

Owns the keys of this node; another node knows nothing of them, and a client that moves asks there
for a new one, as it does after the hour at Binance.
"""

from __future__ import annotations

import secrets
from typing import Final

from raftbook.web.binance.faults import Fault, crowded

VALID_MS: Final = 3_600_000
KEYS_MAX: Final = 10_000


class ListenKeys:
    """Keys by account, one each, valid for an hour after they were last asked for."""

    def __init__(self) -> None:
        self._by_account: dict[str, str] = {}
        self._by_key: dict[str, tuple[str, int]] = {}

    def key_for(self, account: str, now_ms: int) -> str:
        """The account's key, valid for an hour from now on."""
        key = self._by_account.get(account)
        if key is None or self.account_of(key, now_ms) is None:
            if len(self._by_key) >= KEYS_MAX:
                self._forget_ended(now_ms)
            key = self._by_account[account] = secrets.token_hex(30)
        self._by_key[key] = (account, now_ms + VALID_MS)
        return key

    def account_of(self, key: str, now_ms: int) -> str | None:
        """Whose key it is, None for nobody's."""
        account, end_ms = self._by_key.get(key, ("", 0))
        return account if now_ms < end_ms else None

    def keep(self, key: str, account: str, now_ms: int) -> None:
        """Let a key be valid for another hour.

        Raises:
            Fault: the account has no such key.
        """
        if self.account_of(key, now_ms) != account:
            raise unknown_listen_key()
        self._by_key[key] = (account, now_ms + VALID_MS)

    def end(self, key: str, account: str, now_ms: int) -> None:
        """Forget a key.

        Raises:
            Fault: the account has no such key.
        """
        if self.account_of(key, now_ms) != account:
            raise unknown_listen_key()
        del self._by_key[key], self._by_account[account]

    def _forget_ended(self, now_ms: int) -> None:
        for key, (account, end_ms) in list(self._by_key.items()):
            if end_ms <= now_ms:
                del self._by_key[key]
                self._by_account.pop(account, None)
        if len(self._by_key) >= KEYS_MAX:
            raise crowded("Too many listen keys on this node; please use another.")


def unknown_listen_key() -> Fault:
    """Nobody, or somebody else, has this key."""
    return Fault(400, -1125, "This listenKey does not exist.")
