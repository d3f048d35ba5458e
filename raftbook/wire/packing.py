"""Values to bytes and back, strictly: msgpack without extensions, arrays as tuples.

Owns the one codec of every wire, log and snapshot. Whatever bytes come in, the answer is a value or
a ProtocolError. Must not know what the values mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgpack

from raftbook.errors import ProtocolError


def pack(value: Any) -> bytes:
    """The bytes of a value made of None, bool, int (64 bits), float, str, bytes, tuple, list, dict.

    Raises:
        ProtocolError: the value holds something else.
    """
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True, strict_types=False)
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"value cannot be packed: {error}") from error
    return packed


def unpack(payload: bytes) -> Any:
    """The value of exactly these bytes; arrays become tuples, text must be UTF-8.

    Raises:
        ProtocolError: the bytes are no value, or more than one.
    """
    try:
        return msgpack.unpackb(
            payload, raw=False, use_list=False, strict_map_key=False, ext_hook=_refuse_extension
        )
    except ProtocolError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise ProtocolError(f"bytes are not a value: {error or type(error).__name__}") from error


def pack_array(items: Iterable[bytes]) -> bytes:
    """One array out of items that are packed already."""
    parts = list(items)
    header: bytes = msgpack.Packer().pack_array_header(len(parts))
    return header + b"".join(parts)


def _refuse_extension(code: int, payload: bytes) -> Any:
    raise ProtocolError(f"msgpack extension type {code} is not part of any format here")
