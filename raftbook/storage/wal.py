"""Tells a torn end of SQLite's write-ahead log from damage inside it.

Owns the reading of the `-wal` file's frames (https://sqlite.org/fileformat2.html#walformat). Must
not know the database in them, and changes nothing.

SQLite stops at the first frame that fails its checksum and forgets the rest. The journal syncs at
every commit, so a power loss can tear only the frames of the last transaction. Frames of the same
generation that stand after a *later* commit prove that what SQLite would forget had been synced.
This rests on the journal never writing on after a failed transaction, and on its emptying the log
each time it opens. It cannot see damage in the very last transaction: the witness can.
"""

from __future__ import annotations

import struct
from pathlib import Path

from raftbook.storage.failures import damaged, explain

_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_MAGICS = {0x377F0682: "<", 0x377F0683: ">"}  # the last bit is the byte order of the checksums
_VERSION = 3_007_000
_PAGE_SIZES = {2**power for power in range(9, 17)}
_MASK = 0xFFFF_FFFF


def check_wal(path: Path) -> None:
    """Refuses a log from which SQLite would silently drop transactions that had been synced.

    Costs 30 ms per MiB, and only after a crash: a clean close leaves no log behind.

    Raises:
        StorageError: the log is damaged before its last transaction.
    """
    try:
        log = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise explain(path, error) from error
    problem = find_damage(log)
    if problem is not None:
        raise damaged(path, problem)


def find_damage(log: bytes) -> str | None:
    """What is wrong with the bytes of a write-ahead log, or None: whole, or torn at the end."""
    if len(log) < _HEADER_BYTES or not any(log):
        return None  # extended by a first write that never came
    order = _MAGICS.get(int.from_bytes(log[:4], "big"))
    _, version, page_bytes, _, salt_1, salt_2, *stored = struct.unpack_from(">8I", log)
    # A header is one write within one sector and is synced before its first frame: never torn.
    if order is None or version != _VERSION or page_bytes not in _PAGE_SIZES:
        return "the header is damaged"
    running = _checksum(order, log[:24], (0, 0))
    if running != tuple(stored):
        return "the header fails its checksum"

    step = _FRAME_HEADER_BYTES + page_bytes
    offsets = range(_HEADER_BYTES, len(log) - _FRAME_HEADER_BYTES + 1, step)
    generation = (salt_1, salt_2)
    broken_at = len(offsets)
    for number, offset in enumerate(offsets):
        frame = log[offset : offset + step]
        header = struct.unpack_from(">6I", frame)
        if len(frame) == step:
            running = _checksum(order, frame[:8], running)
            running = _checksum(order, frame[_FRAME_HEADER_BYTES:], running)
        if len(frame) < step or header[2:4] != generation or header[4:6] != running:
            broken_at = number
            break

    committed_at: int | None = None
    for number, offset in enumerate(offsets[broken_at:], broken_at):
        _, commit, *salts = struct.unpack_from(">4I", log, offset)
        if tuple(salts) != generation:
            continue
        if committed_at is not None:
            return (
                f"frame {broken_at} fails its checksum, but the transaction that ends with frame "
                f"{committed_at} was synced before frame {number} was written"
            )
        if commit:
            committed_at = number
    return None


def _checksum(order: str, block: bytes, seed: tuple[int, int]) -> tuple[int, int]:
    first, second = seed
    words = struct.unpack(f"{order}{len(block) // 4}I", block)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _MASK
        second = (second + odd + first) & _MASK
    return first, second
