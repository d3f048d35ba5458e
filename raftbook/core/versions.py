"""Which rules are in force: the engine version, and the formats that come with it.

Owns the number and the order of a change. Every replica must do the same with the same entry, so
what an entry does may depend on the engine version that is in force, which is replicated state and
changes by an entry of its own, and never on the build that happens to read it.

To change what the exchange does, or the form of an entry or a snapshot:
1. raise ENGINE_VERSION by one;
2. guard the new behaviour by `exchange.engine_version >= N`, and keep the old one for ever;
3. give a new form a new number, and write in its table the engine version from which on it is
   written; keep reading every older one;
4. write the next golden journal (`tests/golden/journals/`).
A cluster whose nodes are replaced one by one then goes over when the last one is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ENGINE_VERSION: Final = 4
"""The newest rules this build knows."""
FIRST_ENGINE_VERSION: Final = 1
"""What is in force in a new cluster until its members are known to have more."""


class EngineTooOld(Exception):
    """The log or a snapshot needs rules that this build does not have; it must stop."""


def newest_format(since: Mapping[int, int], engine_version: int) -> int:
    """The newest form that every member can read while this engine version is in force.

    Args:
        since: for each format the engine version from which on it is written.
    """
    return max(form for form, first in since.items() if first <= engine_version)


def refuse_engine_version(engine_version: int, written_by: str, *, what: str) -> None:
    """Stop at what needs more than this build has.

    Args:
        engine_version: what is needed.
        written_by: the package version that wrote it, which has it.

    Raises:
        EngineTooOld: says what the node must be upgraded to.
    """
    if engine_version > ENGINE_VERSION:
        raise EngineTooOld(
            f"{what} needs engine version {engine_version}, this build has {ENGINE_VERSION}: "
            f"upgrade this node to raftbook {written_by} or newer"
        )
