"""Where the time of an order goes: each stage of its life alone, on one core, then node by node.

The orders are those of `cluster.py`, in requests as long as there, ten to an entry. What counts is
processor time, the best of many rounds. Sockets, the loop and the kernel are not in it: they cost
by request and by turn, and waiting for the disk costs no processor.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cluster import LONG_REQUESTS, commands
from benchmarks.flows import genesis
from raftbook.client.calls import framed
from raftbook.core.commands import Entry, open_session
from raftbook.core.events import Reply
from raftbook.core.exchange import Exchange
from raftbook.feed.stream import FeedHistory
from raftbook.gateway.forms import forms_error
from raftbook.gateway.privacy import private_view
from raftbook.storage.journal import Journal, JournalIdentity
from raftbook.wire.client_messages import REPLY, REQUEST, packed_request, read_message
from raftbook.wire.entry import REGULAR, pack_entry, read_requests, unpack_entry
from raftbook.wire.framing import HEADER_BYTES, frame
from raftbook.wire.packing import pack

PER_REQUEST = LONG_REQUESTS.per_request
ENTRIES = 2
PER_ENTRY = 10
ROUNDS = 200

Stages = dict[str, Callable[[], Any]]


def run() -> dict[str, Any]:
    """Microseconds an order: every stage, and what follows for a leader, a follower, a client."""
    with TemporaryDirectory(prefix="raftbook-bench-") as directory:
        journal = Journal.open(Path(directory), JournalIdentity("bench", 1, "00"))
        try:
            times = _measure(_stages(journal))
        finally:
            journal.close()
    at_the_door = (times["gateway: request"] + times["gateway: reply"]) / 3
    everywhere = times["journal"] + times["apply"] + times["feed"] + at_the_door
    leader = everywhere + times["leader: forwarded request"] * 2 / 3 + times["leader: entry"]
    return {
        "stage_us": {name: round(us, 2) for name, us in times.items()},
        "leader_us": round(leader, 2),
        "follower_us": round(everywhere + times["follower: entry"], 2),
        "client_us": round(times["client: request"] + times["client: reply"], 2),
    }


def _measure(stages: Stages) -> dict[str, float]:
    orders = ENTRIES * PER_ENTRY * PER_REQUEST
    best = dict.fromkeys(stages, float("inf"))
    for _ in range(ROUNDS):
        for name, stage in stages.items():
            start = time.process_time()
            stage()
            best[name] = min(best[name], (time.process_time() - start) * 1e6 / orders)
    return best


def _stages(journal: Journal) -> Stages:
    chance = random.Random(7)
    requests = [tuple(commands(chance, PER_REQUEST)) for _ in range(ENTRIES * PER_ENTRY)]
    frames = [_request_frame(seq, request) for seq, request in enumerate(requests, start=1)]
    raws = [packed_request(payload) for payload in frames]
    batches = [raws[start : start + PER_ENTRY] for start in range(0, len(raws), PER_ENTRY)]
    payloads = [pack_entry(1, batch) for batch in batches]
    entries = [unpack_entry(index, payload) for index, payload in enumerate(payloads, start=2)]
    replies = _apply(entries)
    answers = [_reply(reply) for reply in replies]
    feed = FeedHistory(10_000)
    return {
        "client: request": lambda: [
            _request_frame(seq, request) for seq, request in enumerate(requests, start=1)
        ],
        "gateway: request": lambda: [
            (forms_error(read_message(payload)[3]), packed_request(payload)) for payload in frames
        ],
        "leader: forwarded request": lambda: read_requests(raws),
        "leader: entry": lambda: [pack_entry(1, batch) for batch in batches],
        "follower: entry": lambda: [unpack_entry(2, payload) for payload in payloads],
        "journal": lambda: _write(journal, payloads),
        "apply": lambda: _apply(entries),
        "feed": lambda: feed.add(1, 1, replies),
        "gateway: reply": lambda: [_reply(reply) for reply in replies],
        "client: reply": lambda: [read_message(answer[HEADER_BYTES:]) for answer in answers],
    }


def _request_frame(seq: int, request: tuple[Any, ...]) -> bytes:
    return framed(REQUEST, 1, seq, packed=pack(request))[HEADER_BYTES:]


def _reply(reply: Reply) -> bytes:
    session_id, request_seq, index, offset, events, poss_dup = reply
    view = private_view(events, "bench")
    message = (REPLY, session_id, request_seq, index, 1, 1, offset, view, poss_dup, 1)
    return frame(pack(message))


def _apply(entries: list[Entry]) -> list[Reply]:
    exchange = Exchange(genesis())
    exchange.apply(Entry(1, 1, ((0, 1, (open_session("bench", "b"),)),)))
    replies: list[Reply] = []
    for entry in entries:
        replies += exchange.apply(entry)
        exchange.digest.value()
    return replies


def _write(journal: Journal, payloads: list[bytes]) -> None:
    """Each entry in a sync of its own."""
    if not journal.term:
        journal.set_vote(1, None)
    for payload in payloads:
        journal.append(REGULAR + payload, journal.last_index + 1, 1)
        journal.sync()
