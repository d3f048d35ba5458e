"""However a stream is cut, the same frames come out; what is too long is never collected."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftbook.errors import ProtocolError
from raftbook.wire.framing import HEADER_BYTES, FrameReader, frame

PAYLOADS = st.lists(st.binary(min_size=1, max_size=60), max_size=8)


def test_a_frame_is_its_length_big_endian_and_the_payload() -> None:
    assert frame(b"abc") == b"\x00\x00\x00\x03abc"
    assert frame(b"x" * 258)[:4] == b"\x00\x00\x01\x02"


@given(PAYLOADS, st.lists(st.integers(0, 600), max_size=30))
def test_any_cut_of_the_stream_gives_the_same_frames(payloads: list[bytes], at: list[int]) -> None:
    stream = b"".join(map(frame, payloads))
    cuts = [0, *sorted(min(cut, len(stream)) for cut in at), len(stream)]
    reader = FrameReader(60)
    found: list[bytes] = []
    for start, end in pairwise(cuts):
        found += reader.feed(stream[start:end])
    assert found == payloads


@given(st.binary(min_size=1, max_size=60))
def test_a_frame_is_given_with_its_last_byte_and_not_before(payload: bytes) -> None:
    reader = FrameReader(60)
    framed = frame(payload)
    early = [reader.feed(framed[at : at + 1]) for at in range(len(framed) - 1)]
    assert not any(early)
    assert reader.feed(framed[-1:]) == [payload]


@pytest.mark.parametrize("length", [0, 101, 2**31, 2**32 - 1])
def test_a_forbidden_length_is_refused_by_its_header_alone(length: int) -> None:
    reader = FrameReader(100)
    assert reader.feed(frame(b"x" * 100)) == [b"x" * 100]
    header = length.to_bytes(HEADER_BYTES, "big")
    assert reader.feed(header[:3]) == []
    with pytest.raises(ProtocolError, match=f"frame of {length} bytes; frames have 1 to 100"):
        reader.feed(header[3:])


@given(st.binary(max_size=300))
def test_any_bytes_give_frames_or_a_protocol_error(stream: bytes) -> None:
    reader = FrameReader(50)
    try:
        frames = reader.feed(stream)
    except ProtocolError:
        return
    assert stream.startswith(b"".join(map(frame, frames)))
    assert all(0 < len(payload) <= 50 for payload in frames)


def test_a_reader_can_be_widened_between_two_frames() -> None:
    reader = FrameReader(4)
    assert reader.feed(frame(b"1234")) == [b"1234"]
    reader.widen(5)
    assert reader.feed(frame(b"12345")) == [b"12345"]
