"""The parts of the chaos harness that would hide a fault if they were wrong."""

import random
import socket
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftbook.core.commands import Entry, new_order, open_session
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.core.types import Side
from raftbook.feed.stream import FeedHistory
from raftbook.replica.machine import Machine
from raftbook.storage.journal import Journal, JournalIdentity
from raftbook.wire.entry import REGULAR, pack_entry
from raftbook.wire.packing import pack
from tests.chaos.archive import WholeLog, keep_applied, whole_log
from tests.chaos.judgement import contradictions, node_complaints
from tests.chaos.link_troubles import LINKS
from tests.chaos.load import Tally
from tests.chaos.nemeses import PROCESSES
from tests.chaos.proxy import Proxies
from tests.chaos.runner import percentiles
from tests.chaos.streams import judge_streams
from tests.checkers.history import ACKNOWLEDGED, History, Request
from tests.e2e.ports import HOST, free_ports


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while piece := connection.recv(65_536):
                    connection.sendall(piece)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _hear(port: int) -> bytes:
    with socket.create_connection((HOST, port), timeout=20) as link:
        return link.recv(100)


def test_a_proxy_passes_holds_resets_and_cuts(echo: int) -> None:
    (port,) = free_ports(1)
    with Proxies({"1-2": (port, echo)}) as proxies:
        with socket.create_connection((HOST, port), timeout=20) as link:
            link.sendall(b"passes")
            assert link.recv(100) == b"passes"
            proxies.change("1-2", mode="hold")
            link.sendall(b"waits")
            link.settimeout(0.2)
            with pytest.raises(TimeoutError):
                link.recv(100)
            link.settimeout(20)
            proxies.change("1-2", mode="open")
            assert link.recv(100) == b"waits"
            proxies.change("1-2", reset_after=3)
            link.sendall(b"in the middle")
            with pytest.raises(ConnectionResetError):  # noqa: PT012 - what came before it may be read
                while link.recv(100):
                    pass
        proxies.change("1-2", mode="refuse")
        with pytest.raises(ConnectionResetError):
            _hear(port)
        proxies.heal()
        assert proxies.used() == {"1-2": 2}
        (later,) = free_ports(1)
        proxies.add({"1-3": (later, echo)})
        with socket.create_connection((HOST, later), timeout=20) as link:
            link.sendall(b"new")
            assert link.recv(100) == b"new"
        assert proxies.names == ("1-2", "1-3")
        with socket.create_connection((HOST, port), timeout=20) as link:
            link.sendall(b"again")
            assert link.recv(100) == b"again"


def test_the_whole_log_is_put_together_and_a_changed_entry_is_seen(tmp_path: Path) -> None:
    def rows(**changed: int) -> list[tuple[bytes, int, int]]:
        times = {"e2": 2, "e3": 3, "e4": 4} | changed
        return [(REGULAR + pack_entry(time_ns, ()), int(name[1:]), 2)
                for name, time_ns in times.items()]  # fmt: skip

    log = WholeLog()
    log.add(rows(), "a", committed=3)
    assert log.gaps(4) == [4]
    log.add(rows(e4=9), "b", committed=4)
    assert (log.gaps(4), log.problems) == ([], [])
    assert [(entry.index, entry.time_ns) for entry in log.entries()] == [(2, 2), (3, 3), (4, 9)]
    log.add(rows(e3=7), "c", committed=3)
    assert len(log.problems) == 1
    assert log.problems[0].startswith("entry 3 is of term 2 in a, of term 2 in c")


def test_what_a_node_applied_is_held_however_soon_its_log_is_trimmed(tmp_path: Path) -> None:
    """Node 1 trims what nobody else has in its log: node 2 came by a snapshot of entry 6."""
    applied, data = tmp_path / "applied", tmp_path / "data"
    genesis = Genesis((), (("ann", False),), Limits())
    payloads = {index: pack_entry(index, ()) for index in range(2, 10)}
    for node_id, first in ((1, 2), (2, 7)):
        end = keep_applied(applied / f"{node_id:04d}-node-{node_id}")
        try:
            machine = Machine(genesis, entries_kept=10)
            for index in range(first, 10):
                machine.apply(index, 2, REGULAR + payloads[index])
        finally:
            end()
    journal = Journal.open(data / "node-1", JournalIdentity("c", 1, "g"))
    journal.set_vote(2, None)
    for index, payload in payloads.items():
        journal.append(REGULAR + payload, index, 2)
    journal.sync()
    journal.trim_to(8)
    journal.sync()
    journal.close()
    log, gaps = whole_log(applied, [data / "node-1"], 9)
    assert (gaps, log.problems) == ([], [])
    assert [entry.index for entry in log.entries()] == list(range(2, 10))
    # A kill in the middle of a write loses that entry alone, and it is in the journal still.
    for record in applied.iterdir():
        record.write_bytes(record.read_bytes()[:-1])
    assert whole_log(applied, [], 9)[1] == [9]
    assert whole_log(applied, [data / "node-1"], 9)[1] == []


