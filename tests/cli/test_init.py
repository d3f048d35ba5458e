"""`init` makes a cluster that could start, and never takes anything away."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest

from cli.init import free_nodes, port_is_free
from cli.invocation import Invocation
from cli.main import run
from raftbook.config import load_config


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def raftbook(*words: str) -> int:
    return int(run(words, invocation=Invocation(environ={})))


def test_written_file_is_a_configuration_and_the_secret_is_ours_alone() -> None:
    assert raftbook("init", "--nodes", "5", "--dir", "here") == 0
    config = load_config(Path("here/cluster.toml"))
    assert len(config.nodes) == 5
    assert config.default_account == "demo"
    assert stat.S_IMODE(config.secret_file.stat().st_mode) == 0o600
    assert len(config.secret_file.read_text().strip()) == 64


def test_next_commands_are_told_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    raftbook("init", "-o", "json")
    out, err = capsys.readouterr()
    assert [node["node_id"] for node in json.loads(out)["nodes"]] == [1, 2, 3]
    assert "raftbook node --id 3\n" in err
    assert "--config" not in err


def test_hints_name_a_configuration_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    raftbook("init", "--dir", "there")
    assert "raftbook cluster status --config there/cluster.toml" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cluster.toml", "cluster.secret"])
def test_existing_files_are_not_overwritten(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).write_text("precious")
    assert raftbook("init") == 2
    assert f"{name} exists and is not overwritten" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == [name]
    assert Path(name).read_text() == "precious"


def test_ports_in_use_are_avoided() -> None:
    wanted = free_nodes(3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", wanted[1].client_port))
        taken.listen()
        assert not port_is_free(wanted[1].client_port)
        ports = {node.client_port for node in free_nodes(3)}
    assert wanted[1].client_port not in ports


def test_checked_configuration_is_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    raftbook("init")
    capsys.readouterr()
    assert raftbook("config", "check") == 0
    out, err = capsys.readouterr()
    assert out.startswith("cluster.toml: cluster demo (demo-1)\nNODE  HOST       RAFT")
    assert "2 instruments, 3 accounts; survives the loss of 1 node\nOK\n" in out
    assert err == ""


def test_wrong_configuration_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    raftbook("init")
    path = Path("cluster.toml")
    path.write_text(path.read_text().replace("raft_port", "raft_prot"))
    capsys.readouterr()
    assert raftbook("config", "check") == 2
    assert "raft_prot" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_calls_the_program(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raftbook("completion", shell) == 0
    out = capsys.readouterr().out
    assert f"_RAFTBOOK_COMPLETE={shell}_complete" in out


def test_help_lists_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert raftbook("--help") == 0
    out = capsys.readouterr().out
    for code in ("  0  ok", "  5  outcome unknown", "130  interrupted"):
        assert code in out
