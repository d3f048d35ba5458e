"""Who is at the other end of a connection.

Owns the one thing that requests, questions and the connection itself must agree on: the login.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Caller:
    """One client.

    Attributes:
        address: where it calls from, for the log.
        account_name: who it has logged in as; None before.
    """

    address: str
    account_name: str | None = None
