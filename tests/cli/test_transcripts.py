"""Every verb on a screen: the files in `golden/` are terminals to read.

    $ raftbook ...       a command line
    < text               a line of its standard input
    @ what               what happens to the cluster before it
    # text               talk
    ! text               what it said on stderr; stdout stands as it is
    [exit N]             how it ended

REWRITE_GOLDEN=1 writes what is said now; read the diff before you accept it.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import order_once
from cli.invocation import Invocation
from cli.main import run
from raftbook import errors
from raftbook.config import load_config, render_config
from raftbook.gateway import queries
from raftbook.genesis import genesis_digest
from raftbook.storage.journal import Journal, JournalIdentity
from tests.cli.market import TERM, Market

GOLDEN = Path(__file__).parent / "golden"
REWRITE = os.environ.get("REWRITE_GOLDEN") == "1"


class Terminal:
    """A folder with a cluster.toml, a market, and somebody who types."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        Path("cluster.toml").write_text(render_config())
        self.market = Market(load_config(Path("cluster.toml")))
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self._environ: dict[str, str] = {}
        monkeypatch.setattr(queries, "KIND", "pure")  # whichever core runs here
        numbers = iter(range(1, 1_000))
        monkeypatch.setattr(
            order_once, "fresh_client_order_id", lambda time_ms: f"c-FRESH{next(numbers)}"
        )

    def type(self, line: str, given: list[str]) -> list[str]:
        """What a command line answers."""
        stdin = io.TextIOWrapper(io.BytesIO("".join(f"{x}\n" for x in given).encode()))
        self._monkeypatch.setattr(sys, "stdin", stdin)
        invocation = Invocation(
            connect=self.market.connect,
            connect_async=self.market.connect_async,
            environ=self._environ,
        )
        code = run(shlex.split(line)[1:], invocation=invocation)
        out, err = self._capsys.readouterr()
        said = [f"! {text}".rstrip() for text in err.splitlines()]
        return [*out.splitlines(), *said, f"[exit {int(code)}]"]

    def happen(self, what: str) -> None:
        """One line of `@`."""
        word, *rest = what.split(maxsplit=1)
        detail = rest[0] if rest else ""
        market = self.market
        if word == "down":
            market.down.add(int(detail))
        elif word == "up":
            market.down.discard(int(detail))
        elif word == "leaderless":
            market.leader_id = None
        elif word == "new":
            market.is_founded = False
        elif word == "founded":
            market.is_founded = True
        elif word == "behind":
            node_id, entries = map(int, detail.split())
            applied = market.index - entries
            market.status[node_id] = {"applied_index": applied, "digest_index": applied}
        elif word == "differs":
            market.digests[int(detail)] = "bad0" * 8
        elif word == "forgot":
            market.digests[int(detail)] = None
        elif word == "stop":
            write_directory(market, Path(detail))
        elif word == "lost":
            market.replies_lost += 1
        elif word == "wait":
            market.wait(float(detail))
        elif word == "old":
            self.market = Market(market.config, is_old=True)
        elif word == "next":
            kind, _, text = detail.partition(" ")
            market.troubles.append(getattr(errors, kind)(text))
        elif word == "env":
            name, _, value = detail.partition("=")
            self._environ[name] = value
        else:
            raise AssertionError(f"@ {what}: nothing of that kind can happen")


def write_directory(market: Market, directory: Path) -> None:
    """What node 1 leaves on its disk when it is stopped."""
    identity = JournalIdentity(market.config.cluster_id, 1, genesis_digest(market.config))
    shutil.rmtree(directory, ignore_errors=True)
    journal = Journal.open(directory, identity)
    journal.set_vote(TERM, 1)
    for index in range(2, market.payloads[0][0]):
        journal.append(b"\x01", index, TERM)
    for index, term, payload in market.payloads:
        journal.append(payload, index, term)
    journal.sync()
    journal.close()


def played(script: str, terminal: Terminal) -> Iterator[str]:
    """The file as it should be: its own lines, with the answers of today."""
    lines = script.splitlines()
    for at, line in enumerate(lines):
        if line.startswith("#"):
            yield line
        elif line.startswith("@ "):
            yield line
            terminal.happen(line[2:])
        elif line.startswith("$ "):
            given = []
            for following in lines[at + 1 :]:
                if not following.startswith("<"):
                    break
                given.append(following[2:])
            yield line
            yield from (f"< {text}".rstrip() for text in given)
            yield from terminal.type(line[2:], given)
            yield ""


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_terminal_shows_what_is_written(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    written = path.read_text(encoding="utf-8")
    shown = "\n".join(played(written, Terminal(monkeypatch, capsys)))
    if REWRITE:
        path.write_text(shown, encoding="utf-8")
        return
    assert shown == written, f"{path.name}: read the diff, then REWRITE_GOLDEN=1 to accept it"


def test_there_are_transcripts() -> None:
    assert len(list(GOLDEN.glob("*.txt"))) >= 8
