"""Frames on a byte stream: four bytes of length, big endian, then that many bytes.

Owns where a message ends. Bounded: a frame longer than the cap is refused before it is collected.
Must not know what is inside a frame.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from raftbook.errors import ProtocolError

HEADER_BYTES = 4
_LENGTH: Final = Struct(">I")


def frame(payload: bytes) -> bytes:
    """The payload with its length in front."""
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


class FrameReader:
    """Collects frames from pieces of a stream, however they were cut."""

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()

    def widen(self, frame_bytes_max: int) -> None:
        """Allow longer frames from now on: the other side has proven who it is."""
        self._frame_bytes_max = frame_bytes_max

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next piece of the stream; the frames that are complete now, in order.

        Raises:
            ProtocolError: a frame is empty or longer than the cap. The stream is then lost.
        """
        if self._buffer:  # mostly nothing is left of the piece before
            self._buffer += piece
            if self._lacks_bytes():
                return []
            piece = bytes(self._buffer)
            self._buffer.clear()
        frames: list[bytes] = []
        end, available, bytes_max = 0, len(piece), self._frame_bytes_max
        while available - end >= HEADER_BYTES:
            start = end + HEADER_BYTES
            (length,) = _LENGTH.unpack_from(piece, end)
            if not 0 < length <= bytes_max:
                raise ProtocolError(f"frame of {length} bytes; frames have 1 to {bytes_max} bytes")
            if start + length > available:
                break
            end = start + length
            frames.append(piece[start:end])
        if end < available:
            self._buffer += piece[end:]
        return frames

    def _lacks_bytes(self) -> bool:
        """Whether the first frame is not complete, as far as its length makes sense."""
        if len(self._buffer) < HEADER_BYTES:
            return True
        length: int = _LENGTH.unpack_from(self._buffer)[0]
        return len(self._buffer) < HEADER_BYTES + length and 0 < length <= self._frame_bytes_max
