"""What proves that a client may speak for an account.

Owns the one rule of both client ports. Secrets of cluster.toml are a node's own; those of API keys
are part of the replicated state.
"""

from __future__ import annotations

from collections.abc import Mapping

from raftbook.core.accounts import Account


def secrets_of(account: Account, configured: Mapping[str, str | None]) -> tuple[str, ...] | None:
    """Secrets of which any one proves an account by its name; None where anybody may say to be it.

    An account of cluster.toml has its `secret`, or none. One that was created later has no line
    there: it is open until it has an API key, and then that key's secret is the account's.
    """
    if account.name in configured:
        secret = configured[account.name]
        return None if secret is None else (secret,)
    return tuple(account.api_keys.values()) or None
