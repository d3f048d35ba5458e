"""The proof at the end of a demo: every acknowledged order stands in every node's journal, once.

Owns the search. Must not ask a node: what counts is what the disks hold when all have stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raftbook.config import ClusterConfig
from raftbook.core.events import ACCEPTED
from raftbook.genesis import genesis_of

from .data_directory import DataDirectory

Names = tuple[str, str]
"""Account and client_order_id."""


def search_journals(
    directories: Sequence[Path], config: ClusterConfig, acknowledged: Mapping[int, Names]
) -> tuple[int, int]:
    """Looks for every acknowledged order on the disk of every node.

    Args:
        directories: of stopped nodes, nothing compacted.
        acknowledged: by order_id.

    Returns:
        How many are missing somewhere, and how many client order ids were taken twice.
    """
    genesis = genesis_of(config)
    lost: set[int] = set()
    doubled = 0
    for directory in directories:
        source = DataDirectory(directory)
        replies = (
            reply
            for _, applied, _ in source.replay(source.first, source.last, genesis)
            if applied is not None
            for reply in applied.replies
        )
        accepted = _accepted_orders(replies)
        lost |= {
            order_id for order_id, names in acknowledged.items()
            if accepted.get(order_id) != names
        }  # fmt: skip
        doubled = max(doubled, len(accepted) - len(set(accepted.values())))
    return len(lost), doubled


def _accepted_orders(replies: Iterable[Any]) -> dict[int, Names]:
    """order_id to (account, client_order_id) of each order that was taken."""
    return {
        event[2][0]: (event[2][1], event[2][2])
        for reply in replies
        if not reply[5]
        for event in reply[4]
        if event[0] == ACCEPTED
    }
