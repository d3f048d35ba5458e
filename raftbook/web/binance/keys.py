"""Who signs a request: keys, secrets, signatures and the age of a request.

Owns the check of a signature over the bytes as they came, and of the time in it. A key is the name
of an account, signed with its secret of cluster.toml, or else an API key that an account was given
(SET_API_KEY). An account that is open to anybody at the native port (`gateway/proofs.py`) takes
any signature here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final

from raftbook.core.accounts import Account
from raftbook.core.exchange import Exchange
from raftbook.gateway.proofs import secrets_of
from raftbook.web.binance.faults import (
    Fault,
    bad_key,
    bad_signature,
    missing,
    no_key,
)
from raftbook.web.binance.params import Params, json_text

WINDOW_MS_DEFAULT: Final = 5_000
WINDOW_MS_MAX: Final = 60_000
_AHEAD_MS_MAX: Final = 1_000
_MICROSECONDS_FROM: Final = 10**14
"""A timestamp of so many digits counts microseconds."""


def _holder(
    exchange: Exchange, secrets: Mapping[str, str | None], key: str | None
) -> tuple[Account, str | None]:
    """The account and the secret that proves it; None where anybody may say to be it."""
    if not key:
        raise no_key()
    # Names go first: else whoever names an API key like an account would lock that account out.
    account = exchange.accounts.get(key)
    if account is not None:
        proofs = secrets_of(account, secrets)
        if proofs is None:
            return account, None
        if key in secrets:
            return account, proofs[0]
        # Made later, it has API keys and is called by them.
    else:
        account = exchange.accounts_by_key.get(key)
    secret = None if account is None else account.api_keys.get(key)
    if account is None or secret is None:
        raise bad_key()
    return account, secret


def signer(
    exchange: Exchange,
    secrets: Mapping[str, str | None],
    key: str | None,
    params: Params,
    payload: bytes,
    now_ms: int,
) -> Account:
    """The account that signed a request.

    Args:
        payload: what was signed.

    Raises:
        Fault: nobody did, or too long ago.
    """
    account, secret = _holder(exchange, secrets, key)
    signature = params.needed("signature")
    if secret is not None:
        expected = hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()
        given = signature.lower().encode("utf-8", "replace")
        if not hmac.compare_digest(given, expected.encode()):
            raise bad_signature()
    check_time(params, now_ms)
    return account


def bearer(
    exchange: Exchange,
    secrets: Mapping[str, str | None],
    key: str | None,
    params: Params,
    payload: Callable[[], bytes],
    now_ms: int,
) -> Account:
    """Whose key this is, where a key alone will do: its holder alone knows an API key, but anybody
    may know the name of an account, so one that has a secret must sign.

    Args:
        payload: what was signed, asked for only if that matters.

    Raises:
        Fault: nobody has the key, or it is a name and was not signed for.
    """
    account, secret = _holder(exchange, secrets, key)
    if secret is not None and key in exchange.accounts:
        return signer(exchange, secrets, key, params, payload(), now_ms)
    return account


def check_time(params: Params, now_ms: int) -> None:
    """Refuse what was signed too long ago, or by a clock that goes ahead of this node's."""
    stamp = params.integer("timestamp")
    if stamp is None:
        raise missing("timestamp")
    if stamp >= _MICROSECONDS_FROM:
        stamp //= 1_000
    # Binance allows three places behind the point of a window.
    text = params.text("recvWindow")
    window = WINDOW_MS_DEFAULT
    if text is not None:
        whole = Params({"recvWindow": text.partition(".")[0]}).integer("recvWindow")
        assert whole is not None, "a window that was sent is none"
        window = whole
        if window > WINDOW_MS_MAX:
            raise Fault(400, -1131, f"recvWindow must be less than {WINDOW_MS_MAX}.")
    if stamp >= now_ms + _AHEAD_MS_MAX:
        raise Fault(400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - stamp > window:
        raise Fault(400, -1021, "Timestamp for this request is outside of the recvWindow.")


def signed_bytes(query: bytes, body: bytes) -> bytes:
    """What a REST request signs: query and body, nothing between, without the signature."""
    return _without_signature(query) + _without_signature(body)


def _without_signature(raw: bytes) -> bytes:
    start = raw.find(b"signature=")
    while start > 0 and raw[start - 1 : start] != b"&":
        start = raw.find(b"signature=", start + 1)
    if start < 0:
        return raw
    end = raw.find(b"&", start)
    if end < 0:
        return raw[: max(0, start - 1)]
    return raw[:start] + raw[end + 1 :]


def signed_text(params: Mapping[str, Any]) -> bytes:
    """What a ws-api request signs: its parameters sorted by name, without the signature."""
    pairs = (f"{name}={json_text(params[name])}" for name in sorted(params) if name != "signature")
    return "&".join(pairs).encode("utf-8", "replace")
