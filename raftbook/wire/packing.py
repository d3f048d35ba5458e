"""Values to bytes and back, strictly: msgpack without extensions, arrays as tuples.

Owns the one codec of every wire, log and snapshot. Whatever bytes come in, the answer is a value or
a ProtocolError. Must not know what the values mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from reprlib import Repr
from typing import Any, Final

import msgpack

from raftbook.errors import ProtocolError

_BRIEF: Final = Repr()
_BRIEF.maxlevel = 3
_BRIEF_CHARS_MAX: Final = 80
_PACKER_BYTES_MAX: Final = 4 << 20
"""A packer keeps the memory of the largest value it packed; one that packed more goes."""


_idle: Final[list[msgpack.Packer]] = []
"""To make a packer costs more than to pack a small value. Whoever packs takes one out, so that no
two threads ever have the same."""


def pack(value: Any) -> bytes:
    """The bytes of a value made of None, bool, int, float, str, bytes, tuple, list, dict.

    An int beyond 64 bits becomes text, its decimal digits: msgpack has no such number, and what is
    summed without end must not become unsayable. Whoever may meet one reads `int(it)`.

    Raises:
        ProtocolError: the value holds something else.
    """
    try:
        packer = _idle.pop()
    except IndexError:
        packer = msgpack.Packer(use_bin_type=True, strict_types=False, default=_digits)
    try:
        packed: bytes = packer.pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"value cannot be packed: {error}") from error
    if len(packed) <= _PACKER_BYTES_MAX:
        _idle.append(packer)
    return packed


def unpack(payload: bytes) -> Any:
    """The value of exactly these bytes; arrays become tuples, text must be UTF-8.

    Raises:
        ProtocolError: the bytes are no value, or more than one.
    """
    try:
        return msgpack.unpackb(
            payload,
            raw=False,
            use_list=False,
            strict_map_key=False,
            ext_hook=_refuse_extension,
            max_ext_len=0,  # the hook is not asked about -1, msgpack's own timestamp
        )
    except ProtocolError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise ProtocolError(f"bytes are not a value: {error or type(error).__name__}") from error


def pack_array(items: Iterable[bytes]) -> bytes:
    """One array out of items that are packed already."""
    parts = list(items)
    count = len(parts)
    if count < 16:
        header = bytes((0x90 | count,))
    elif count < 1 << 16:
        header = b"\xdc" + count.to_bytes(2, "big")
    else:
        header = b"\xdd" + count.to_bytes(4, "big")
    return header + b"".join(parts)


def brief(value: Any) -> str:
    """A value in an error message: however long or deeply nested it is, a few words of it."""
    return _BRIEF.repr(value)[:_BRIEF_CHARS_MAX]


def _digits(value: Any) -> str:
    """What the codec cannot write as it is: a large int, or nothing that has a form here."""
    if isinstance(value, int):
        return str(int(value))
    raise TypeError(f"can not serialize {type(value).__name__!r} object")


def _refuse_extension(code: int, payload: bytes) -> Any:
    raise ProtocolError(f"msgpack extension type {code} is not part of any format here")
