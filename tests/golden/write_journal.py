"""Writes the next golden journal: `python -m tests.golden.write_journal`.

A golden journal is the data directory of a stopped node of a cluster of one, written by the
production replica of its day, with what it must lead to for ever. The script writes a new folder
beside the older ones and never touches those. Write one for each engine version and for each new
format of entries, snapshots or the journal.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from raftbook import __version__
from raftbook.config import load_config
from raftbook.core import commands as c
from raftbook.core.commands import Request
from raftbook.core.events import Reply
from raftbook.core.types import Phase, Reject, Side
from raftbook.core.versions import ENGINE_VERSION
from raftbook.genesis import genesis_digest, genesis_of
from raftbook.replica.machine import Applied, Machine
from raftbook.replica.membership import Member, configured
from raftbook.replica.replica import Replica
from raftbook.replica.shipping import InlineMaker
from raftbook.storage.journal import Journal, JournalIdentity
from raftbook.storage.snapshots import SnapshotStore
from raftbook.wire.entry import pack_request
from tests.core.flow import MIXED, SELF_TRADING, THIRD, Flow, Profile, advance
from tests.core.flow import OPENING as FIRST_REQUESTS
from tests.replica.harness import BOUNDS, TIMINGS

JOURNALS: Final = Path(__file__).parent / "journals"
ENTRIES: Final = 300
SNAPSHOT_AFTER: Final = 130
DIGEST_EVERY: Final = 20
IDLE_STEP_NS: Final = 50_000_000_000
FIRST_TIME_NS: Final = 1_767_225_600_000_000_000
_ADMINISTRATION: Final = Profile(("admin", "new"), accounts=("op", "a", "b"))

# The market of `tests/core/flow.py`: few prices, small quantities, low limits.
CLUSTER: Final = """\
[cluster]
name = "golden"
id = "golden-1"
default_account = "op"

[[nodes]]
id = 1
host = "127.0.0.1"
raft_port = 7001
client_port = 7101
http_port = 8001

[[instruments]]
symbol = "A"
base = "OIL"
quote = "EUR"
tick_size = "0.01"
lot_size = "1"
qty_max = "6"
price_min = "-0.04"
price_max = "0.04"

[[instruments]]
symbol = "B"
base = "GAS"
quote = "EUR"
tick_size = "0.5"
lot_size = "10"
qty_max = "50"
price_min = "-2"
price_max = "2"
band_low = "-1"
band_high = "1"
notional_max = "30"
collar = "0.5"
reference_price = "0"

[[accounts]]
name = "op"
operator = true

[[accounts]]
name = "a"

[[accounts]]
name = "b"

