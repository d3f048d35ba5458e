"""Frames on a byte stream: four bytes of length, big endian, then that many bytes.

Owns where a message ends. Bounded: a frame longer than the cap is refused before it is collected.
Must not know what is inside a frame.
"""

from __future__ import annotations

from raftbook.errors import ProtocolError

HEADER_BYTES = 4


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
        buffer = self._buffer
        if not buffer and len(piece) > HEADER_BYTES:  # mostly a piece is one frame: not copied
            length = int.from_bytes(piece[:HEADER_BYTES], "big")
            if len(piece) == HEADER_BYTES + length and 0 < length <= self._frame_bytes_max:
                return [bytes(piece[HEADER_BYTES:])]
        buffer += piece
        frames: list[bytes] = []
        start = 0
        available = len(buffer)
        while available - start >= HEADER_BYTES:
            length = int.from_bytes(buffer[start : start + HEADER_BYTES], "big")
            if not 0 < length <= self._frame_bytes_max:
                raise ProtocolError(
                    f"frame of {length} bytes; frames have 1 to {self._frame_bytes_max} bytes"
                )
            end = start + HEADER_BYTES + length
            if end > available:
                break
            frames.append(bytes(buffer[start + HEADER_BYTES : end]))
            start = end
        del buffer[:start]
        return frames
