"""What one would write first: stock PySyncObj, one replicated call per order, the same core book.

Three processes, its default batch mode, its own journal (which does not sync) and transport. Each
process submits orders and waits for the callback of each, as many under way as our own cluster
gets. Runs in processes that never import raftbook.replica, whose seams would mend it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.processes import free_ports

SECONDS = 8
IN_FLIGHT = 4_800
"""Orders under way in each process: as many as benchmarks.cluster has to each node."""


def run() -> dict[str, Any]:
    """Orders/s acknowledged by all three processes together."""
    ports = free_ports(3)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    with TemporaryDirectory(prefix="raftbook-stock-") as directory:
        peers = []
        for number, own in enumerate(addresses):
            others = [address for address in addresses if address != own]
            journal = str(Path(directory) / f"journal-{number}")
            arguments = [sys.executable, "-m", "benchmarks.stock", own, journal, *others]
            peers.append(subprocess.Popen(arguments, stdout=subprocess.PIPE))
        try:
            outputs = [peer.communicate(timeout=SECONDS * 6)[0] for peer in peers]
        finally:
            for peer in peers:
                peer.kill()
                peer.wait()
    return {"orders_per_s": round(sum(json.loads(output)["rate"] for output in outputs))}


def _serve(own: str, journal: str, others: list[str]) -> None:
    import random
    import threading
    import time

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
    chance = random.Random(own)
    places = threading.Semaphore(IN_FLIGHT)
    done = 0

    def acknowledged(result: Any, error: Any) -> None:
        nonlocal done
        done += error == 0
        places.release()

    start = time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        if places.acquire(timeout=0.1):
            side = chance.choice((Side.BUY, Side.SELL))
            price = 10_000 + chance.randint(-20, 20)
            command = new_order(SYMBOL, side, chance.randint(1, 4), price)
            book.submit(command, callback=acknowledged)
    rate = done / (time.perf_counter() - start)
    print(json.dumps({"rate": rate}), flush=True)
    time.sleep(2)  # stay a member until the others have counted, too
    book.destroy()


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], sys.argv[3:])
