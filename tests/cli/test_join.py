"""What a new machine is told when nobody it asked is a member."""

import socket
from pathlib import Path

import pytest

from cli.main import run
from cli.outcomes import ExitCode


def test_an_address_where_no_member_listens_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "cluster.secret"
    secret.write_text("ab" * 32 + "\n")
    secret.chmod(0o600)
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = str(tmp_path / "cluster.toml")
        assert run(["node", "--id", "4", "--join", address, "--config", config]) == (
            ExitCode.UNREACHABLE
        )
    said = capsys.readouterr().err
    assert f"--join {address}: no member answers" in said
    assert "its raft_port" in said
    assert not (tmp_path / "cluster.toml").exists()
