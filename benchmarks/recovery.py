"""How long a node that was away needs: its own journal read again, a log caught up, a snapshot."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.bounds import Desk
from benchmarks.flows import SYMBOL
from raftbook.client import Client
from raftbook.core import commands as c
from raftbook.core.snapshot import export_state, restore_state
from raftbook.core.types import Side
from raftbook.errors import RaftbookError
from raftbook.wire.packing import pack, unpack
from raftbook_cli.bench.generator import Load, run_load
from raftbook_cli.bench.venue import ACCOUNT, MIDDLE, Venue, venue
from raftbook_cli.outcomes import CommandFailed, ExitCode

RESTING = 1_000_000
LOAD = Load(clients=3, per_request=100, in_flight=48, seconds=10.0)
GIVE_UP_S = 120.0
FORKS = 5


def run() -> dict[str, Any]:
    """Orders/s of a journal that is read again, of a log that is caught up; a large snapshot."""
    return {
        "journal replay": journal_replay(),
        "catching up": _catch_up(),
        "snapshot of 1,000,000 resting orders": large_snapshot(),
    }


def journal_replay() -> dict[str, Any]:
    """One node killed with all its orders in the journal, none in a snapshot."""
    with venue(1, settlement="none", bounds={"snapshot_every_entries": 10_000_000}) as running:
        empty_s = _restart_s(running, 1)
        outcome = _load(running)
        before = running.digest(1, outcome.last_index)
        seconds = _restart_s(running, 1) - empty_s
        if running.digest(1, outcome.last_index) != before:
            raise CommandFailed(ExitCode.DIFFERENT, "the journal gives another state")
    orders = outcome.answered * LOAD.per_request
    return {"orders": orders, "seconds": round(seconds, 2), "orders_per_s": round(orders / seconds)}


def _catch_up() -> dict[str, Any]:
    """A follower that was away while the others traded, and trade on."""
    with venue(3, settlement="none", bounds={"snapshot_every_entries": 10_000_000}) as running:
        away = next(each for each in running.cluster.node_ids if each != running.leader_id)
        running.cluster.kill(away)
        outcome = _load(running)
        running.cluster.start(away)
        start = time.perf_counter()
        _wait_applied(running, away, outcome.last_index)
        seconds = time.perf_counter() - start
        running.check_digests()
    orders = outcome.answered * LOAD.per_request
    return {"orders": orders, "seconds": round(seconds, 2), "orders_per_s": round(orders / seconds)}


def _load(running: Venue) -> Any:
    addresses = [running.address(each) for each in running.cluster.running_ids]
    return asyncio.run(
        run_load(
            LOAD,
            addresses,
            account=ACCOUNT,
            secret="",
            symbol=SYMBOL,
            middle=MIDDLE,
            record=lambda seconds: None,
        )
    )


def _restart_s(running: Venue, node_id: int) -> float:
    """Seconds from the start of a killed node until it has applied what it had."""
    with Client([running.address(node_id)], account=ACCOUNT) as client:
        index = client.status()["applied_index"]
    running.cluster.kill(node_id)
    start = time.perf_counter()
    running.cluster.start(node_id)
    _wait_applied(running, node_id, index)
    return time.perf_counter() - start


def _wait_applied(running: Venue, node_id: int, index: int) -> None:
    end = time.perf_counter() + GIVE_UP_S
    while time.perf_counter() < end:
        try:
            with Client([running.address(node_id)], timeout_s=1.0) as client:
                if client.status()["applied_index"] >= index:
                    return
        except (RaftbookError, OSError):
            pass
        time.sleep(0.01)
    raise TimeoutError(f"node {node_id} has not applied {index} after {GIVE_UP_S:g} s")


def large_snapshot() -> dict[str, Any]:
    """How long trading stands still for one (the fork), its bytes, and its way back."""
    desk = Desk()
    desk.say_all(
        [
            c.new_order(SYMBOL, Side.BUY, 1, 10_000 - number % 5_000, client_order_id=f"o{number}")
            for number in range(RESTING)
        ]
    )
    gc.collect()
    gc.freeze()  # as a running node has it
    pauses = sorted(_fork_ms() for _ in range(FORKS))
    start = time.process_time()
    state = pack(export_state(desk.exchange))
    export_s = time.process_time() - start
    genesis = desk.exchange.genesis
    del desk
    with TemporaryDirectory() as directory:
        path = Path(directory, "state")
        path.write_bytes(state)
        gc.disable()  # as `Machine.restore` does
        start = time.process_time()
        restore_state(genesis, unpack(path.read_bytes()))
        load_s = time.process_time() - start
        gc.enable()
    return {
        "pause_ms": {"median": pauses[FORKS // 2], "most": pauses[-1]},
        "bytes": len(state),
        "written in the child, s": round(export_s, 2),
        "loaded, s": round(load_s, 2),
    }


def _fork_ms() -> float:
    start = time.perf_counter()
    pid = os.fork()
    if not pid:
        os._exit(0)
    elapsed = time.perf_counter() - start
    os.waitpid(pid, 0)
    return round(elapsed * 1_000, 1)
