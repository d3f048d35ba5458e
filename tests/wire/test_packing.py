"""The one codec: what goes in comes out, and what is none of it is a ProtocolError."""

import math
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftbook.errors import ProtocolError
from raftbook.wire import packing
from raftbook.wire.packing import pack, pack_array, unpack
from tests.wire.values import ANY_BYTES, DEEP, VALUES


@given(VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    found = unpack(pack(value))
    assert found == value
    assert repr(found) == repr(value)  # the types as well: True is no 1, 1.0 is no 1


@given(ANY_BYTES)
def test_any_bytes_are_a_value_or_a_protocol_error(payload: bytes) -> None:
    try:
        unpack(payload)
    except ProtocolError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("payload", DEEP, ids=len)
def test_deep_nesting_is_a_value_or_a_protocol_error(payload: bytes) -> None:
    try:
        unpack(payload)
    except ProtocolError:
        pass


@given(st.lists(VALUES, max_size=5))
def test_an_array_of_packed_items_is_the_packed_array(items: list[Any]) -> None:
    assert pack_array(map(pack, items)) == pack(items)


@pytest.mark.parametrize("count", [0, 15, 16, 65_535, 65_536])
def test_an_array_of_any_length_has_the_right_head(count: int) -> None:
    assert pack_array([b"\x01"] * count) == pack((1,) * count)


def test_a_value_that_cannot_be_packed_leaves_nothing_behind() -> None:
    for _ in range(2):
        with pytest.raises(ProtocolError):
            pack((1, "before it", object()))
        assert pack((1, 2)) == b"\x92\x01\x02"


def test_the_memory_that_a_long_value_took_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_PACKER_BYTES_MAX", 100)
    idle: list[Any] = []
    monkeypatch.setattr(packing, "_idle", idle)
    assert unpack(pack("x" * 90)) == "x" * 90
    assert len(idle) == 1
    assert unpack(pack("x" * 200)) == "x" * 200
    assert idle == []


def test_a_packer_is_nobody_elses_while_it_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_idle", [])
    packed_within: list[bytes] = []

    class Curious(dict[str, int]):
        def items(self) -> Any:
            packed_within.append(pack((1, 2)))
            return super().items()

    assert unpack(pack(("a", Curious(b=1), "c"))) == ("a", {"b": 1}, "c")
    assert packed_within == [b"\x92\x01\x02"]


@pytest.mark.parametrize("code", [-128, -1, 0, 1, 127])
@pytest.mark.parametrize("size", [0, 1, 2, 4, 8, 12, 16, 300])
def test_extensions_are_refused(code: int, size: int) -> None:
    # -1 is msgpack's own timestamp: the codec would make an object of it that nobody can pack.
    payload = msgpack.packb(msgpack.ExtType(127, b"\0" * size))
    at = payload.index(b"\x7f")
    payload = payload[:at] + code.to_bytes(1, "big", signed=True) + payload[at + 1 :]
    with pytest.raises(ProtocolError):
        unpack(payload)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x01\x02", b"\xc1", b"\xa1\xff", b"\x93\x01", b"\x81\x80\x01", b"\xdd\xff\xff\xff\xff"],
    ids=["nothing", "two", "never used", "not UTF-8", "cut", "map as key", "array of 4 billion"],
)
def test_bytes_that_are_no_value_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack(payload)


@pytest.mark.parametrize("value", [{1, 2}, object(), "\ud800", 1j])
def test_what_no_wire_can_hold_cannot_be_packed(value: Any) -> None:
    with pytest.raises(ProtocolError, match="cannot be packed"):
        pack(value)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 2**200])
def test_a_number_beyond_64_bits_is_told_in_digits(value: int) -> None:
    assert unpack(pack((value, {"sum": [value]}))) == (str(value), {"sum": (str(value),)})


def test_not_a_number_stays_one() -> None:
    assert math.isnan(unpack(pack(math.nan)))
