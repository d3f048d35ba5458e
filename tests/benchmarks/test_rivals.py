"""Each rival in small, on servers of its own; skipped, and said so, where it is not installed."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from benchmarks.rivals import etcd, nats, postgres, servers, stock_pysyncobj
from benchmarks.rivals.__main__ import RIVALS, Run
from benchmarks.rivals.servers import Absent, Failed


@pytest.mark.parametrize("name", RIVALS)
def test_rival_answers_and_leaves_nothing(
    name: str, own_temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_pysyncobj, "IN_FLIGHT", 50)
    monkeypatch.setattr(etcd, "CALLERS", 50)
    monkeypatch.setattr(nats, "IN_FLIGHT", 50)
    monkeypatch.setattr(postgres, "CONNECTIONS", 4)
    found = _measured(RIVALS[name])
    assert found["orders_per_s"] > 0
    assert found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert found["settings"]["orders_per_call"] == (100 if name.endswith("-batch") else 1)
    assert found["version"]
    assert list(own_temporary.iterdir()) == []


@pytest.fixture
def own_temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary directories are made; unlike tmp_path, servers that are not root reach it."""
    with TemporaryDirectory(prefix="raftbook-rivals-") as directory:
        Path(directory).chmod(0o755)
        monkeypatch.setattr("tempfile.tempdir", directory)
        yield Path(directory)


def _measured(run: Run) -> dict[str, Any]:
    try:
        return run(1.0)
    except Absent as error:
        pytest.skip(str(error))


def test_put_is_written_as_protobuf() -> None:
    assert etcd.put_request(b"key", b"value") == b"\x0a\x03key\x12\x05value"


def test_length_above_127_takes_two_bytes() -> None:
    assert etcd.put_request(b"", b"x" * 300) == b"\x0a\x00\x12\xac\x02" + b"x" * 300


def test_transaction_holds_each_put_in_an_operation() -> None:
    put = etcd.put_request(b"k", b"v")
    operation = b"\x12\x08\x12\x06\x0a\x01k\x12\x01v"
    assert etcd.txn_request([put, put]) == operation * 2


def test_messages_hold_every_order_once() -> None:
    singles, hundreds = nats.messages(1), nats.messages(100)
    assert len(singles) == 100 * len(hundreds)
    assert b",".join(singles) == b",".join(hundreds)


def test_row_says_what_the_order_says() -> None:
    order = {"symbol": "S", "side": 1, "qty": 3, "price": 10}
    assert postgres.row(7, [order, order]) == (7, "S", 1, 3, 10)


def test_missing_program_names_what_to_install() -> None:
    with pytest.raises(
        Absent, match="no-such-server is not installed: apt-get install the-package"
    ):
        servers.program("no-such-server", package="the-package", places=["/no/such/*/{}"])


def test_missing_library_names_the_extra() -> None:
    with pytest.raises(Absent, match=r"pip install -e '\.\[rivals\]'"):
        servers.client_module("no_such_module")


def test_newest_of_several_programs_is_taken(tmp_path: Path) -> None:
    for version in ("9", "15", "14"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "no-such-server").touch()
    found = servers.program("no-such-server", package="p", places=[f"{tmp_path}/*/no-such-server"])
    assert found == str(tmp_path / "15" / "no-such-server")


def test_server_that_ended_is_told_with_its_last_words() -> None:
    with servers.servers("test") as running:
        running.start("speaker", ["sh", "-c", "echo cannot bind; exit 3"])
        running.wait("speaker")
        with pytest.raises(Failed, match="speaker ended with 3: cannot bind"):
            running.check()
