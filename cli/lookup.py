"""Finding what a user named, or saying what there is instead."""

from __future__ import annotations

from raftbook.client import Client
from raftbook.client.values import InstrumentSpec

from .outcomes import CommandFailed, ExitCode


def known_spec(client: Client, symbol: str) -> InstrumentSpec:
    """The instrument `symbol`.

    Raises:
        CommandFailed: there is none; lists those there are.
    """
    instruments = client.instruments()
    if symbol not in instruments:
        raise CommandFailed(
            ExitCode.REFUSED,
            f"no instrument {symbol!r}; known: {', '.join(instruments) or 'none'}",
            hint="add one with: raftbook instrument add",
        )
    return instruments[symbol]
