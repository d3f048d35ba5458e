"""The bug zoo: each defect of PySyncObj put back alone, to see that the simulator finds it; and a
few of our own making, which only a whole venue shows.

Owns how each mend is switched off again. A harness that cannot fail proves nothing: every cage says
what was put back, and `hunt` says how many seeds it took and which invariant caught it. What cannot
exist in a simulation on one thread is in `ELSEWHERE`, with the test that covers it.

    python -m tests.sim.zoo              the table of docs/TESTING.md, from seed 0
    python -m tests.sim.zoo F4 S13       some of it
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from raftbook.client.calls import Calls
from raftbook.client.operation import Operation
from raftbook.core import snapshot, snapshot_parts, walks
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange
from raftbook.core.ladder import Level, Order
from raftbook.errors import ProtocolError, StorageError
from raftbook.gateway.native import ClientServer
from raftbook.replica import machine, raft
from raftbook.replica.appends import term_at
from raftbook.replica.compaction import Compaction
from raftbook.replica.configurations import Configurations
from raftbook.replica.founding import Founding
from raftbook.replica.machine import Applied, Machine
from raftbook.replica.member_changes import MemberChanges
from raftbook.replica.membership import Membership
from raftbook.replica.proposer import Proposer
from raftbook.replica.raft import Raft
from raftbook.replica.replica import Replica
from raftbook.replica.shipping import Shipper
from raftbook.replica.upgrade import UNKNOWN, EngineVersions
from raftbook.storage import snapshots
from raftbook.storage.log_store import LogStore
from raftbook.wire.entry import REGULAR, pack_entry, pack_request, unpack_entry
from tests.broken_exchange import forget
from tests.sim.log import LogDisk, SimLog, State
from tests.sim.node import SimMachine
from tests.sim.world import Outcome, run_seed

SEEDS_MAX = 200
SECONDS = 20.0

Patch = contextlib.AbstractContextManager[Any]


@dataclass(frozen=True, slots=True)
class Cage:
    """One defect.

    Attributes:
        back: how it was put back, in words.
        patches: what puts it back.
        seed: one that catches it: the first that did when the table was made.
        kinds, nodes: where the usual draw meets the defect too seldom, what is drawn instead.
        members: whether the membership is changed.
        mixed: whether everything is traded in every way.
    """

    name: str
    defect: str
    back: str
    patches: Callable[[], list[Patch]]
    seed: int = 0
    kinds: dict[str, float] | None = None
    nodes: int | None = None
    members: bool = False
    mixed: bool = False


@dataclass(frozen=True, slots=True)
class Catch:
    """How a defect was caught; `outcome` is None if it was not."""

    cage: Cage
    seeds: int
    outcome: Outcome | None


@contextlib.contextmanager
def opened(cage: Cage) -> Iterator[None]:
    """Let the defect live."""
    with contextlib.ExitStack() as stack:
        for patch in cage.patches():
            stack.enter_context(patch)
        yield


def run(cage: Cage, seed: int) -> Outcome:
    """One run as this cage is hunted; the defect lives only inside `opened`."""
    return run_seed(
        seed,
        seconds=SECONDS,
        kinds=cage.kinds,
        nodes=cage.nodes,
        members=cage.members,
        mixed=cage.mixed,
    )


def hunt(cage: Cage, first: int = 0, count: int = SEEDS_MAX) -> Catch:
    """Run seeds until one catches the defect."""
    with opened(cage):
        for seed in range(first, first + count):
            outcome = run(cage, seed)
            if outcome.invariant:
                return Catch(cage, seed - first + 1, outcome)
    return Catch(cage, count, None)


def _put(target: Any, name: str, replacement: Any) -> Patch:
    return mock.patch.object(target, name, replacement)


# -- F1 F5 F7 F11: snapshots and the log ------------------------------------------------------


def _f1() -> list[Patch]:
    def fit_log(self: Compaction, header: Any) -> None:
        log = self._log
        if log.base_index == header.index and log.base_term == header.term:
            return
        if header.term > log.term:
            log.set_vote(header.term, None)
        if header.index >= log.base_index:
            log.reset(header.index, header.term)

    return [_put(Compaction, "_fit_log", fit_log)]


def _f5() -> list[Patch]:
    trim_to, sync = SimLog.trim_to, SimLog.sync

    def trim(self: SimLog, index: int) -> None:
        trim_to(self, index)
        self.__dict__["rewrites"] = True

    def rewriting_sync(self: SimLog) -> bool:
        if self.__dict__.pop("rewrites", False):
            disk = self._log_disk
            few = self.entries[: 1 + len(self.entries) // 4]
            disk.write(State(few, self.term, self.voted_for), self.base_index + 1)
            disk.sync()
            self._first_changed = self.base_index + 1
        return sync(self)

    return [_put(SimLog, "trim_to", trim), _put(SimLog, "sync", rewriting_sync)]


def _f7() -> list[Patch]:
    finish = Compaction._finish

    def finish_anyway(self: Compaction, *, succeeded: bool, log_kept: int) -> None:
        finish(self, succeeded=True, log_kept=log_kept)

    return [_put(Compaction, "_finish", finish_anyway)]


def _f11() -> list[Patch]:
    align = Compaction.align

    def align_or_empty(self: Compaction) -> int:
        try:
            return align(self)
        except StorageError:
            return self._log.base_index

    return [_put(Compaction, "align", align_or_empty)]


def _f11_unverified() -> list[Patch]:
    restore = Machine.restore

    def restore_anything(
        self: Machine, payload: bytes, *, index: int, expected_state_digest: str
    ) -> None:
        try:
            restore(self, payload, index=index, expected_state_digest=expected_state_digest)
        except ProtocolError:
            self.exchange = Exchange(self._genesis)
            self._digests[index] = self.exchange.digest.value()

    def load(self: Any, header: Any) -> bytes:
        path = self._path(index=header.index, term=header.term)
        content: bytes = path.read_bytes()
        return content[snapshots.HEADER_BYTES :]

    return [
        _put(Machine, "restore", restore_anything),
        _put(snapshots.SnapshotStore, "load", load),
    ]


# -- F2 F4 F12 F13 S13 S14: what a follower believes and a leader counts ------------------------


def _f2() -> list[Patch]:
    on_install = Raft._on_install

    def believe(self: Raft, node: Any, message: Any) -> None:
        on_install(self, node, message)
        if message["term"] >= self.term and self.leader_id == node.id:
            header = snapshots.decode_header(message["header"])
            index = min(header.index, self._log.last_index)
            self._SyncObj__raftCommitIndex = max(self.commit_index, index)

    return [_put(Raft, "_on_install", believe)]


def _f4() -> list[Patch]:
    on_append = Raft._on_append

    def cut(self: Raft, node: Any, message: Any) -> None:
        log, index = self._log, message["prev_index"]
        if message["term"] >= self.term and log.base_index <= index < log.last_index:
            if term_at(log, index) == message["prev_term"]:
                log.truncate_from(index + 1)
        on_append(self, node, message)

    return [_put(Raft, "_on_append", cut)]


def _f12_replies() -> list[Patch]:
    on_reply = Raft._on_append_reply

    def believe(self: Raft, node: Any, message: Any) -> None:
        is_late = self.is_leader and message["term"] < self.term
        on_reply(self, node, {**message, "term": self.term} if is_late else message)

    return [_put(Raft, "_on_append_reply", believe)]


def _f12_votes() -> list[Patch]:
    on_vote = Raft._on_vote

    def believe(self: Raft, node: Any, message: Any) -> None:
        is_late = self.role == "candidate" and message["term"] < self.term
        on_vote(self, node, {**message, "term": self.term} if is_late else message)

    return [_put(Raft, "_on_vote", believe)]


def _f13() -> list[Patch]:
    stored: dict[int, int] = {}
    init = Raft.__init__
    follow = Raft._on_append

    def remember(self: Raft, node: Any, message: Any) -> None:
        follow(self, node, message)
        host = _host_of(self)
        stored[host] = max(stored.get(host, 1), self.commit_index)

    def trust(self: Raft, node_id: int, *arguments: Any, **options: Any) -> None:
        init(self, node_id, *arguments, **options)
        host = _host_of(self)
        if self._SyncObj__raftCurrentTerm == 0:
            stored.pop(host, None)  # another run, or another disk
        self._SyncObj__raftCommitIndex = max(self.commit_index, stored.get(host, 1))

    def _host_of(raft: Raft) -> int:
        return int(raft.selfNode.id)

    return [_put(Raft, "_on_append", remember), _put(Raft, "__init__", trust)]


def _s13() -> list[Patch]:
    init = Shipper.__init__

    def init_blind(self: Shipper, *arguments: Any, **options: Any) -> None:
        position = options["position"]
        init(self, *arguments, **{**options, "position": lambda: (0, position()[1])})

    def installed(self: Raft, index: int, membership: Membership) -> None:
        self._SyncObj__raftLastApplied = index
        self._SyncObj__raftCommitIndex = max(index, self.commit_index)
        self._configurations.installed(membership, index)
        self._configure()

    def connected(self: Raft, peer_id: int) -> None:
        peer = self._peers[peer_id]
        if self.is_leader:
            self._SyncObj__raftMatchIndex[peer] = 1
        before(self, peer_id)

    before = Raft.connected
    return [
        _put(Shipper, "__init__", init_blind),
        _put(Raft, "installed", installed),
        _put(Raft, "connected", connected),
    ]


def _s14() -> list[Patch]:
    entries_from = raft.entries_from

    def cut(log: LogStore, index: int) -> list[tuple[bytes, int, int]]:
        entries = entries_from(log, index)
        return [(p[:-9] if len(p) % 1_024 >= 1_000 else p, i, t) for p, i, t in entries]

    return [_put(raft, "entries_from", cut)]


# -- F6 F15: the members ----------------------------------------------------------------------


def _f6() -> list[Patch]:
    obstacle = MemberChanges._obstacle

    def never_set(self: MemberChanges) -> str | None:
        reason = obstacle(self)
        return None if reason is not None and reason.startswith("another change") else reason

    return [_put(MemberChanges, "_obstacle", never_set)]


def _f15() -> list[Patch]:
    founders: list[Membership] = []
    init, found = Configurations.__init__, Founding.membership

    def remember(self: Founding) -> Membership:
        founders[:] = [found(self)]
        return founders[0]

    def start_as_founded(
        self: Configurations, base: Membership, log: LogStore, *, applied_index: int
    ) -> None:
        init(self, base, log, applied_index=applied_index)
        if base.is_founded:
            self._stack = [replace(founders[0], index=base.index)]
        else:
            del self._stack[2:]  # what no snapshot covers yet begins with the founding

    return [
        _put(Founding, "membership", remember),
        _put(Configurations, "__init__", start_as_founded),
    ]


# -- F3 S8: the disk --------------------------------------------------------------------------


def _f3() -> list[Patch]:
    sync = LogDisk.sync

    def only_write(self: LogDisk) -> None:
        if not self.is_created:
            sync(self)

    return [_put(LogDisk, "sync", only_write)]


def _f3_order() -> list[Patch]:
    turn = Replica._turn

    def send_first(self: Replica) -> None:
        sync = self._log.sync

        def send_and_sync() -> bool:
            self._send()
            return sync()

        with mock.patch.object(self._log, "sync", send_and_sync):
            turn(self)

    return [_put(Replica, "_turn", send_first)]


def _f3_vote() -> list[Patch]:
    write = LogDisk.write

    def without_vote(self: LogDisk, state: State, first_changed: int) -> None:
        write(self, State(state.entries, state.term, None), first_changed)

    return [_put(LogDisk, "write", without_vote)]


def _s8() -> list[Patch]:
    sync = SimLog.sync

    def pretend(self: SimLog) -> bool:
        disk = self._log_disk
        if self.dirty and (disk.write_error or disk.sync_error):
            self.dirty = False
            return True
        return sync(self)

    return [_put(SimLog, "sync", pretend)]


# -- F8 F9 F10: applying ------------------------------------------------------------------------


def _f8() -> list[Patch]:
    def apply_again(self: Raft) -> None:
        while self.commit_index > self.applied_index:
            position = self.applied_index + 1 - self._log.base_index
            payload, index, term = self._log.entries[position]
            self._apply(index, term, payload)
            replica = self._apply.__self__  # type: ignore[attr-defined]
            replies = replica._answers._replies
            if replies and index % 40 == 0:
                replies.clear()  # a callback raised
                return
            self._SyncObj__raftLastApplied = index

    return [_put(Raft, "apply_committed", apply_again)]


def _f9() -> list[Patch]:
    apply = SimMachine.apply

    def apply_twice(self: SimMachine, index: int, term: int, payload: bytes) -> Applied | None:
        if self._host.node_id == 1 and index > 40 and payload[:1] == REGULAR:
            entry = unpack_entry(index, payload[1:])
            doubled = [pack_request(s, q, (*c, *c)) for s, q, c in entry.requests]
            applied = Machine.apply(self, index, term, REGULAR + pack_entry(entry.time_ns, doubled))
            digest = self.exchange.digest.value()
            self._host.applied.append((index, term, payload, digest))
            return applied
        return apply(self, index, term, payload)

    return [_put(SimMachine, "apply", apply_twice)]


def _f10() -> list[Patch]:
    read_entry = machine._read_entry

    def bug(index: int, payload: bytes) -> Entry:
        entry = read_entry(index, payload)
        if any(len(c) > 6 and c[5] == 7 and c[6] == 101 for _, _, cs in entry.requests for c in cs):
            raise ZeroDivisionError("a bug in the book")
        return entry

    def guard(self: Replica, action: Callable[[], None]) -> None:
        with contextlib.suppress(ZeroDivisionError):
            action()

    return [_put(machine, "_read_entry", bug), _put(Replica, "_guard", guard)]


# -- F14 and the promises to clients ------------------------------------------------------------


def _f14() -> list[Patch]:
    return [
        _put(Proposer, "expire", lambda self, now: []),
        _put(Proposer, "resend_all", lambda self: None),
    ]


def _dedupe() -> list[Patch]:
    apply = Machine.apply

    def apply_again(self: Machine, index: int, term: int, payload: bytes) -> Applied | None:
        if payload[:1] == REGULAR:
            forget(self.exchange, machine._read_entry(index, payload))
        return apply(self, index, term, payload)

    return [_put(Machine, "apply", apply_again)]


def _barrier() -> list[Patch]:
    async def no_barrier(self: ClientServer) -> None:
        return None

    return [_put(ClientServer, "barrier", no_barrier)]


def _s10() -> list[Patch]:
    def stand_at_once(self: Raft) -> None:
        self._may_stand = self._is_eligible()
        self._SyncObj__raftElectionDeadline = 0.0

    return [_put(Raft, "_ask_pre_votes", stand_at_once)]


# -- O1 O2: an older file, another process -----------------------------------------------------


def _mark_passed_over() -> list[Patch]:
    return [_put(Founding, "forbid", lambda self, remedy: None)]


def _repeats_believed() -> list[Patch]:
    request = Calls.request

    def first(self: Calls, *args: Any, **options: Any) -> Operation:
        return request(self, *args, **options | {"is_first": True})

    return [_put(Calls, "request", first)]


# -- U1: upgrades -----------------------------------------------------------------------------


def _absent_uncounted() -> list[Patch]:
    def common(self: EngineVersions, peer_ids: Iterable[int]) -> int:
        told = [self._known[peer_id] for peer_id in peer_ids if peer_id in self._known]
        return min(told, default=UNKNOWN)

    return [_put(EngineVersions, "common", common)]


# -- M1 M2 M3: what only a mixed market shows -------------------------------------------------


def _fees_forgotten() -> list[Patch]:
    restore = snapshot.restore_order

    def forget_fees(order: Order, value: Any) -> None:
        restore(order, value)
        order.fee_units = 0

    return [_put(snapshot, "restore_order", forget_fees)]


def _ends_forgotten() -> list[Patch]:
    return [_put(snapshot_parts, "_restore_links", lambda exchange, order, *, is_past: None)]


def _own_orders_counted() -> list[Patch]:
    def open_at(level: Level, *_: Any) -> tuple[int, bool]:
        return sum(maker.leaves_qty for maker in level), False

    return [_put(walks, "_open_at", open_at)]


SPOILED = {"lose_snapshot": 5.0, "damage_snapshot": 5.0, "kill": 3.0, "snapshot": 4.0}
"""Snapshots that cannot be read."""

RECONNECTS = {"reset": 10.0, "snapshot": 4.0}
"""Connections that are made anew, to a leader whose log begins late."""

CAGES: tuple[Cage, ...] = (
    Cage(
        "F1",
        "restart after the snapshot, before the trim: the log's tail is cleared",
        "the log is reset to the snapshot unless it begins there",
        _f1,
    ),
    Cage(
        "F2",
        "a message that proves nothing moves the commit index",
        "pieces of a snapshot raise it over the follower's own tail",
        _f2,
        seed=63,
    ),
    Cage("F3", "nothing is synced before an acknowledgement", "sync only writes", _f3),
    Cage(
        "F3 order",
        "messages leave before the sync of their turn",
        "sent first, then synced",
        _f3_order,
    ),
    Cage("F3 vote", "the vote is not durable", "the vote is left out of the transaction", _f3_vote),
    Cage(
        "F4",
        "a follower truncates on every overlap",
        "cut after prev_index, then appended",
        _f4,
        seed=2,
    ),
    Cage("F5", "compaction rewrites the file", "trim clears and writes again in two steps", _f5),
    Cage(
        "F6",
        "the guard against overlapping changes of members is never set",
        "the leader begins a change while another is not committed",
        _f6,
        members=True,
    ),
    Cage(
        "F7",
        "the log is trimmed although no snapshot was written",
        "a failed snapshot counts as written",
        _f7,
        seed=16,
    ),
    Cage(
        "F8",
        "an exception in a callback applies the order again",
        "an answer to be given at every 40th entry fails, and the index stays",
        _f8,
    ),
    Cage(
        "F9",
        "another code version applies twice on one node",
        "node 1 runs each command twice from entry 41 on",
        _f9,
    ),
    Cage(
        "F10",
        "an exception in apply stops the whole cluster for good",
        "an order makes apply raise, no fence",
        _f10,
    ),
    Cage(
        "F11",
        "an unreadable snapshot means an empty book",
        "a node without a readable snapshot starts empty",
        _f11,
        kinds=SPOILED,
    ),
    Cage(
        "F11 load",
        "snapshots are not verified",
        "no checksum at load; a state that cannot be read is an empty one",
        _f11_unverified,
        seed=16,
    ),
    Cage(
        "F12",
        "replies carry no term",
        "a leader takes replies to an earlier one for its own",
        _f12_replies,
        seed=12,
        kinds={"stale_reply": 1.0},
        nodes=5,
    ),
    Cage(
        "F12 vote",
        "votes are counted whatever they were for",
        "a candidate takes votes of an earlier term for its own",
        _f12_votes,
        kinds={"stale_vote": 1.0},
        nodes=5,
    ),
    Cage(
        "F13",
        "the stored commit index is trusted over a shorter log",
        "the commit index outlives the process, unsynced log or not",
        _f13,
        seed=23,
    ),
    Cage("F14", "requests never end", "no deadline and no second forward", _f14, seed=1),
    Cage(
        "F15",
        "members are not restored at a start",
        "who has a past starts with the founders as members, whatever log and snapshot say",
        _f15,
        members=True,
    ),
    Cage("S8", "a full disk is not an error", "a failed write counts as synced", _s8, seed=2),
    Cage("S10", "a returning node deposes the leader", "no pre-vote", _s10),
    Cage(
        "S13",
        "a snapshot moves the state backwards",
        "no comparison with the applied index",
        _s13,
        kinds=RECONNECTS,
        nodes=3,
    ),
    Cage(
        "S14",
        "entries near k times the batch size are cut",
        "their last bytes are lost",
        _s14,
        seed=6,
    ),
    Cage("P2", "a retried request takes effect again", "no dedupe in the session", _dedupe),
    Cage("P3", "linearizable reads from local state", "no barrier entry", _barrier),
    Cage(
        "O1",
        "a cluster.toml that is older than the cluster founds another one",
        "the mark of a node whose directory was lost is passed over",
        _mark_passed_over,
        seed=51,
    ),
    Cage(
        "O2",
        "a repeat that brings no answer is told to have had no effect",
        "what another process may have sent is not thought of",
        _repeats_believed,
    ),
    Cage(
        "U1",
        "newer rules are put in force before every member has them",
        "members that are not connected are not asked",
        _absent_uncounted,
    ),
    Cage(
        "M1",
        "fees are rounded anew after a snapshot",
        "an order that is read from one has paid none so far",
        _fees_forgotten,
        mixed=True,
    ),
    Cage(
        "M2",
        "a snapshot forgets whose time will be up",
        "links of orders to their ends and pairs are not made again",
        _ends_forgotten,
        mixed=True,
    ),
    Cage(
        "M3",
        "fill or kill counts on what it will not trade with",
        "a dry run counts own orders, on every node alike",
        _own_orders_counted,
        mixed=True,
    ),
)

ELSEWHERE = {
    "S4": "a listener that runs out of descriptors: tests/replica/zoo/test_port.py, real sockets",
    "S6": "frames without a bound: tests/replica/zoo/test_port.py, real sockets",
}


def row(catch: Catch) -> str:
    """One line of the table."""
    cage, outcome = catch.cage, catch.outcome
    is_aimed = cage.kinds or cage.nodes or cage.members or cage.mixed
    name = f"{cage.name}{'*' if is_aimed else ''}"
    caught = "NOT CAUGHT" if outcome is None else outcome.invariant
    seed = "" if outcome is None else outcome.seed
    return f"| {name} | {cage.defect} | {cage.back} | {caught} | {catch.seeds} | {seed} |"


def main(names: list[str]) -> int:
    """Print the table; 1 if a defect got away."""
    print(
        "| id | defect | put back | caught by | seeds it took | seed |\n|---|---|---|---|---|---|"
    )
    escaped = 0
    for cage in CAGES:
        if names and cage.name not in names:
            continue
        catch = hunt(cage)
        print(row(catch), flush=True)
        if catch.outcome is None:
            escaped += 1
        else:
            print(f"{cage.name}: {catch.outcome.message[:200]}", file=sys.stderr, flush=True)
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
