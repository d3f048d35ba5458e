"""What the command line loads: a verb its own modules, a reader of files no consensus."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from cli.main import cli, run


def test_reading_a_log_loads_no_raft() -> None:
    loaded = _loaded("import raftbook_cli.log, raftbook_cli.data_directory")
    assert "raftbook.core.exchange" in loaded
    assert not [name for name in loaded if name.startswith("pysyncobj")]


def test_a_verb_loads_no_other_verb() -> None:
    loaded = _loaded("from raftbook_cli.main import run; run(['version'])")
    assert "raftbook_cli.about" in loaded
    assert not loaded & {
        f"raftbook_cli.{verb}" for verb in ("order", "log", "demo", "instrument", "cluster")
    }
    assert "raftbook.core.exchange" not in loaded


def test_each_verb_is_found_by_its_name() -> None:
    context = click.Context(cli)
    verbs = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    assert {name: verb.name for name, verb in verbs.items() if verb} == {
        name: name for name in verbs
    }
    assert cli.get_command(context, "ordre") is None


def test_a_verb_that_is_misspelled_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ordr"]) == 2
    assert "Did you mean 'order'" in capsys.readouterr().err


def _loaded(program: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after the program."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())