def test_only_a_full_disk_excuses_a_fence(tmp_path: Path) -> None:
    full = "node 1 (h:1) is fenced (no_space) at entry 7: journal: disk full (database or disk is"
    other = "node 1 (h:1) is fenced (broken) at entry 7: entry 6 differs"
    (tmp_path / "node-1.log").write_text(f"{full}\nall is well\n")
    assert node_complaints(tmp_path, 1) == []
    (tmp_path / "node-1.log").write_text(f"{full}\n{other}\nTraceback (most recent call last):\n")
    assert node_complaints(tmp_path, 1) == [
        f"node 1 said: {other}",
        "node 1 said: Traceback (most recent call last):",
    ]


def test_only_a_node_that_was_removed_may_be_fenced_for_that(tmp_path: Path) -> None:
    removed = "node 1 (h:1) is fenced (removed) at entry 7: node 1 was removed from the cluster"
    (tmp_path / "node-1.log").write_text(f"{removed}\n")
    assert node_complaints(tmp_path, 1) == [f"node 1 said: {removed}"]
    assert node_complaints(tmp_path, 1, is_removed=True) == []


def test_the_end_of_a_failover_is_the_first_answer_that_only_a_later_leader_can_have_given() -> (
    None
):
    tally = Tally()
    tally.acknowledge(term=4, invoked=9.0, at=9.5)
    tally.acknowledge(term=0, invoked=9.9, at=10.4)  # it may have been the dead leader's
    assert tally.first_ack_after(4, killed=10.0) is None
    tally.acknowledge(term=0, invoked=10.1, at=10.7)
    assert tally.first_ack_after(4, killed=10.0) == 10.7
    tally.acknowledge(term=5, invoked=9.8, at=10.6)
    assert tally.first_ack_after(4, killed=10.0) == 10.6
    assert tally.first_ack_after(5, killed=11.0) is None


def test_one_order_id_for_two_requests_is_a_contradiction() -> None:
    def row(seq: int, order_id: int) -> Request:
        event = (1, seq, (order_id, "anna", "", "A", (1, 2, 1, 0, 0), 1, 5))
        return Request("anna", "k", seq, (), 1, 2, ACKNOWLEDGED, events=(event,))

    assert contradictions(History([row(1, 7), row(2, 8)])) == []
    assert contradictions(History([row(1, 7), row(2, 7)])) == [
        "doubled: order 7 is of ('anna', 'k', 1) and of ('anna', 'k', 2)"
    ]


def test_a_stream_that_leaves_out_repeats_or_invents_is_seen() -> None:
    terms = InstrumentTerms("BTC-USD", "BTC", "USD", "0.01", "0.001", 1_000, 1, 1_000)
    genesis = Genesis((terms,), (("ann", False),), Limits())
    orders = tuple((1, seq, (new_order("BTC-USD", Side.BUY, 1, seq),)) for seq in (1, 2, 3))
    entries = [Entry(2, 5, ((0, 1, (open_session("ann", "k"),)),)), Entry(3, 6, orders)]
    exchange, feed = Exchange(genesis), FeedHistory(100)
    for entry in entries:
        feed.add(entry.index, entry.time_ns, exchange.apply(entry))
    messages = feed.since("BTC-USD", 0) or ()
    good = [(message[0], message[1], zlib.crc32(pack(message))) for message in messages]
    assert [seq for seq, _, _ in good] == [1, 2, 3]

    def faults(rows: list[tuple[int, int, int]]) -> list[str]:
        return judge_streams({"BTC-USD": rows}, entries, genesis)[1]

    assert faults(good) == []
    assert faults([*good, (4, 9, 7)]) == []  # of an entry after the last that was taken down
    assert faults([(2, 3, -1), good[2]]) == []  # the book as a whole, and then what followed
    assert faults(good[:2]) == ["BTC-USD: the last message told is 2, of 3"]
    assert faults([good[0], good[2]]) == ["BTC-USD: message 3 came after 1"]
    assert faults([good[0], *good])[0] == "BTC-USD: message 1 came after 1"
    assert faults([good[0], (2, 3, good[0][2]), good[2]]) == ["BTC-USD: message 2 is not the log's"]


def test_the_seed_draws_every_trouble() -> None:
    for table in (PROCESSES, LINKS):
        deck = [name for name, (weight, _) in table.items() for _ in range(weight)]
        random.Random(1).shuffle(deck)
        assert set(deck) == set(table)
        assert all(callable(act) for _, act in table.values())


def test_percentiles_are_measurements() -> None:
    assert percentiles([]) == {}
    told = percentiles([0.3, 0.1, 0.2, 0.9])
    assert told == {"count": 4, "p50": 0.3, "p90": 0.9, "p99": 0.9, "max": 0.9, "mean": 0.375}
