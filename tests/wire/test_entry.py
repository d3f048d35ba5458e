"""Entries of the log: bytes that stand in it for ever, and whatever else may stand there."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftbook.core.commands import Entry
from raftbook.errors import ProtocolError
from raftbook.wire.entry import (
    UnsupportedVersion,
    commands_in,
    pack_entry,
    pack_request,
    read_request,
    unpack_entry,
)
from raftbook.wire.packing import pack, unpack
from tests.wire.values import ANY_BYTES, DEEP, SCALARS, VALUES

COMMANDS = st.lists(st.lists(SCALARS, min_size=1, max_size=4).map(tuple), max_size=3).map(tuple)
REQUESTS = st.tuples(st.integers(0, 2**62), st.integers(0, 2**62), COMMANDS)
TIMES = st.integers(0, 2**63 - 1)


@given(TIMES, st.lists(REQUESTS, max_size=4).map(tuple))
def test_an_entry_comes_back_as_it_was(time_ns: int, requests: tuple[Any, ...]) -> None:
    payload = pack_entry(time_ns, [pack_request(*request) for request in requests])
    assert unpack_entry(7, payload) == Entry(7, time_ns, requests)


@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.sampled_from((0, 1, 15, 16, 255, 256, 65_535, 65_536)),
)
def test_commands_are_counted_without_being_read(session_id: int, seq: int, count: int) -> None:
    assert commands_in(pack_request(session_id, seq, ((1,),) * count)) == count


@pytest.mark.parametrize("count", [0, 15, 16, 70_000])
@pytest.mark.parametrize("number", [bytes(1), b"\x7f", *(bytes([0xCC + i]) for i in range(8))])
def test_so_are_those_of_a_client_that_writes_numbers_wider_than_they_need_be(
    number: bytes, count: int
) -> None:
    width = 0 if number[0] < 0x80 else 1 << ((number[0] - 0xCC) & 3)
    packed = number + bytes(width)
    request = b"\x93" + packed + packed + pack(((1,),) * count)
    assert unpack(request)[2] == ((1,),) * count
    assert commands_in(request) == count


@given(TIMES, st.lists(REQUESTS, max_size=4).map(tuple))
def test_joining_packed_requests_is_packing_the_entry(
    time_ns: int, requests: tuple[Any, ...]
) -> None:
    payload = pack_entry(time_ns, [pack_request(*request) for request in requests])
    assert payload == pack((1, time_ns, requests))


@given(ANY_BYTES | VALUES.map(pack) | st.tuples(st.just(1), VALUES, VALUES).map(pack))
def test_any_bytes_are_an_entry_or_a_protocol_error(payload: bytes) -> None:
    try:
        entry = unpack_entry(3, payload)
    except ProtocolError:
        return
    assert unpack(payload) == (1, entry.time_ns, entry.requests)


@pytest.mark.parametrize("deep", DEEP, ids=len)
@pytest.mark.parametrize(
    "start", [b"", b"\x93\x01\x01\x91", b"\x93\x01\x01", b"\x93\x01\x01\x91\x93\x01\x01"]
)
def test_deep_nesting_is_a_protocol_error_and_no_crash(start: bytes, deep: bytes) -> None:
    # A replica that fails here on what another accepted would differ from it.
    try:
        unpack_entry(3, start + deep)
    except ProtocolError as error:
        assert len(str(error)) < 300  # noqa: PT017


@given(st.integers(-(2**63), 2**64 - 1).filter(lambda version: version != 1), VALUES, VALUES)
def test_another_version_stops_rather_than_guesses(version: int, time: Any, rest: Any) -> None:
    with pytest.raises(UnsupportedVersion, match=f"entry 9 has format {version}, this build"):
        unpack_entry(9, pack((version, time, rest)))


@pytest.mark.parametrize(
    "value",
    [
        (),
        (1, 2),
        (1, 2, (), 4),
        (True, 2, ()),
        (1, 2.0, ()),
        (1, True, ()),
        (1, 2, {}),
        (1, 2, ((),)),
        (1, 2, ((1, 2),)),
        (1, 2, ((1, 2, ()), (1, 2, 3))),
        (1, 2, ((1, 2, ((),)),)),
        (1, 2, ((1, 2, (3,)),)),
        (1, 2, (("1", 2, ()),)),
        (1, 2, ((1, None, ()),)),
        (1, 2, ((1, 2, ((1, ()),)),)),
        (1, 2, ((1, 2, ((1, 2, {}),)),)),
        (1, 2, ((1, 2, ((1,), (1, (2, 3)))),)),
        "text",
        None,
    ],
    ids=repr,
)
def test_what_is_no_entry_is_refused_and_is_no_newer_version(value: Any) -> None:
    with pytest.raises(ProtocolError, match="entry 5 ") as caught:
        unpack_entry(5, pack(value))
    assert not isinstance(caught.value, UnsupportedVersion)


@pytest.mark.parametrize("depth", [1, 200, 900, 1000])
def test_a_nested_command_is_no_entry_whatever_its_depth(depth: int) -> None:
    """A refused command stands in its reject, where the digest prints it: that recursion ended
    this node at a depth that another node, with less on its stack, still took."""
    nested = b"\x91" * depth + b"\x01"
    payload = b"\x93\x01\x05\x91" + b"\x93\x07\x01\x91" + b"\x92\x01" + nested
    with pytest.raises(ProtocolError, match="entry 5 "):
        unpack_entry(5, payload)


@given(REQUESTS)
def test_a_packed_request_may_join_an_entry(request_value: tuple[Any, ...]) -> None:
    assert read_request(pack_request(*request_value)) == request_value


@given(ANY_BYTES | VALUES.map(pack) | REQUESTS.map(lambda value: pack(value) * 2))
def test_what_may_join_an_entry_never_voids_it(raw: bytes) -> None:
    try:
        read = read_request(raw)
    except ProtocolError:
        return
    good = pack_request(7, 1, ())
    entry = unpack_entry(9, pack_entry(1, [good, raw, good]))
    assert entry.requests == ((7, 1, ()), read, (7, 1, ()))
