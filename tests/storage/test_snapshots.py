"""Snapshot files: whole or not at all, and never believed unchecked."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import msgpack
import pytest

from raftbook.errors import StorageError
from raftbook.storage import snapshots as snapshots_module
from raftbook.storage.snapshot_header import (
    HEADER_BYTES,
    MEMBERS_MAX,
    decode_header,
    encode_header,
)
from raftbook.storage.snapshots import SnapshotHeader, SnapshotStore
from tests.storage.journal_samples import flipped, in_a_process_that_dies

PAYLOAD = bytes(range(256)) * 40


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return open_store(tmp_path)


def open_store(directory: Path, **changes: str) -> SnapshotStore:
    return SnapshotStore(directory, **{"cluster_id": "c", "genesis_digest": "ab", **changes})


def write(store: SnapshotStore, index: int, payload: bytes = PAYLOAD) -> SnapshotHeader:
    return store.write(
        index=index, term=2, members=[1, 2, 3], state_digest="d1", chunks=[payload[:7], payload[7:]]
    )


def path_of(store: SnapshotStore, index: int) -> Path:
    return store.directory / f"snapshot-{index:020d}-2.raftbook"


def names(store: SnapshotStore) -> list[str]:
    return sorted(os.listdir(store.directory))


def test_a_written_snapshot_is_read_back(store: SnapshotStore) -> None:
    header = write(store, 7)
    assert (header.index, header.term, header.members) == (7, 2, (1, 2, 3))
    assert (header.cluster_id, header.genesis_digest, header.state_digest) == ("c", "ab", "d1")
    assert header.size == len(PAYLOAD)
    assert store.newest() == header
    assert store.load(header) == PAYLOAD
    assert names(store) == ["snapshot-00000000000000000007-2.raftbook"]
    assert path_of(store, 7).stat().st_mode & 0o777 == 0o600


def test_an_empty_payload_is_a_snapshot_too(store: SnapshotStore) -> None:
    assert store.load(write(store, 7, b"")) == b""


def test_an_empty_store_has_no_newest(store: SnapshotStore) -> None:
    assert store.newest() is None
    assert store.candidates() == []
    assert store.prune() == []


def test_candidates_come_newest_first_by_index_then_term(store: SnapshotStore) -> None:
    for index, term in ((5, 9), (12, 1), (12, 10), (12, 9)):
        store.write(index=index, term=term, members=[], state_digest="", chunks=[])
    found = [(file.index, file.term) for file in store.candidates()]
    assert found == [(12, 10), (12, 9), (12, 1), (5, 9)]


def test_writing_the_same_index_again_replaces_the_file(store: SnapshotStore) -> None:
    write(store, 7, b"old")
    header = write(store, 7, b"new")
    assert store.load(header) == b"new"
    assert len(names(store)) == 1


def test_every_flipped_bit_is_found(store: SnapshotStore) -> None:
    older = write(store, 6)
    header = write(store, 7)
    good = path_of(store, 7).read_bytes()
    for offset in (*range(300), *range(300, len(good), 61), len(good) - 1):
        path_of(store, 7).write_bytes(flipped(good, offset, offset % 8))
        newest, second = store.candidates()
        assert second.header == older
        if newest.header is None:
            assert newest.problem
            assert store.newest() == older
        else:
            assert offset >= HEADER_BYTES
        with pytest.raises(StorageError, match=r"snapshot-0+7-2"):
            store.load(header)


def test_a_file_cut_short_or_too_long_is_unreadable(store: SnapshotStore) -> None:
    header = write(store, 7)
    good = path_of(store, 7).read_bytes()
    for content in (*(good[:length] for length in (0, 11, 4095, 4096, len(good) - 1)), good + b"x"):
        path_of(store, 7).write_bytes(content)
        (file,) = store.candidates()
        assert file.header is None
        assert store.newest() is None
        with pytest.raises(StorageError):
            store.load(header)


def test_the_problem_of_an_unreadable_file_is_reported(store: SnapshotStore) -> None:
    write(store, 7)
    good = path_of(store, 7).read_bytes()
    path_of(store, 8).write_bytes(good)
    path_of(store, 9).write_bytes(good[:100])
    write(store, 10)
    os.truncate(path_of(store, 10), len(good) - 1)
    path_of(store, 11).write_bytes(b"#!/bin/sh".ljust(5000))
    problems = {file.index: file.problem for file in store.candidates()}
    assert problems == {
        7: None,
        8: "holds the snapshot of index 7, term 2",
        9: "the header is cut short: 100 of 4096 bytes",
        10: "holds 10239 bytes of payload instead of 10240",
        11: "it is no snapshot",
    }


def test_a_missing_file_is_refused(store: SnapshotStore) -> None:
    header = write(store, 7)
    path_of(store, 7).unlink()
    with pytest.raises(StorageError, match="No such file"):
        store.load(header)
    with pytest.raises(StorageError, match="No such file"):
        store.reader(header)


def test_another_clusters_file_is_unreadable(store: SnapshotStore) -> None:
    write(store, 7)
    (file,) = open_store(store.directory, cluster_id="x").candidates()
    assert file.problem == "belongs to cluster 'c', this is 'x'"
    (file,) = open_store(store.directory, genesis_digest="ff").candidates()
    assert file.problem == "has genesis ab, this cluster has ff"


def test_a_write_that_fails_leaves_nothing(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("the state cannot be encoded")

    with pytest.raises(RuntimeError):
        store.write(index=7, term=2, members=[], state_digest="", chunks=chunks())
    assert names(store) == []

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk full"):
        write(store, 7)
    assert names(store) == []


def test_what_the_disk_did_not_keep_never_gets_a_name(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(descriptor: int) -> None:
        os.pwrite(descriptor, b"\xff", HEADER_BYTES + 1000)

    older = write(store, 6)
    monkeypatch.setattr(snapshots_module.os, "fsync", forgetful)
    with pytest.raises(StorageError, match="read back is not what was written"):
        write(store, 7)
    assert store.newest() == older
    assert len(names(store)) == 1


def test_a_forked_child_writes_a_snapshot_for_its_parent(store: SnapshotStore) -> None:
    in_a_process_that_dies(lambda: write(store, 7))
    header = store.newest()
    assert header is not None
    assert store.load(header) == PAYLOAD


def test_leftovers_of_a_crash_are_removed_at_opening(store: SnapshotStore) -> None:
    header = write(store, 7)

    def die_while_writing() -> None:
        def chunks() -> Iterator[bytes]:
            yield b"half"
            os._exit(0)

        store.write(index=8, term=2, members=[], state_digest="", chunks=chunks())

    def die_while_installing() -> None:
        store.begin_install(encode_header(replace(header, index=9))).write(0, b"half")
        os._exit(0)

    in_a_process_that_dies(die_while_writing)
    in_a_process_that_dies(die_while_installing)
    (store.directory / "notes.txt").touch()
    assert [name.rpartition(".")[2] for name in names(store)] == [
        "txt",
        "raftbook",
        "tmp",
        "incoming",
    ]
    assert [file.index for file in store.candidates()] == [7]
    open_store(store.directory)
    assert names(store) == ["notes.txt", "snapshot-00000000000000000007-2.raftbook"]


def test_prune_keeps_the_newest_readable_ones(store: SnapshotStore) -> None:
    for index in (1, 2, 3, 4, 5):
        write(store, index)
    path_of(store, 5).write_bytes(b"damaged")
    path_of(store, 1).write_bytes(b"damaged")
    assert store.prune() == [path_of(store, 2), path_of(store, 1)]
    assert [file.index for file in store.candidates()] == [5, 4, 3]


def test_prune_never_removes_the_last_readable_ones(store: SnapshotStore) -> None:
    write(store, 1)
    for index in (2, 3, 4):
        path_of(store, index).write_bytes(b"damaged")
    assert store.prune(keep=2) == []
    assert store.newest() is not None


def test_a_reader_goes_on_after_its_file_was_pruned(store: SnapshotStore) -> None:
    with store.reader(write(store, 1)) as reader:
        write(store, 2)
        store.prune(keep=1)
        assert not path_of(store, 1).exists()
        assert reader.read(0, 100) == PAYLOAD[:100]
        assert reader.read(len(PAYLOAD) - 5, 100) == PAYLOAD[-5:]
        assert reader.read(len(PAYLOAD) + 5, 100) == b""


def test_a_reader_of_a_file_that_shrank_is_refused(store: SnapshotStore) -> None:
    with store.reader(write(store, 1)) as reader:
        os.truncate(path_of(store, 1), HEADER_BYTES + 50)
        with pytest.raises(StorageError, match="ends at 50 of 10240 bytes"):
            reader.read(0, 100)


@pytest.fixture
def lagging(tmp_path: Path) -> SnapshotStore:
    """The store of a node that has an old snapshot, which no failed install may touch."""
    store = open_store(tmp_path / "lagging")
    write(store, 3, b"old but good")
    return store


@pytest.fixture
def shipped(tmp_path: Path) -> tuple[bytes, bytes]:
    """The header block and the payload of a newer one, as a peer sends them."""
    leader = open_store(tmp_path / "leader")
    with leader.reader(write(leader, 7)) as reader:
        return reader.header_bytes, reader.read(0, len(PAYLOAD))


def assert_untouched(lagging: SnapshotStore) -> None:
    assert names(lagging) == ["snapshot-00000000000000000003-2.raftbook"]
    header = lagging.newest()
    assert header is not None
    assert lagging.load(header) == b"old but good"


def test_an_install_makes_the_same_file_as_the_senders(
    lagging: SnapshotStore, shipped: tuple[bytes, bytes]
) -> None:
    header_bytes, payload = shipped
    install = lagging.begin_install(header_bytes)
    for offset in range(0, len(payload), 1000):
        assert install.received == offset
        install.write(offset, payload[offset : offset + 1000])
    header = install.finish()
    install.abort()
    assert lagging.newest() == header == decode_header(header_bytes)
    assert lagging.load(header) == PAYLOAD
    assert path_of(lagging, 7).read_bytes() == header_bytes + payload


@pytest.mark.parametrize(("offset", "here"), [(0, 1000), (999, 1000), (1001, 1000), (5000, 1000)])
def test_a_gapped_or_repeated_chunk_is_refused_with_both_numbers(
    lagging: SnapshotStore, shipped: tuple[bytes, bytes], offset: int, here: int
) -> None:
    install = lagging.begin_install(shipped[0])
    install.write(0, shipped[1][:1000])
    with pytest.raises(ValueError, match=f"for offset {offset}, but {here} bytes are here"):
        install.write(offset, b"x")
    install.write(1000, shipped[1][1000:])
    assert install.finish().index == 7


def test_a_chunk_beyond_the_end_is_refused(
    lagging: SnapshotStore, shipped: tuple[bytes, bytes]
) -> None:
    install = lagging.begin_install(shipped[0])
    with pytest.raises(ValueError, match="up to 10241, but the snapshot has 10240 bytes"):
        install.write(0, shipped[1] + b"x")
    install.abort()
    assert_untouched(lagging)


def test_an_aborted_install_leaves_the_good_file_untouched(
    lagging: SnapshotStore, shipped: tuple[bytes, bytes]
) -> None:
    install = lagging.begin_install(shipped[0])
    install.write(0, shipped[1])
    install.abort()
    assert_untouched(lagging)
    with pytest.raises(AssertionError, match="finished or aborted"):
        install.write(len(PAYLOAD), b"")


def test_a_short_or_changed_transfer_is_never_finished(
    lagging: SnapshotStore, shipped: tuple[bytes, bytes]
) -> None:
    install = lagging.begin_install(shipped[0])
    install.write(0, shipped[1][:-1])
    with pytest.raises(ValueError, match="10239 of 10240 bytes were sent"):
        install.finish()
    assert_untouched(lagging)
    install = lagging.begin_install(shipped[0])
    install.write(0, flipped(shipped[1], 5000, 1))
    with pytest.raises(ValueError, match="the payload has sha256"):
        install.finish()
    assert_untouched(lagging)


def test_a_failed_install_of_the_same_index_leaves_the_good_file(
    lagging: SnapshotStore, shipped: tuple[bytes, bytes]
) -> None:
    header = replace(decode_header(shipped[0]), index=3)
    install = lagging.begin_install(encode_header(header))
    install.write(0, bytes(len(PAYLOAD)))
    with pytest.raises(ValueError, match="sha256"):
        install.finish()
    assert_untouched(lagging)


def test_a_foreign_snapshot_is_refused_at_its_header(
    lagging: SnapshotStore, shipped: tuple[bytes, bytes]
) -> None:
    header = decode_header(shipped[0])
    for change, named in (
        ({"cluster_id": "x"}, "belongs to cluster 'x', this is 'c'"),
        ({"genesis_digest": "ff"}, "has genesis ff, this cluster has ab"),
    ):
        with pytest.raises(StorageError, match=named):
            lagging.begin_install(encode_header(replace(header, **change)))
    assert_untouched(lagging)


def test_a_damaged_header_is_refused(lagging: SnapshotStore, shipped: tuple[bytes, bytes]) -> None:
    for offset in (0, 9, 30, 3000, 4095):
        with pytest.raises(ValueError, match=r"no snapshot|checksum"):
            lagging.begin_install(flipped(shipped[0], offset, 0))
    assert_untouched(lagging)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"index": -1}, "index is -1"),
        ({"size": True}, "size is True"),
        ({"members": ["1"]}, "member is '1'"),
        ({"members": 5}, "cannot be read"),
        ({"sha256": None}, "sha256 is not text"),
        ({"surplus": 1}, "cannot be read"),
    ],
)
def test_a_header_of_wrong_shape_is_refused_though_its_checksum_is_right(
    shipped: tuple[bytes, bytes], change: dict[str, object], said: str
) -> None:
    class Forged:
        members = ()

    fields = {**asdict(decode_header(shipped[0])), **change}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("raftbook.storage.snapshot_header.asdict", lambda _: fields)
        block = encode_header(Forged())
    with pytest.raises(ValueError, match=said):
        decode_header(block)


def test_the_widest_header_fits_its_block() -> None:
    digest = "f" * 64
    header = SnapshotHeader(
        index=2**64 - 1,
        term=2**64 - 1,
        members=tuple(range(2**32, 2**32 + MEMBERS_MAX)),
        cluster_id="c" * 200,
        genesis_digest=digest,
        state_digest=digest,
        size=2**64 - 1,
        sha256=digest,
        created_by="1.2.3.dev4+local",
    )
    assert decode_header(encode_header(header)) == header


def test_the_header_is_a_msgpack_map_after_magic_and_version() -> None:
    """The format on the disk: files of one version must be read by the next."""
    header = SnapshotHeader(7, 2, (1, 2), "c", "ab", "d1", 3, "e" * 64, "0.1.0")
    block = encode_header(header)
    assert block[:10] == b"\x89RBSNAP\n\x00\x01"
    assert msgpack.unpackb(block[12 : 12 + int.from_bytes(block[10:12], "big")]) == {
        "index": 7,
        "term": 2,
        "members": [1, 2],
        "cluster_id": "c",
        "genesis_digest": "ab",
        "state_digest": "d1",
        "size": 3,
        "sha256": "e" * 64,
        "created_by": "0.1.0",
        "engine_version": 1,
    }
    assert len(block) == HEADER_BYTES
