"""What one would write first: stock PySyncObj, one replicated call per order, the same core book.

Three processes, its default batch mode, its own journal (which does not sync) and transport. Each
process submits orders and waits for the callback of each, as many under way as our own cluster
gets with long requests. Runs in processes that never import raftbook.replica, whose seams would
mend it. The only rival that matches orders.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.rivals.load import percentiles_ms
from benchmarks.rivals.servers import Failed, free_ports, version_of

NODES = 3
IN_FLIGHT = 4_800
"""Orders under way in each process: as many as benchmarks.cluster has to each node."""

SAMPLED = 10
"""Every so many orders one is timed."""

START_S = 60.0


def run(seconds: float) -> dict[str, Any]:
    """Orders/s acknowledged by all three processes together."""
    ports = free_ports(NODES)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    with TemporaryDirectory(prefix="raftbook-stock-") as directory, ExitStack() as stack:
        peers: list[subprocess.Popen[str]] = []
        for number, own in enumerate(addresses):
            others = [address for address in addresses if address != own]
            journal = str(Path(directory) / f"journal-{number}")
            module = [sys.executable, "-m", "benchmarks.rivals.stock_pysyncobj"]
            arguments = [*module, str(seconds), own, journal, *others]
            peer = subprocess.Popen(arguments, stdin=PIPE, stdout=PIPE, text=True)
            peers.append(stack.enter_context(peer))  # whose pipes are closed at the end
        watchdog = threading.Timer(START_S + seconds * 6, _kill, [peers])
        watchdog.start()
        try:
            _say_each(peers)  # all are ready: begin
            lines = _say_each(peers)  # all have counted: nobody is needed any longer
        finally:
            watchdog.cancel()
            _kill(peers)
    told = [json.loads(line) for line in lines]
    return {
        "orders_per_s": round(sum(each["rate"] for each in told)),
        "latency_ms": percentiles_ms([taken for each in told for taken in each["taken"]]),
        "settings": {
            "nodes": NODES,
            "durability": "its own journal, which never syncs",
            "orders_per_call": 1,
            "calls_in_flight": NODES * IN_FLIGHT,
            "client": "in the nodes' own processes",
        },
        "version": version_of("pysyncobj"),
    }


def _say_each(peers: list[subprocess.Popen[str]]) -> list[str]:
    """Waits for a line of each, then lets all go on; what they said."""
    lines = [peer.stdout.readline() for peer in peers if peer.stdout is not None]
    if not all(lines):
        raise Failed("a node of stock PySyncObj ended, or did nothing for too long")
    for peer in peers:
        if peer.stdin is not None:
            peer.stdin.write("\n")
            peer.stdin.flush()
    return lines


def _kill(peers: list[subprocess.Popen[str]]) -> None:
    for peer in peers:
        peer.kill()
        peer.wait()


def _serve(seconds: float, own: str, journal: str, others: list[str]) -> None:
    import random
    import threading
    import time
    from functools import partial

    from pysyncobj import SyncObj, SyncObjConf, replicated

    from benchmarks.flows import SYMBOL, genesis
    from raftbook.core.commands import Entry, new_order, open_session
    from raftbook.core.exchange import Exchange
    from raftbook.core.types import Side

    class ReplicatedBook(SyncObj):  # type: ignore[misc]
        def __init__(self) -> None:
            # Its compaction pickles the live book recursively and fails: leave it out.
            conf = SyncObjConf(
                journalFile=journal, logCompactionMinEntries=10**9, logCompactionMinTime=10**6
            )
            super().__init__(own, others, conf)
            self._exchange = Exchange(genesis())
            self._exchange.apply(Entry(1, 1, ((0, 1, (open_session("bench", "b"),)),)))
            self._seq = 0

        @replicated  # type: ignore[untyped-decorator]
        def submit(self, command: tuple[Any, ...]) -> int:
            self._seq += 1
            reply = self._exchange.apply(Entry(self._seq + 1, 1, ((1, self._seq, (command,)),)))
            return len(reply)

    book = ReplicatedBook()
    while not book.isReady():
        time.sleep(0.05)
    _take_turns("ready")
    chance = random.Random(own)
    places = threading.Semaphore(IN_FLIGHT)
    done = 0
    taken: list[float] = []

    def acknowledged(result: Any, error: Any) -> None:
        nonlocal done
        done += error == 0
        places.release()

    def timed(sent: float, result: Any, error: Any) -> None:
        if error == 0:
            taken.append(time.perf_counter() - sent)
        acknowledged(result, error)

    submitted = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        if places.acquire(timeout=0.1):
            side = chance.choice((Side.BUY, Side.SELL))
            price = 10_000 + chance.randint(-20, 20)
            command = new_order(SYMBOL, side, chance.randint(1, 4), price)
            is_timed = submitted % SAMPLED == 0
            submitted += 1
            callback = partial(timed, time.perf_counter()) if is_timed else acknowledged
            book.submit(command, callback=callback)
    rate = done / (time.perf_counter() - start)
    # It stays a member until the others have counted, too.
    _take_turns(json.dumps({"rate": rate, "taken": taken}))
    book.destroy()


def _take_turns(line: str) -> None:
    """Says a line and waits until all have said theirs."""
    print(line, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    _serve(float(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
