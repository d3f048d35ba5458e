"""Strategies for what may stand on a wire: values msgpack can hold, and bytes of every sort."""

from typing import Any

from hypothesis import strategies as st

from raftbook.wire.packing import pack

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40)
)
KEYS = st.integers(min_value=-9, max_value=9) | st.text(max_size=8)


def _grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=5).map(tuple)
    return lists | st.dictionaries(KEYS, inner, max_size=4)


VALUES = st.recursive(SCALARS, _grown, max_leaves=20)
"""Whatever `pack` takes and `unpack` gives back unchanged."""


@st.composite
def damaged_bytes(draw: st.DrawFn) -> bytes:
    """A packed value with some bytes changed, cut off or put behind it."""
    payload = bytearray(pack(draw(VALUES)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(payload) - 1))
        payload[at] = draw(st.integers(0, 255))
    cut = draw(st.integers(0, len(payload)))
    return bytes(payload[:cut]) + draw(st.binary(max_size=6))


ANY_BYTES = st.binary(max_size=200) | damaged_bytes()

DEEP = tuple(b"\x91" * depth + b"\x01" for depth in (200, 600, 900, 1000, 1020, 1100, 5000))
"""Arrays in arrays, around every limit that a codec or the interpreter has."""
