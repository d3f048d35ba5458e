"""Whether a disk that was full takes writes again.

Owns the question and the file it is asked with. Must not know who waits for the answer.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

ROOM_BYTES: Final = 8 * 1024 * 1024
"""Free space without which nothing is tried: a write-ahead log at its longest, folded once."""
_PROBE_BYTES: Final = 64 * 1024
_PROBE_NAME: Final = "space.probe"


def has_room(directory: Path) -> bool:
    """Whether ROOM_BYTES are free, and a small file can be written and synced; leaves no file.

    Both, because a quota does not show in what is free, and what is free may not be for us.
    """
    path = directory / _PROBE_NAME
    try:
        space = os.statvfs(directory)
        if space.f_bavail * space.f_frsize < ROOM_BYTES:
            return False
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if os.write(descriptor, bytes(_PROBE_BYTES)) < _PROBE_BYTES:
                return False
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
