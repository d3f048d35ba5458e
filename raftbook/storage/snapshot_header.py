"""The first 4096 bytes of a snapshot file: whose it is, where in the log it stands, its checksum.

Owns the format. Must not know files or directories: the same bytes stand on the disk and travel to
a node that lags, so both ends check the same thing.

    offset 0      magic, 8 bytes
    offset 8      format version u16, length of the header u16, both big-endian
    offset 12     header: a msgpack map
    ...           zeros
    offset 4092   CRC32 of the 4092 bytes before, u32 big-endian
    offset 4096   the payload
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import asdict, dataclass

import msgpack

from raftbook.core.versions import FIRST_ENGINE_VERSION

HEADER_BYTES = 4096  # of fixed size, so that it can be filled in after the payload was streamed
FORMAT_VERSION = 1
MEMBERS_MAX = 256  # far above any cluster; its widest header fits the block

_MAGIC = b"\x89RBSNAP\n"  # not text, and spoiled by a transfer that changes line ends
_START = struct.Struct(">8sHH")
_CRC = struct.Struct(">I")
_CRC_OFFSET = HEADER_BYTES - _CRC.size


class NewerFormat(ValueError):
    """A whole header, in a form that this build does not know."""


@dataclass(frozen=True, slots=True)
class SnapshotHeader:
    """What a snapshot says about itself."""

    index: int  # the last entry applied in it
    term: int
    members: tuple[int, ...]  # node ids
    cluster_id: str
    genesis_digest: str
    state_digest: str
    size: int  # bytes of payload
    sha256: str  # of the payload, hex
    created_by: str  # the version that wrote it
    engine_version: int = FIRST_ENGINE_VERSION  # in force in it


def encode_header(header: SnapshotHeader) -> bytes:
    """The block of HEADER_BYTES."""
    assert len(header.members) <= MEMBERS_MAX, len(header.members)
    packed: bytes = msgpack.packb(asdict(header))
    assert _START.size + len(packed) <= _CRC_OFFSET, len(packed)
    block = (_START.pack(_MAGIC, FORMAT_VERSION, len(packed)) + packed).ljust(_CRC_OFFSET, b"\0")
    return block + _CRC.pack(zlib.crc32(block))


def decode_header(block: bytes) -> SnapshotHeader:
    """The header in a block.

    Raises:
        NewerFormat: a newer build wrote it.
        ValueError: says what is wrong with the block.
    """
    if len(block) != HEADER_BYTES:
        raise ValueError(f"the header is cut short: {len(block)} of {HEADER_BYTES} bytes")
    magic, version, packed_bytes = _START.unpack_from(block)
    if magic != _MAGIC:
        raise ValueError("it is no snapshot")
    if _CRC.unpack_from(block, _CRC_OFFSET)[0] != zlib.crc32(block[:_CRC_OFFSET]):
        raise ValueError("the header fails its checksum")
    if version != FORMAT_VERSION:
        raise NewerFormat(
            f"it has format {version}, this build reads {FORMAT_VERSION}: upgrade this node"
        )
    try:
        fields = msgpack.unpackb(block[_START.size : _START.size + packed_bytes])
        fields["members"] = tuple(fields["members"])
        header = SnapshotHeader(**fields)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise ValueError(f"the header cannot be read ({error})") from error
    _check_types(header)
    return header


def _check_types(header: SnapshotHeader) -> None:
    """The checksum stops accidents; this stops a peer that is wrong."""
    for name, value in (
        ("index", header.index),
        ("term", header.term),
        ("size", header.size),
        ("engine_version", header.engine_version),
        *(("member", member) for member in header.members),
    ):
        if type(value) is not int or value < 0:
            raise ValueError(f"{name} is {value!r}, not a natural number")
    for name in ("cluster_id", "genesis_digest", "state_digest", "sha256", "created_by"):
        if type(getattr(header, name)) is not str:
            raise ValueError(f"{name} is not text")
