"""Who is at the other end of a connection.

Owns what requests, questions and the connection itself must agree on: the login, and when this
client was last heard of.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Caller:
    """One client.

    Attributes:
        address: where it calls from, for the log.
        account_name: who it has logged in as; None before.
        heard_at: when the last bytes came, seconds of the loop.
    """

    address: str
    account_name: str | None = None
    heard_at: float = 0.0
