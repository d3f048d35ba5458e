"""The judgement of a finished run, from its folder alone: it can be passed again at any time.

Owns what a run's folder holds for it and the order of the checks: the whole log from what every
node applied and from the journals, the witness over the whole history, the linearizability of each
window, the nodes' logs.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from raftbook.config import load_config
from raftbook.core.events import ACCEPTED
from raftbook.core.exchange import Genesis
from raftbook.genesis import genesis_of
from tests.chaos.archive import whole_log
from tests.chaos.cluster import APPLIED, window_symbol
from tests.chaos.streams import STREAMS, judge_streams
from tests.checkers.history import ACKNOWLEDGED, NOT_ACCEPTED, History, merged
from tests.checkers.linearizable import ILLEGAL, check_window, windows
from tests.checkers.market import instrument_of
from tests.checkers.witness import check_witness

HISTORY: Final = "history.jsonl"
RUN: Final = "run.json"
FENCE: Final = re.compile(r" is fenced\b.* at entry \d+")
EXCUSED_FENCE: Final = re.compile(r"disk full|No space left|database or disk is full")


@dataclass(slots=True)
class RunFile:
    """What the runner writes down when the nodes have settled.

    Attributes:
        last_index, digest: where all nodes agreed, "" if they did not come to agree.
        window_count: probe windows that were begun.
        removed_ids: nodes that were members once. Their logs may end in what was never committed.
    """

    node_ids: list[int]
    last_index: int
    digest: str
    window_count: int
    removed_ids: list[int] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write it into a run's folder."""
        (folder / RUN).write_text(json.dumps(asdict(self)))


@dataclass(slots=True)
class Judgement:
    """What is wrong, and how much was looked at.

    Attributes:
        violations: what no fault excuses: any makes the run fail.
        void: why the run proves nothing, "" if it does.
    """

    violations: list[str] = field(default_factory=list)
    void: str = ""
    requests: int = 0
    acknowledged: int = 0
    not_accepted: int = 0
    unknown: int = 0
    reads: int = 0
    log_entries: int = 0
    windows: dict[str, int] = field(default_factory=dict)
    window_steps_max: int = 0
    stream_messages: int = 0


def judge(folder: Path) -> Judgement:
    """Check a run's folder; the nodes must be stopped."""
    run = RunFile(**json.loads((folder / RUN).read_text()))
    history = History.load(folder / HISTORY)
    config = load_config(folder / "cluster.toml")
    genesis = genesis_of(config)
    judgement = Judgement(requests=len(history.requests), reads=len(history.reads))
    outcomes = Counter(row.outcome for row in history.requests)
    judgement.acknowledged = outcomes[ACKNOWLEDGED]
    judgement.not_accepted = outcomes[NOT_ACCEPTED]
    judgement.unknown = outcomes.total() - judgement.acknowledged - judgement.not_accepted
    judgement.violations += contradictions(history)
    if run.digest:
        directories = [config.data_dir / f"node-{node_id}" for node_id in run.node_ids]
        _judge_log(folder, run, directories, history, genesis, judgement)
    else:
        judgement.violations.append("the nodes did not come to agree: see the timeline")
    _judge_windows(run, history, genesis, judgement)
    for node_id in run.node_ids:
        judgement.violations += node_complaints(folder, node_id)
    for node_id in run.removed_ids:
        judgement.violations += node_complaints(folder, node_id, is_removed=True)
    return judgement


def contradictions(history: History) -> list[str]:
    """What the clients were told that cannot be, whatever any log says."""
    found = [f"two replies: {problem}" for problem in merged(history.requests)[1][:20]]
    owners: dict[int, tuple[str, str, int]] = {}
    for row in history.requests:
        for event in row.events:
            if event[0] == ACCEPTED and owners.setdefault(event[2][0], row.name) != row.name:
                found.append(
                    f"doubled: order {event[2][0]} is of {owners[event[2][0]]} and of {row.name}"
                )
    return found[:40]


def _judge_log(
    folder: Path,
    run: RunFile,
    directories: list[Path],
    history: History,
    genesis: Genesis,
    judgement: Judgement,
) -> None:
    log, gaps = whole_log(folder / APPLIED, directories, run.last_index)
    judgement.violations += [f"changed entry: {problem}" for problem in log.problems]
    if gaps:
        judgement.void = f"nobody holds {len(gaps)} entries from {gaps[0]} to {gaps[-1]}"
        return
    verdict = check_witness(history, log.entries(), genesis)
    judgement.log_entries = verdict.last_index
    told = json.loads((folder / STREAMS).read_text())
    judgement.stream_messages, faults = judge_streams(told, log.entries(), genesis)
    judgement.violations += [f"stream: {fault}" for fault in faults]
    judgement.violations += [f"{rule}: {text}" for rule, text in verdict.violations]
    if verdict.digest != run.digest:
        judgement.violations.append(
            f"diverged: the nodes agreed on digest {run.digest} at {run.last_index}, "
            f"the log gives {verdict.digest}"
        )


def _judge_windows(run: RunFile, history: History, genesis: Genesis, judgement: Judgement) -> None:
    terms = {one.symbol: one for one in genesis.instruments}
    symbols = {window_symbol(number) for number in range(run.window_count + 1)}
    verdicts: Counter[str] = Counter()
    for symbol, window in sorted(windows(history, lambda symbol: symbol in symbols).items()):
        finding = check_window(instrument_of(terms[symbol]), window)
        verdicts[finding.verdict] += 1
        judgement.window_steps_max = max(judgement.window_steps_max, finding.steps)
        if finding.verdict == ILLEGAL:
            judgement.violations.append(f"not linearizable: {symbol}: {finding.text}")
    judgement.windows = dict(verdicts)


def node_complaints(folder: Path, node_id: int, *, is_removed: bool = False) -> list[str]:
    """Lines of a node's log that no fault of a run explains."""
    path = folder / f"node-{node_id}.log"
    text = path.read_text(errors="replace") if path.exists() else ""
    found: list[Any] = []
    for line in text.splitlines():
        is_fence = FENCE.search(line) is not None
        if is_fence and EXCUSED_FENCE.search(line):
            continue
        if is_fence and is_removed and " is fenced (removed) at " in line:
            continue
        if is_fence or line.startswith("Traceback "):
            found.append(f"node {node_id} said: {line}")
    return found[:5]
