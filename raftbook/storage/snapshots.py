"""The snapshot files of one node: written whole or not at all, checked before they are believed.

Owns the files `snapshot-<index>-<term>.raftbook` and what is left of interrupted ones. Must not
know what the payload contains, nor when to take, send or fall back to a snapshot.

A good file is only ever replaced by a rename of another good one, so neither a crash nor a bad
transfer can spoil it. The last ROOM_BYTES of a disk are the journal's: a snapshot that does not fit
beside them is given up before the node has to give up for want of space.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from raftbook import __version__
from raftbook.core.versions import FIRST_ENGINE_VERSION
from raftbook.errors import OutOfDescriptors, StorageError
from raftbook.storage.atomic import (
    create_directory,
    create_exclusive,
    fsync_directory,
    rename_durably,
)
from raftbook.storage.directory import SNAPSHOT_GLOB
from raftbook.storage.failures import REJOIN, damaged, explain, no_room
from raftbook.storage.snapshot_header import (
    HEADER_BYTES,
    SnapshotHeader,
    decode_header,
    encode_header,
)
from raftbook.storage.space import ROOM_BYTES

__all__ = ["Install", "SnapshotFile", "SnapshotHeader", "SnapshotReader", "SnapshotStore"]

_NAME = re.compile(r"snapshot-(\d{20})-(\d+)\.raftbook")
_WRITING = ".tmp"
_INSTALLING = ".incoming"
_DAMAGED = ".damaged"
_READ_BYTES = 1024 * 1024

SnapshotKey = tuple[int, int]
"""(index, term)."""


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """One file in the directory: readable as far as its header tells, or the problem with it."""

    path: Path
    index: int
    term: int
    header: SnapshotHeader | None
    problem: str | None  # None exactly when there is a header


class SnapshotStore:
    """The snapshots in one directory. One process owns it; a forked child may call `write`."""

    def __init__(self, directory: Path, *, cluster_id: str, genesis_digest: str) -> None:
        """Creates the directory if absent and removes what interrupted writes left behind.

        A killed process may have given a file its name and not synced the directory: that is done
        here, before anybody builds on such a file.

        Raises:
            StorageError: the directory cannot be used.
        """
        self.directory = directory
        self._cluster_id = cluster_id
        self._genesis_digest = genesis_digest
        try:
            create_directory(directory)
            for suffix in (_WRITING, _INSTALLING):
                for leftover in directory.glob(SNAPSHOT_GLOB + ".*" + suffix):
                    leftover.unlink(missing_ok=True)
            fsync_directory(directory)
        except OSError as error:
            raise explain(directory, error) from error

    def write(
        self,
        *,
        index: int,
        term: int,
        members: Iterable[int],
        state_digest: str,
        chunks: Iterable[bytes],
        engine_version: int = FIRST_ENGINE_VERSION,
    ) -> SnapshotHeader:
        """Writes a snapshot; when it returns, the file is synced, read back, and has its name.

        Costs the payload once written and once read; holds one chunk in memory.

        Raises:
            StorageError: nothing changed.
        """
        path = self._path(index=index, term=term)
        unfinished = _Unfinished(path, _WRITING)
        try:
            for chunk in chunks:
                unfinished.write(chunk)
            header = SnapshotHeader(
                index=index,
                term=term,
                members=tuple(members),
                cluster_id=self._cluster_id,
                genesis_digest=self._genesis_digest,
                state_digest=state_digest,
                size=unfinished.received,
                sha256=unfinished.sha256.hexdigest(),
                created_by=__version__,
                engine_version=engine_version,
            )
            unfinished.publish(encode_header(header))
        finally:
            unfinished.discard()
        return header

    def candidates(self) -> list[SnapshotFile]:
        """All snapshot files, newest first, the unreadable ones with their problem.

        Reads headers and sizes only: `load` checks the payload.
        """
        try:
            names = [_NAME.fullmatch(name) for name in os.listdir(self.directory)]
        except OSError as error:
            raise explain(self.directory, error) from error
        keys = sorted(((int(name[1]), int(name[2])) for name in names if name), reverse=True)
        return [self._examine(index=index, term=term) for index, term in keys]

    def newest(self) -> SnapshotHeader | None:
        """The newest readable header. An unreadable newer file is passed over: see `candidates`."""
        headers = (file.header for file in self.candidates())
        return next((header for header in headers if header is not None), None)

    def load(self, header: SnapshotHeader) -> bytes:
        """The payload, checked.

        Raises:
            StorageError: the file is gone, damaged, or not the one the header speaks of.
        """
        path = self._path(index=header.index, term=header.term)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise explain(path, error) from error
        payload = content[HEADER_BYTES:]
        if content[:HEADER_BYTES] != encode_header(header):
            raise damaged(path, "the header is not the expected one")
        if len(payload) != header.size or hashlib.sha256(payload).hexdigest() != header.sha256:
            raise damaged(path, "the payload fails its checksum")
        return payload

    def reader(self, header: SnapshotHeader) -> SnapshotReader:
        """Opens the file for sending it in pieces.

        Raises:
            StorageError: the file is gone.
        """
        return SnapshotReader(self._path(index=header.index, term=header.term), header)

    def begin_install(self, header_bytes: bytes) -> Install:
        """Starts to receive a snapshot from a peer, beside the files that are there.

        Raises:
            ValueError: the bytes are no header; the sender or the way to here is wrong.
            StorageError: the snapshot is another cluster's, or (`passes`) too large for the disk.
        """
        header = decode_header(header_bytes)
        path = self._path(index=header.index, term=header.term)
        problem = self._foreign(header)
        if problem is not None:
            raise StorageError(
                path=str(path), reason=f"a peer sent a snapshot that {problem}", remedy=REJOIN
            )
        _leave_room(path, header.size)
        return Install(path, header)

    def prune(self, keep: int = 2, *, unusable: Collection[SnapshotKey] = ()) -> list[Path]:
        """Removes what is older than the newest `keep` readable snapshots; returns what it removed.

        Unreadable files that are newer than those stay, for whoever wants to know why.

        Args:
            unusable: (index, term) of files that are known not to be what their header says.
        """
        assert keep >= 1, keep
        files = self.candidates()
        readable = [
            file
            for file in files
            if file.header is not None and (file.index, file.term) not in unusable
        ]
        if len(readable) < keep:
            return []
        oldest_kept = (readable[keep - 1].index, readable[keep - 1].term)
        removed = [file.path for file in files if (file.index, file.term) < oldest_kept]
        try:
            for path in removed:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise explain(self.directory, error) from error
        return removed

    def set_aside(self, header: SnapshotHeader) -> Path:
        """Takes a damaged file out of use; it stays, alone of its kind, for whoever wants to see.

        Raises:
            StorageError: it cannot be renamed.
        """
        path = self._path(index=header.index, term=header.term)
        aside = path.with_name(path.name + _DAMAGED)
        try:
            for older in self.directory.glob(SNAPSHOT_GLOB + _DAMAGED):
                older.unlink(missing_ok=True)
            rename_durably(path, aside)
        except FileNotFoundError:
            pass  # pruned meanwhile: out of use as well
        except OSError as error:
            raise explain(path, error) from error
        return aside

    def _path(self, *, index: int, term: int) -> Path:
        return self.directory / f"snapshot-{index:020d}-{term}.raftbook"

    def _examine(self, *, index: int, term: int) -> SnapshotFile:
        path = self._path(index=index, term=term)
        try:
            with open(path, "rb") as file:
                header = decode_header(file.read(HEADER_BYTES))
                payload_bytes = os.fstat(file.fileno()).st_size - HEADER_BYTES
        except (OSError, ValueError) as error:
            if isinstance(error, OSError):
                explained = explain(path, error)
                if isinstance(explained, OutOfDescriptors):  # says nothing about the file
                    raise explained from error
            return SnapshotFile(path, index, term, header=None, problem=str(error))
        problem = self._foreign(header)
        if (header.index, header.term) != (index, term):
            problem = f"holds the snapshot of index {header.index}, term {header.term}"
        elif payload_bytes != header.size:
            problem = f"holds {payload_bytes} bytes of payload instead of {header.size}"
        if problem is not None:
            return SnapshotFile(path, index, term, header=None, problem=problem)
        return SnapshotFile(path, index, term, header=header, problem=None)

    def _foreign(self, header: SnapshotHeader) -> str | None:
        if header.cluster_id != self._cluster_id:
            return f"belongs to cluster {header.cluster_id!r}, this is {self._cluster_id!r}"
        if header.genesis_digest != self._genesis_digest:
            return f"has genesis {header.genesis_digest}, this cluster has {self._genesis_digest}"
        return None


class SnapshotReader:
    """An open snapshot file: it can still be read after `prune` has removed its name."""

    def __init__(self, path: Path, header: SnapshotHeader) -> None:
        self.header = header
        self._path = path
        self.rewind()
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise explain(path, error) from error

    @property
    def header_bytes(self) -> bytes:
        """What `begin_install` wants to see."""
        return encode_header(self.header)

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes of the payload, fewer only at its end. The receiver checks them."""
        assert offset >= 0, offset
        wanted = max(0, min(length, self.header.size - offset))
        try:
            chunk = os.pread(self._descriptor, wanted, HEADER_BYTES + offset)
        except OSError as error:
            raise explain(self._path, error) from error
        if len(chunk) != wanted:
            raise damaged(self._path, f"ends at {offset + len(chunk)} of {self.header.size} bytes")
        return chunk

    def verify_next(self, length: int) -> bool | None:
        """Reads on through the payload: None while there is more, then whether it is whole."""
        try:
            chunk = self.read(self._verified, length)
        except StorageError:
            return False
        self._sha256.update(chunk)
        self._verified += len(chunk)
        if self._verified < self.header.size:
            return None
        return self._sha256.hexdigest() == self.header.sha256

    def rewind(self) -> None:
        """Lets `verify_next` begin anew."""
        self._verified = 0
        self._sha256 = hashlib.sha256()

    def close(self) -> None:
        """Closes the file; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> SnapshotReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Install:
    """A snapshot that is arriving, in order; nothing is replaced before `finish`."""

    def __init__(self, path: Path, header: SnapshotHeader) -> None:
        self.header = header
        self._unfinished = _Unfinished(path, _INSTALLING)

    @property
    def received(self) -> int:
        """Bytes of payload so far: the only offset that the next `write` may have."""
        return self._unfinished.received

    def write(self, offset: int, chunk: bytes) -> None:
        """Adds the next chunk.

        Raises:
            ValueError: it does not continue what was received, or goes beyond the announced size.
            StorageError: the disk refused it.
        """
        if offset != self.received:
            raise ValueError(f"a chunk for offset {offset}, but {self.received} bytes are here")
        if offset + len(chunk) > self.header.size:
            end = offset + len(chunk)
            raise ValueError(f"a chunk up to {end}, but the snapshot has {self.header.size} bytes")
        self._unfinished.write(chunk)

    def finish(self) -> SnapshotHeader:
        """Gives the file its name, once all of it is here, checked and synced.

        Raises:
            ValueError: what was sent is not what the header announced; nothing was replaced.
            StorageError: the disk failed; nothing was replaced.
        """
        try:
            if self.received != self.header.size:
                raise ValueError(f"{self.received} of {self.header.size} bytes were sent")
            digest = self._unfinished.sha256.hexdigest()
            if digest != self.header.sha256:
                raise ValueError(f"the payload has sha256 {digest}, not {self.header.sha256}")
            self._unfinished.publish(encode_header(self.header))
        finally:
            self.abort()
        return self.header

    def abort(self) -> None:
        """Forgets what was received; harmless after `finish`, and twice."""
        self._unfinished.discard()


class _Unfinished:
    """A file that has no name yet: the payload first, its header last."""

    def __init__(self, path: Path, suffix: str) -> None:
        self.received = 0
        self.sha256 = hashlib.sha256()
        self._path = path
        # The token keeps a child of a killed node from finishing a file of the next one.
        self._temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{suffix}")
        try:
            self._file = open(create_exclusive(self._temporary), "wb")  # noqa: SIM115
        except OSError as error:
            raise explain(path, error) from error
        self._file.seek(HEADER_BYTES)

    def write(self, chunk: bytes) -> None:
        assert not self._file.closed, f"{self._temporary} was finished or aborted"
        try:
            _leave_room(self._path, len(chunk))
            self._file.write(chunk)
        except OSError as error:
            raise explain(self._path, error) from error
        self.sha256.update(chunk)
        self.received += len(chunk)

    def publish(self, header_block: bytes) -> None:
        """Header, fsync, read back, rename, fsync of the directory."""
        try:
            self._file.seek(0)
            self._file.write(header_block)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._verify(header_block)
            rename_durably(self._temporary, self._path)
        except OSError as error:
            raise explain(self._path, error) from error

    def discard(self) -> None:
        try:
            self._file.close()
        except OSError:
            pass  # what could not be flushed is not wanted any more
        self._temporary.unlink(missing_ok=True)

    def _verify(self, header_block: bytes) -> None:
        digest = hashlib.sha256()
        with open(self._temporary, "rb", buffering=0) as file:
            if hasattr(os, "posix_fadvise"):  # ask the disk, not the page cache
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            written_header = file.read(HEADER_BYTES)
            while chunk := file.read(_READ_BYTES):
                digest.update(chunk)
        if written_header != header_block or digest.digest() != self.sha256.digest():
            raise damaged(self._temporary, "what was read back is not what was written")


def _leave_room(path: Path, size: int) -> None:
    """Refuse to write so much to the disk of `path` that less than ROOM_BYTES were left."""
    try:
        space = os.statvfs(path.parent)
    except OSError as error:
        raise explain(path, error) from error
    free = space.f_bavail * space.f_frsize
    if free < size + ROOM_BYTES:
        raise no_room(path, f"no space for {size} bytes: {free} are free, {ROOM_BYTES} are kept")
