"""Do all nodes hold the same book? One index, one digest from each of them.

Owns the choice of the index, and the verdict. Must not know how it is shown beyond its text.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from raftbook.client import Client
from raftbook.errors import RaftbookError

from .cluster_view import (
    STATUS_TIMEOUT_S,
    ClusterView,
    ask_all,
    require_reachable,
    view_cluster,
)
from .invocation import Invocation
from .outcomes import CommandFailed, ExitCode
from .output.tables import plural

WAIT_MS: Final = 2_000
"""A node that is a little behind gets this long to apply the entry."""

_TRIES: Final = 3
_DIGEST_CHARS: Final = 12


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found at one index.

    Attributes:
        digests: by node id; only of nodes that answered.
        silent: node id to the reason, of those that did not.
        instruments, resting_orders: of a node that answered, as it is now; None unless the index
            is about now.
    """

    index: int
    digests: dict[int, str]
    silent: dict[int, str]
    node_count: int
    instruments: int | None = None
    resting_orders: int | None = None

    @property
    def agree(self) -> bool:
        """Every digest that is known is the same."""
        return len(set(self.digests.values())) <= 1

    @property
    def has_majority(self) -> bool:
        return len(self.digests) > self.node_count // 2

    @property
    def ok(self) -> bool:
        return self.agree and self.has_majority

    @property
    def different(self) -> list[int]:
        """The nodes that differ from most others; all of them if there is no such thing."""
        ranking = Counter(self.digests.values()).most_common()
        if len(ranking) > 1 and ranking[0][1] == ranking[1][1]:
            return sorted(self.digests)
        return sorted(node for node, digest in self.digests.items() if digest != ranking[0][0])

    def document(self) -> dict[str, Any]:
        """The JSON shape of `cluster verify`."""
        return {
            "ok": self.ok,
            "index": self.index,
            "digests": {str(node): digest for node, digest in sorted(self.digests.items())},
            "unreachable": sorted(self.silent),
            "instruments": self.instruments,
            "resting_orders": self.resting_orders,
        }

    def text(self) -> str:
        """Two lines: who said what, and the verdict."""
        said = "  ".join(
            f"node {node} {digest[:_DIGEST_CHARS]}"
            for node, digest in sorted({**self.digests, **dict.fromkeys(self.silent, "-")}.items())
        )
        lines = [f"index {self.index}: {said}"]
        if self.ok:
            book = ""
            if self.instruments is not None and self.resting_orders is not None:
                book = (
                    f" ({plural(self.instruments, 'instrument')}, "
                    f"{plural(self.resting_orders, 'resting order')})"
                )
            count = plural(len(self.digests), "node")
            if self.silent:
                count = f"{len(self.digests)} of {plural(self.node_count, 'node')}"
            verb = "agrees" if count == "1 node" else "agree"
            lines.append(f"OK: {count} {verb} at index {self.index}{book}")
        elif not self.agree:
            names = " and ".join(f"node {node}" for node in self.different)
            verb = "differs" if len(self.different) == 1 else "differ"
            lines.append(f"DIFFERENT: {names} {verb} at index {self.index}")
        else:
            lines.append(f"UNDECIDED: {len(self.digests)} of {self.node_count} nodes answered")
        return "\n".join(lines)

    def require_agreement(self) -> None:
        """Ends the command unless a majority answered and all that did agree."""
        if not self.agree:
            names = ", ".join(map(str, self.different))
            raise CommandFailed(
                ExitCode.DIFFERENT,
                f"verify: the books differ at index {self.index}: node {names}",
                hint="stop that node, keep its directory, and find the entry with: "
                "raftbook log diff DIR DIR",
            )
        if not self.has_majority:
            why = "; ".join(f"node {node}: {reason}" for node, reason in self.silent.items())
            raise CommandFailed(
                ExitCode.NOT_ACCEPTED,
                f"verify: only {len(self.digests)} of {self.node_count} nodes answered ({why})",
                hint="see who is missing with: raftbook cluster status",
            )


def verify_cluster(invocation: Invocation, index: int | None = None) -> Verdict:
    """Compares the digests of all reachable nodes.

    Args:
        index: None is the newest entry that every reachable node has applied.

    Raises:
        NoNodeReachable: nobody answered.
        CommandFailed: a node keeps no digest of the index that was asked for.
    """
    # A node that hangs must leave time to compare the others.
    status_timeout_s = min(STATUS_TIMEOUT_S, invocation.time_limit_s / 3)
    view = view_cluster(invocation, timeout_s=status_timeout_s)
    require_reachable(view)
    silent = {node.node_id: node.trouble for node in view.nodes if node.status is None}
    nodes = [node.address for node in view.reachable]
    given = index is not None
    if not view.is_founded:
        raise CommandFailed(
            ExitCode.NOT_ACCEPTED,
            "verify: there is nothing yet: the cluster is not founded",
            hint="start all nodes of cluster.toml once",
        )
    if index is None:
        index = min(int(node.status["applied_index"]) for node in view.reachable if node.status)
    for _ in range(_TRIES):
        wanted = index
        left_s = min(WAIT_MS / 1000 + 1, invocation.ends_at - time.monotonic())
        wait_ms = min(WAIT_MS, max(0, int(left_s * 500)))
        question = _digest_question(wanted, wait_ms)
        answers = ask_all(invocation, question, nodes=nodes, timeout_s=WAIT_MS / 1000 + 1)
        verdict, kept_from = _verdict(wanted, answers, silent, view)
        if kept_from is None:
            return replace(verdict, instruments=None, resting_orders=None) if given else verdict
        if given or kept_from <= wanted:
            raise CommandFailed(
                ExitCode.USAGE,
                f"verify: not every node keeps the digest of index {wanted}",
                hint=f"choose --at {kept_from} or later, or look into stopped nodes "
                "with: raftbook log diff DIR DIR",
            )
        # One node has come so far meanwhile, or from a snapshot: the others will get there.
        index = kept_from
    raise CommandFailed(
        ExitCode.NOT_ACCEPTED,
        f"verify: the nodes moved on too fast to be compared at index {index}",
        hint="try again",
    )


def _digest_question(index: int, wait_ms: int) -> Callable[[Client], dict[str, Any]]:
    def ask(client: Client) -> dict[str, Any]:
        answer: dict[str, Any] = client.query("digest", index=index, wait_ms=wait_ms)
        return answer

    return ask


def _verdict(
    index: int,
    answers: dict[int, dict[str, Any] | RaftbookError],
    silent: dict[int, str],
    view: ClusterView,
) -> tuple[Verdict, int | None]:
    """The verdict; and the first index that every node keeps, if this one is not kept by all."""
    digests: dict[int, str] = {}
    quiet = dict(silent)
    kept_from: int | None = None
    instruments = resting = 0
    for node_id, answer in answers.items():
        if isinstance(answer, RaftbookError):
            applied = view.applied_index(node_id)
            quiet[node_id] = f"has applied {applied} only" if applied < index else str(answer)
        elif answer["digest"] is None:
            first = int((answer.get("kept") or (0, 0))[0])
            kept_from = max(first, kept_from or 0)
        else:
            digests[node_id] = answer["digest"]
            instruments, resting = answer["instruments"], answer["resting_orders"]
    return Verdict(index, digests, quiet, len(view.nodes), instruments, resting), kept_from
