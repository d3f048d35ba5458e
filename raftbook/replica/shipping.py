"""Snapshots on their way: made without stopping the node, sent to a peer that is behind the log,
received from a leader and installed.

Owns the transfer, piece by piece and bounded; the files are `storage.snapshots`'. A transfer never
touches a good file before the whole of the new one is verified (F11), and never moves the state
backwards (S13).
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from raftbook.errors import OutOfDescriptors, StorageError
from raftbook.replica.machine import Machine
from raftbook.replica.messages import Message
from raftbook.replica.reports import Reports
from raftbook.replica.upgrade import check_engine
from raftbook.storage.snapshot_header import NewerFormat, SnapshotHeader, decode_header
from raftbook.storage.snapshots import Install, SnapshotReader, SnapshotStore
from raftbook.wire.entry import UnsupportedVersion

_log = logging.getLogger(__name__)

PIECE_BYTES: Final = 256 << 10
"""One install message; the next goes out when this one is acknowledged."""
RESEND_S: Final = 1.0
"""A piece that nobody acknowledged for this long is sent again."""
VERIFY_BYTES: Final = 2 << 20
"""Read and hashed in one call, about 3 ms, of a file that is verified before it is sent."""
CHILD_S_MAX: Final = 600.0
"""A child that writes for this long hangs, and is ended: while it is there, no other snapshot is
made, and the log, which is in memory, grows."""
PUT_OFF_SAID_S: Final = 30.0
"""The log hears once in this time that snapshots have to wait."""
INCOMING_IDLE_S: Final = 30.0
"""A transfer of which no piece came, or was acknowledged, for this long is given up."""


class SnapshotMaker(Protocol):
    """Writes a snapshot of the machine as it is now; one at a time."""

    def start(self, index: int, term: int) -> None:
        """Begin; the machine may go on at once."""

    def poll(self) -> bool | None:
        """None while it runs or when there is none, then once: whether it succeeded."""


class ForkedMaker:
    """Lets a forked child write the file: it has a still image of the whole state for free.

    The child closes every descriptor it inherited, so that no port or lock outlives its parent,
    and uses no loop, socket or database. A fork that fails is a snapshot that fails; the log stays
    whole, and another is tried when it has grown as much again. So is one whose child hangs: it
    gets a SIGKILL after CHILD_S_MAX, and until it has ended (a disk may hold even that up) no other
    is begun, so that there is never more than one.

    A node may have a second thread at that moment: asyncio asks one for the address of a peer whose
    host is a name. Only the forking thread lives on in the child, so a lock that another one holds
    there stays locked. The child takes none of those: it resolves no names, logs nothing, starts no
    thread and imports nothing; what it does need, malloc and the interpreter's own locks, libc and
    Python make usable again after a fork.
    """

    def __init__(
        self, machine: Machine, store: SnapshotStore, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._machine, self._store, self._clock = machine, store, clock
        self._child: int | None = None
        self._began = 0.0
        self._could_not_fork = False

    def start(self, index: int, term: int) -> None:
        """See `SnapshotMaker.start`."""
        assert self._child is None, f"snapshot child {self._child} still runs"
        try:
            pid = os.fork()
        except OSError as error:
            _log.error("no process for snapshot %d: %s", index, error)
            self._could_not_fork = True
            return
        if pid:
            self._child, self._began = pid, self._clock()
            return
        status = 1
        try:
            self._write_in_child(index, term)
            status = 0
        except Exception as error:
            os.write(2, f"snapshot {index} failed: {error}\n".encode())
        finally:
            os._exit(status)

    def _write_in_child(self, index: int, term: int) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        gc.disable()
        write_snapshot(self._machine, self._store, index, term)

    def poll(self) -> bool | None:
        """See `SnapshotMaker.poll`."""
        if self._could_not_fork:
            self._could_not_fork = False
            return False
        if self._child is None:
            return None
        try:
            pid, status = os.waitpid(self._child, os.WNOHANG)
        except ChildProcessError:  # somebody else reaped it: how it ended is not known
            self._child = None
            return False
        if pid == 0:
            if self._clock() - self._began > CHILD_S_MAX:
                self._began = self._clock()
                _log.error("the snapshot's process %d hangs, and is ended", self._child)
                os.kill(self._child, signal.SIGKILL)
            return None
        self._child = None
        return os.waitstatus_to_exitcode(status) == 0

    def close(self) -> None:
        """End a child that still writes; what it leaves behind is removed at the next start."""
        if self._child is not None:
            try:
                os.kill(self._child, signal.SIGKILL)
                os.waitpid(self._child, 0)
            except (ProcessLookupError, ChildProcessError):
                pass  # it has ended, and somebody else reaped it
            self._child = None


class InlineMaker:
    """Writes the file at once, stopping the node for that long: for simulations."""

    def __init__(self, machine: Machine, store: SnapshotStore) -> None:
        self._machine, self._store = machine, store
        self._result: bool | None = None

    def start(self, index: int, term: int) -> None:
        """See `SnapshotMaker.start`."""
        try:
            write_snapshot(self._machine, self._store, index, term)
            self._result = True
        except StorageError:
            self._result = False

    def poll(self) -> bool | None:
        """See `SnapshotMaker.poll`."""
        result, self._result = self._result, None
        return result


def write_snapshot(machine: Machine, store: SnapshotStore, index: int, term: int) -> SnapshotHeader:
    """Write the machine's state as the snapshot of (index, term)."""
    membership = machine.membership
    return store.write(
        index=index,
        term=term,
        members=() if membership is None else membership.ids,
        state_digest=machine.state_digest(),
        chunks=machine.snapshot_chunks(),
        engine_version=machine.exchange.engine_version,
    )


