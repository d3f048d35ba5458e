"""A node that should not run does not: it says what is wrong and what to do, and exits with 2."""

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from raftbook.core import commands as c
from raftbook.core.types import Side
from raftbook.wire import client_messages as m
from tests.e2e.cluster import Cluster, running_cluster, until
from tests.e2e.ports import HOST

USAGE = 2


def _rewrite(cluster: Cluster, old: str, new: str, *, into: str = "cluster.toml") -> Path:
    """The configuration with one thing changed."""
    text = cluster.path.read_text()
    assert old in text, f"{old!r} is not in the configuration"
    path = cluster.folder / into
    path.write_text(text.replace(old, new, 1))
    return path


def _refused(cluster: Cluster, node_id: int, *says: str, config: Path | None = None) -> None:
    """Starting that node ends with 2 and one line."""
    code, said = cluster.run_to_the_end(node_id, config)
    line = said.strip().splitlines()[-1]
    for words in says:
        assert words in line, said
    assert "Traceback" not in said
    assert code == USAGE, said


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A cluster of one that has run and was stopped, and left an order on its disk."""
    with running_cluster(tmp_path_factory.mktemp("original"), size=1) as cluster:
        with cluster.wire(1) as wire:
            session = wire.greet("alice", "k")
            wire.ask(m.REQUEST, session, 1, (c.new_order("BTC-USD", Side.BUY, 1, 1),))
        assert cluster.stop(1) == 0
        return cluster


@pytest.fixture
def written(original: Cluster, tmp_path: Path) -> Cluster:
    """A copy of it."""
    return original.copied(tmp_path / "cluster")


def _comes_back(cluster: Cluster) -> None:
    """With the trouble gone, nothing was lost."""
    with cluster:
        cluster.start(1)
        cluster.wait_up(1)
        cluster.wait_leader()
        until("the order is there", lambda: cluster.query(1, "status")["orders"] == 1)


# -- the secret -----------------------------------------------------------------------------------


def test_a_secret_that_others_can_read_is_refused(written: Cluster) -> None:
    secret = written.config.secret_file
    secret.chmod(0o644)
    _refused(written, 1, f"{secret} is readable by others; chmod 600 {secret}")
    secret.chmod(0o600)
    _comes_back(written)


def test_a_secret_that_is_too_short_is_refused(written: Cluster) -> None:
    written.config.secret_file.write_text("short\n")
    _refused(written, 1, "holds 5 bytes; a secret has at least 16")


def test_a_secret_that_is_missing_beside_data_is_not_made_anew(written: Cluster) -> None:
    secret = written.config.secret_file
    kept = secret.read_bytes()
    secret.unlink()
    node = written.directory(1)
    _refused(written, 1, f"{secret} is missing, though {node} holds a node", "put it back")
    assert not secret.exists()
    secret.write_bytes(kept)
    secret.chmod(0o600)
    _comes_back(written)


def test_a_nodes_own_directory_is_no_data_dir(written: Cluster) -> None:
    own = written.directory(1)
    for mistaken in (own, own.parent / "node-7"):
        program = [sys.executable, "-m", "raftbook_cli.main", "node", "--id", "1"]
        done = subprocess.run(
            [*program, "--config", str(written.path), "--data-dir", str(mistaken)],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == USAGE, done.stderr
        assert "name the folder above it" in done.stderr
        assert f"--data-dir {own.parent}" in done.stderr
        assert not (mistaken / "node-1").exists()


def test_a_missing_secret_is_only_made_when_all_nodes_are_on_this_machine(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        text = cluster.path.read_text()
        cluster.path.write_text(text.replace(f'host = "{HOST}"', 'host = "192.0.2.1"', 1))
        _refused(cluster, 2, "cluster.secret cannot be read", "copy the file", "mode 0600")
        assert not cluster.config.secret_file.exists()


def test_a_node_with_another_secret_stays_out_and_all_say_why(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start()
        cluster.wait_up()
        cluster.wait_leader()
        cluster.kill(3)
        cluster.wipe(3)
        right = cluster.path.read_text()
        other = tmp_path / "other.secret"
        other.write_text("0123456789abcdef" * 2)
        other.chmod(0o600)
        _rewrite(cluster, "cluster.secret", "other.secret")
        cluster.start(3)
        cluster.wait_up(3)
        cluster.path.write_text(right)
        for node_id in cluster.ids:
            until(
                f"node {node_id} says why",
                lambda node_id=node_id: "does not prove the cluster secret" in cluster.log(node_id),
            )
            assert "0123456789abcdef" not in cluster.log(node_id)
        assert cluster.query(3, "status")["leader_id"] is None
        assert cluster.query(3, "status")["term"] == 0
        with cluster.wire(1) as wire:
            assert wire.greet("alice", "k") > 0
        assert cluster.stop(3) == 0
        cluster.start(3)
        cluster.wait_up(3)
        cluster.settle()


# -- ports ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["raft_port", "client_port", "http_port"])
def test_a_port_in_use_is_named(tmp_path: Path, kind: str) -> None:
    with Cluster(tmp_path, size=1) as cluster:
        port = getattr(cluster.address(1), kind)
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((HOST, port))
            taken.listen()
            says = f"[nodes] node 1 cannot listen on {HOST}:{port}"
            _refused(cluster, 1, says, "stop what uses the port")


def test_the_same_node_twice_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with running_cluster(tmp_path, size=1) as cluster:
        _refused(cluster, 1, "in use by another process; stop the node that runs on this directory")
        assert cluster.query(1, "status")["role"] == "leader"


def test_a_node_that_the_configuration_does_not_name(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        _refused(cluster, 7, "there is no node 7; the nodes are 1, 2, 3")


# -- whose data -----------------------------------------------------------------------------------


_OTHER = ("belongs to node 1 of cluster 'test-1'", "this is node 1 of cluster 'test-2'")
_EDITED = ("was begun with other [[currencies]], [[instruments]]", "put back what was edited")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('id = "test-1"', 'id = "test-2"', _OTHER),
        ("# [bounds]", "[bounds]\nreply_window = 2048\n#", _EDITED),
        ('name = "alice"', 'name = "alina"', _EDITED),
        ('tick_size = "0.01"', 'tick_size = "0.005"', _EDITED),
    ],
)
def test_data_of_another_cluster_is_refused(
    written: Cluster, old: str, new: str, says: tuple[str, str]
) -> None:
    right = written.path.read_text()
    _rewrite(written, old, new)
    begin, end = says
    _refused(written, 1, f"{written.directory(1)}: {begin}", end)
    written.path.write_text(right)
    _comes_back(written)


def test_data_of_another_node_is_refused(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start(1)
        cluster.wait_up(1)
        assert cluster.stop(1) == 0
        shutil.copytree(cluster.directory(1), cluster.directory(2))
        _refused(cluster, 2, f"{cluster.directory(2)}: belongs to node 1 of", "this is node 2 of")


def test_a_peer_of_another_cluster_is_kept_out_and_both_say_why(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.start()
        cluster.wait_up()
        cluster.wait_leader()
        cluster.kill(3)
        cluster.wipe(3)
        right = cluster.path.read_text()
        _rewrite(cluster, 'id = "test-1"', 'id = "test-2"')
        cluster.start(3)
        cluster.wait_up(3)
        cluster.path.write_text(right)
        for node_id, theirs, own in ((1, "test-2", "test-1"), (3, "test-1", "test-2")):
            says = f"peer belongs to cluster {theirs}, this node to {own}"
            until(f"{says!r}", lambda says=says, at=node_id: says in cluster.log(at))
        assert cluster.query(3, "status")["leader_id"] is None


# -- damage ---------------------------------------------------------------------------------------


def _flip_in_the_middle(directory: Path) -> None:
    path = directory / "journal.sqlite3"
    content = bytearray(path.read_bytes())
    at = content.rindex(b"BTC-USD")  # a byte of the order that was acknowledged
    content[at] ^= 1
    path.write_bytes(content)


def _cut_short(directory: Path) -> None:
    path = directory / "journal.sqlite3"
    path.write_bytes(path.read_bytes()[:-4096])


def _empty(directory: Path) -> None:
    (directory / "journal.sqlite3").write_bytes(b"")


def _no_database(directory: Path) -> None:
    (directory / "journal.sqlite3").write_bytes(b"garbage" * 5_000)


def _remove_journal(directory: Path) -> None:
    (directory / "journal.sqlite3").unlink()


def _remove_witness(directory: Path) -> None:
    (directory / "journal.witness").unlink()


@pytest.mark.parametrize(
    "damage",
    [_flip_in_the_middle, _cut_short, _empty, _no_database, _remove_journal, _remove_witness],
    ids=lambda damage: damage.__name__.strip("_"),
)
def test_a_damaged_journal_is_refused_and_never_replaced(
    written: Cluster, damage: Callable[[Path], None]
) -> None:
    directory = written.directory(1)
    damage(directory)
    before = {path: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    for _ in range(2):  # not even the second time
        _refused(written, 1, str(directory), "move the directory away")
    after = {path: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    assert {path.name for path in after} >= {path.name for path in before}
    if damage is _remove_journal:
        assert directory / "journal.sqlite3" not in after


def test_without_any_readable_snapshot_a_trimmed_log_is_refused(tmp_path: Path) -> None:
    bounds = {"snapshot_every_entries": 100}
    with running_cluster(tmp_path, size=1, bounds=bounds) as cluster:
        with cluster.wire(1) as wire:
            session = wire.greet("alice", "k")
            for seq in range(1, 1_301):
                order = c.new_order("BTC-USD", Side.BUY, 1, 1)
                assert wire.ask(m.REQUEST, session, seq, (order,))[0] == m.REPLY
        until("the log is trimmed", lambda: cluster.query(1, "status")["snapshot_index"] > 1_150)
        assert cluster.stop(1) == 0
        snapshots = sorted((cluster.directory(1) / "snapshots").glob("*.raftbook"))
        assert snapshots
        for path in snapshots:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        _refused(cluster, 1, "no readable snapshot covers what was before", "checksum")
        assert re.search(r"move .*directory away", cluster.run_to_the_end(1)[1])