[bounds]
sessions_max = 7
sessions_per_account_max = 3
session_idle_ms = 60000
reply_window = 1024
closed_orders_max = 3
open_orders_max = 6
book_orders_max = 8
instruments_max = 4
trades_kept = 3
"""


class _Waiter:
    def replied(self, reply: Reply, applied: Applied) -> None: ...

    def refused(self, session_id: int, request_seq: int, code: Reject, message: str) -> None:
        raise AssertionError(f"{session_id} {request_seq}: {code.name} {message}")


class _Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def write(folder: Path) -> None:
    """Write one golden journal into a folder that does not exist yet."""
    folder.mkdir(parents=True)
    (folder / "cluster.toml").write_text(CLUSTER)
    config = load_config(folder / "cluster.toml")
    digest = genesis_digest(config)
    directory = folder / "node-1"
    identity = JournalIdentity(config.cluster_id, 1, digest)
    journal = Journal.open(directory, identity, incarnation=f"{len(list(JOURNALS.iterdir())):032x}")
    store = SnapshotStore(
        directory / "snapshots", cluster_id=config.cluster_id, genesis_digest=digest
    )
    machine = Machine(genesis_of(config), entries_kept=10_000)
    clock, time_ns = _Clock(), FIRST_TIME_NS
    replica = Replica(
        1,
        configured([Member(1)]),
        machine=machine,
        log=journal,
        snapshots=store,
        maker=InlineMaker(machine, store),
        links=None,  # type: ignore[arg-type]  # there is nobody to send to
        timings=TIMINGS,
        bounds=BOUNDS,
        clock=clock,
        wall_ns=lambda: time_ns,
        rng=random.Random(1),
    )
    applied: list[Applied] = []
    replica.on_applied.append(applied.append)
    while not (replica.raft.is_leader and replica.raft.applied_index == replica.last_index > 1):
        clock.now += 0.05
        replica.turn()
    for number, requests in enumerate(_all_requests(applied)):
        time_ns += min(1_000_000 * advance(random.Random(number).choice), IDLE_STEP_NS)
        for session_id, request_seq, commands in requests:
            raw = pack_request(session_id, request_seq, commands)
            replica.submit(session_id, request_seq, raw, _Waiter())
        while replica.needs_turn() or replica.pending_count:
            replica.turn()
        if number == SNAPSHOT_AFTER:
            replica.start_snapshot()
        assert replica.fenced is None, replica.fenced
    expected = {
        "written_by": __version__,
        "engine_version": machine.exchange.engine_version,
        "index": replica.last_index,
        "snapshot_index": replica.snapshot_index,
        "state_digest": machine.state_digest(),
        "digests": {
            str(index): machine.digest_at(index)
            for index in range(2, replica.last_index + 1)
            if index % DIGEST_EVERY == 0 or index == replica.last_index
        },
    }
    journal.close()
    expected["files"] = file_digests(folder)
    (folder / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


def file_digests(folder: Path) -> dict[str, str]:
    """The sha256 of each file of a node, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "expected.json"
    }


def _all_requests(applied: list[Applied]) -> Iterator[Sequence[Request]]:
    """What each entry holds, made from what the entries before it did."""
    chooser = random.Random(20_260_101)

    def choose(options: Sequence[Any]) -> Any:
        return options[chooser.randrange(len(options))]

    flow, learned = Flow(MIXED), 0
    yield FIRST_REQUESTS
    yield from _beginning(applied)
    for number in range(ENTRIES):
        for one in applied[learned:]:
            flow.learn(one.replies)
        learned = len(applied)
        flow.profile = _profile(number)
        requests = [flow.request(choose) for _ in range(choose((1, 2, 3, 4)))]
        yield [request for request in requests if _may_be_logged(request)]


def _beginning(applied: list[Applied]) -> Iterator[list[Request]]:
    """What chance seldom brings: an instrument is created, traded, and closed with orders in it."""
    yield [(c.NO_SESSION, 7, (c.open_session("op", "first"),))]
    (session_id,) = [event[2] for event in applied[-1].replies[-1][4]]
    for number, command in enumerate(
        (
            c.set_phase("A", Phase.HALTED),
            c.new_order("A", Side.BUY, 1, 0),
            c.set_phase("A", Phase.CONTINUOUS),
            c.create_instrument(THIRD),
            c.new_order("C", Side.BUY, 2, 0),
            c.new_order("C", Side.SELL, 1, 0),
            c.set_phase("C", Phase.HALTED),
            c.set_phase("C", Phase.CLOSED),
            c.set_phase("C", Phase.CONTINUOUS),
            c.new_order("C", Side.BUY, 1, 0),
        )
    ):
        yield [(session_id, number + 1, (command,))]


def _profile(number: int) -> Profile:
    if number % 7 == 0:
        return _ADMINISTRATION
    return SELF_TRADING if number % 3 == 0 else MIXED


def _may_be_logged(request: Request) -> bool:
    """No gateway lets an empty command into the log."""
    return all(type(command) is tuple and command for command in request[2])


def main() -> int:
    JOURNALS.mkdir(exist_ok=True)
    number = 1 + max((int(path.name[:4]) for path in JOURNALS.iterdir()), default=0)
    folder = JOURNALS / f"{number:04}-engine-{ENGINE_VERSION}"
    try:
        write(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    print(f"wrote {folder}: commit it, and never change it again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