@dataclass(slots=True)
class _Outgoing:
    reader: SnapshotReader
    header: SnapshotHeader
    offset: int = 0
    sent_at: float = -RESEND_S
    moved_at: float = 0.0


class Shipper:
    """Snapshot transfers of one node, one per lagging peer, one incoming.

    Args:
        installed: called with the header of a complete, verified file; makes it the state.
        position: (applied_index, current term) of this node.
        founding: of the membership in this node's log.
        wanted: called when there is no whole snapshot to send: one should be made.

    Attributes:
        waits_for: what this node lacks to take the snapshot that it is sent, None for nothing.
    """

    def __init__(
        self,
        store: SnapshotStore,
        *,
        clock: Callable[[], float],
        send: Callable[[int, Message], None],
        installed: Callable[[SnapshotHeader], None],
        position: Callable[[], tuple[int, int]],
        founding: Callable[[], str],
        wanted: Callable[[], None],
        reports: Reports,
    ) -> None:
        self._store, self._clock, self._send, self._reports = store, clock, send, reports
        self._installed, self._position, self._wanted = installed, position, wanted
        self._founding = founding
        self._outgoing: dict[int, _Outgoing] = {}
        self._incoming: tuple[bytes, Install] | None = None
        self._received_at = 0.0
        self._whole: tuple[int, int] = (0, 0)  # (index, term) of the file that was read in full
        self._asked_at = -RESEND_S
        self._put_off_at = -PUT_OFF_SAID_S
        self.waits_for: str | None = None

    # -- to a peer ----------------------------------------------------------------------------

    def send_next(self, peer_id: int) -> bool:
        """Send the next piece, or the same again if it was not acknowledged for RESEND_S; whether
        one left."""
        try:
            return self._send_next(peer_id)
        except OutOfDescriptors as error:
            self._put_off("a snapshot is not sent yet", error)
            return False

    def _send_next(self, peer_id: int) -> bool:
        transfer = self._outgoing.get(peer_id) or self._begin(peer_id)
        if transfer is None:
            return False
        if not self._is_whole(peer_id, transfer):
            transfer.moved_at = self._clock()
            return False
        if self._clock() - transfer.sent_at < RESEND_S:
            return False
        try:
            chunk = transfer.reader.read(transfer.offset, PIECE_BYTES)
        except StorageError:  # the file was whole a moment ago: what else is there may still be
            self._drop_damaged(peer_id, transfer.header)
            return False
        transfer.sent_at = self._clock()
        self._send(
            peer_id,
            {
                "type": "install",
                "term": self._position()[1],
                "founding": self._founding(),
                "header": transfer.reader.header_bytes,
                "offset": transfer.offset,
                "chunk": chunk,
                "last": transfer.offset + len(chunk) >= transfer.header.size,
            },
        )
        return True

    def acknowledged(self, peer_id: int, received: int) -> None:
        """The peer holds this many bytes: go on from there."""
        transfer = self._outgoing.get(peer_id)
        if transfer is not None and received <= transfer.header.size:
            if received < transfer.offset:
                # It threw away what it had: if that was our file's fault, it must not go again.
                self._whole = (0, 0)
                transfer.reader.rewind()
            transfer.offset = received
            transfer.sent_at = -RESEND_S
            transfer.moved_at = self._clock()

    def lost(self, peer_id: int) -> None:
        """The connection to a peer broke. It keeps its part for a while: when it is back in time
        it goes on there, although there may be a newer snapshot by then."""
        transfer = self._outgoing.get(peer_id)
        if transfer is not None:
            transfer.sent_at = -RESEND_S

    def forget(self, peer_id: int) -> None:
        """The peer needs no snapshot (any more)."""
        transfer = self._outgoing.pop(peer_id, None)
        if transfer is not None:
            transfer.reader.close()

    def sending_index(self, peer_id: int) -> int:
        """The snapshot that a peer is being sent; 0 for none."""
        transfer = self._outgoing.get(peer_id)
        return 0 if transfer is None else transfer.header.index

    def _begin(self, peer_id: int) -> _Outgoing | None:
        header = self._store.newest()
        if header is None:
            if self._clock() - self._asked_at >= RESEND_S:
                self._asked_at = self._clock()
                self._wanted()
            return None
        transfer = _Outgoing(self._store.reader(header), header, moved_at=self._clock())
        self._outgoing[peer_id] = transfer
        self._reports.snapshot_sending(header.index, peer_id)
        return transfer

    def _is_whole(self, peer_id: int, transfer: _Outgoing) -> bool:
        """Read the file once before it is sent, some of it at each call: a peer refuses a damaged
        one only when it has all of it, and would be sent it again for ever.
        """
        header = transfer.header
        if self._whole == (header.index, header.term):
            return True
        verdict = transfer.reader.verify_next(VERIFY_BYTES)
        if verdict is None:
            return False
        if verdict:
            self._whole = (header.index, header.term)
            return True
        self._drop_damaged(peer_id, header)
        return False

    def _drop_damaged(self, peer_id: int, header: SnapshotHeader) -> None:
        self._reports.snapshot_damaged(self._store.set_aside(header).name, peer_id)
        for other_id in [each for each, other in self._outgoing.items() if other.header == header]:
            self.forget(other_id)
        self._wanted()

    # -- from a leader ------------------------------------------------------------------------

    @property
    def is_receiving(self) -> bool:
        """Whether this node is sent a snapshot: it is behind, although it hears its leader."""
        return self._incoming is not None or self.waits_for is not None

    def receive(self, message: Message) -> int | None:
        """Take a piece; bytes received so far, or -1 when nothing more is needed; None when it
        could not be taken, which the sender finds out by itself: it is sent again in RESEND_S."""
        try:
            taken = self._take(message)
            if isinstance(taken, int):
                return taken
            self._installed(taken)
        except StorageError as error:
            if not error.passes:
                raise
            # To be fenced would help nobody: this node can still vote, and it would begin anew
            # with the same snapshot as soon as the part that it has is removed.
            self.waits_for = error.reason
            self._put_off("a snapshot is not taken yet", error)
            self.abort(error.reason)
            return None
        return -1

    def _take(self, message: Message) -> int | SnapshotHeader:
        """Write a piece down; the header of what is whole now, else what to answer."""
        header_bytes, offset = message["header"], message["offset"]
        self._received_at = self._clock()
        try:
            if self._incoming is None or self._incoming[0] != header_bytes:
                self.abort("another one is sent")
                check_engine(decode_header(header_bytes))
                self._incoming = (header_bytes, self._store.begin_install(header_bytes))
                self.waits_for = None
            install = self._incoming[1]
            if install.header.index <= self._position()[0]:
                self.abort("entries overtook it")  # S13
                return -1
            if offset != install.received:
                return install.received
            install.write(offset, message["chunk"])
            if not message["last"]:
                return install.received
            self._incoming = None
            return install.finish()
        except NewerFormat as error:
            self.abort("its format is not known")
            raise UnsupportedVersion(f"a snapshot from the leader: {error}") from error
        except ValueError as error:
            self._reports.snapshot_refused(str(error))
            self.abort("it is refused")
            return 0

    def _put_off(self, what: str, error: StorageError) -> None:
        """Say that something waits; now and then, however often it is tried."""
        if self._clock() - self._put_off_at >= PUT_OFF_SAID_S:
            self._put_off_at = self._clock()
            self._reports.snapshot_put_off(what, str(error))

    def turn(self) -> None:
        """Drop a part of a snapshot that nobody will complete: its file takes space for nothing."""
        for peer_id in [*self._outgoing] if self._outgoing else ():
            if self._clock() - self._outgoing[peer_id].moved_at > INCOMING_IDLE_S:
                self.forget(peer_id)
        if self._clock() - self._received_at > INCOMING_IDLE_S:
            self.waits_for = None  # nobody sends one any more
        if self._incoming is None:
            return
        if self._incoming[1].header.index <= self._position()[0]:
            self.abort("entries overtook it")
        elif self._clock() - self._received_at > INCOMING_IDLE_S:
            self.abort(f"no piece came for {INCOMING_IDLE_S:g} s")

    def abort(self, reason: str) -> None:
        """Forget an incoming transfer."""
        if self._incoming is not None:
            self._reports.snapshot_dropped(self._incoming[1].header.index, reason)
            self._incoming[1].abort()
            self._incoming = None
