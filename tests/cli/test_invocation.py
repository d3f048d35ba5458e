"""One run: its deadline, whom it asks, and what it says when nobody is there."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.invocation import Invocation
from cli.main import run
from cli.watching import Picture, watch
from raftbook.config import render_config
from raftbook.errors import NoNodeReachable
from tests.cli.market import Market
from tests.client.cluster import Cluster, in_loop


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("cluster.toml").write_text(render_config())
    return tmp_path


class Asked:
    """Stands in for `Client` and remembers how it was made."""

    def __init__(self) -> None:
        self.settings: list[dict[str, Any]] = []

    def __call__(self, nodes: Any, **settings: Any) -> Any:
        self.settings.append({"nodes": nodes, **settings})
        return None


# -- the deadline ---------------------------------------------------------------------------------


def test_every_client_of_a_run_has_the_same_deadline(folder: Path) -> None:
    asked = Asked()
    before = time.monotonic()
    invocation = Invocation(connect=asked, connect_async=asked, environ={})
    after = time.monotonic()
    invocation.timeout_s = 7.0
    invocation.connect()
    invocation.connect_async()
    invocation.connect_to(invocation.config.nodes[0], timeout_s=1.0)
    (ends_at,) = {settings["ends_at"] for settings in asked.settings}
    assert before + 7.0 <= ends_at <= after + 7.0


def test_what_goes_on_has_a_deadline_for_each_call_only(folder: Path) -> None:
    asked = Asked()
    invocation = Invocation(connect=asked, environ={})
    invocation.goes_on = True
    invocation.connect()
    assert asked.settings[0]["ends_at"] == math.inf
    assert asked.settings[0]["timeout_s"] == 5.0


def test_a_refusal_is_an_answer_of_the_one_node_that_was_named(folder: Path) -> None:
    asked = Asked()
    invocation = Invocation(connect=asked, environ={})
    invocation.connect()
    invocation.connect_to(invocation.config.nodes[0])
    invocation.node = "2"
    invocation.connect()
    invocation.waits = True
    invocation.connect()
    told = [settings["gives_up_when_refused"] for settings in asked.settings]
    assert told == [False, True, True, False]


# What a node does, what the run ends with, what it says, and what it must not say.
HANGS = [
    ({"greeting": b"\0"}, 3, "did not greet in time", "sent"),
    ({"query_script": ["stall"] * 99}, 4, "instruments: no answer: node 1 did not answer", "sent"),
    ({"open_script": ["stall"] * 99}, 4, "not sent: node 1 did not open a session", "may"),
    ({"open_script": ["no_leader"] * 99}, 4, "not sent: node 1 could not open a session", "may"),
    ({"script": ["stall"] * 99}, 5, "request 1 was sent and not answered", "nothing"),
    ({"script": ["unknown"] * 99}, 5, "request 1 was sent and not answered", "nothing"),
    ({"script": ["drop_before"] + ["no_leader"] * 99}, 5, "was sent and not answered", "nothing"),
    ({"script": ["no_leader"] * 999}, 4, "nothing happened: ", "may"),
]


@pytest.mark.parametrize(("behaviour", "code", "says", "not_this"), HANGS)
def test_an_order_ends_by_what_is_known_of_it(
    behaviour: dict[str, Any],
    code: int,
    says: str,
    not_this: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    @in_loop
    async def scene() -> None:
        async with Cluster(1) as cluster:
            (node,) = cluster.nodes
            for name, value in behaviour.items():
                setattr(node, name, value)
            words = ["order", "buy", "BTC-USD", "0.005@100", "--timeout", "0.7"]
            words += ["--node", f"127.0.0.1:{node.port}"]
            for _ in range(5):
                capsys.readouterr()
                found = await asyncio.to_thread(run, words, invocation=Invocation(environ={}))
                if found != 5 or code == 5:
                    break  # else it was on its way once more just when the time was up
            assert found == code

    scene()
    said = capsys.readouterr().err
    assert says in said
    assert not_this not in said.partition("retry")[0].replace("The order may still execute", "")
    if code == 5:
        assert "The order may still execute." in said
        assert "retry safely with:  raftbook order buy" in said


def test_a_closed_port_is_told_at_once_with_the_node_to_start(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = render_config().replace("client_port = 7102", "client_port = 1")
    Path("cluster.toml").write_text(text)
    words = ["book", "BTC-USD", "--timeout", "3600"]  # the test would wait for an hour
    assert run([*words, "--node", "2"], invocation=Invocation(environ={})) == 3
    said = capsys.readouterr().err
    assert said == (
        "raftbook: no node answered: 127.0.0.1:1: connection refused; "
        "start it with: raftbook node --id 2\n"
    )
    words += ["--config", "cluster.toml"]
    assert run([*words, "--node", "127.0.0.1:1"], invocation=Invocation(environ={})) == 3
    assert "start it with: raftbook node --id 2 --config cluster.toml\n" in capsys.readouterr().err
    Path("cluster.toml").unlink()
    assert run([*words[:4], "--node", "127.0.0.1:1"], invocation=Invocation(environ={})) == 3
    assert "is the address a client_port, and the node up?" in capsys.readouterr().err


# -- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["order"], ["cluster"], ["log"], ["config"], ["instrument"]])
def test_a_group_without_a_verb_says_what_there_is(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words, invocation=Invocation(environ={})) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"Usage: raftbook {' '.join(words)}".rstrip() + " [OPTIONS] COMMAND")
    assert err == ""


def test_the_version_is_a_verb_and_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"], invocation=Invocation(environ={})) == 0
    told = capsys.readouterr().out
    assert run(["--version"], invocation=Invocation(environ={})) == 0
    assert capsys.readouterr().out == told
    assert told.startswith("raftbook ")


def test_verify_says_which_exit_code_means_what(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "verify", "--help"], invocation=Invocation(environ={})) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "a node that is down" in text
    assert "Exit 6 if two of them differ, 4 if too few answered to tell, 3 if none did." in text


# -- watching -------------------------------------------------------------------------------------


def _watched(
    pictures: Iterator[Picture], monkeypatch: pytest.MonkeyPatch, output: str = "table"
) -> None:
    monkeypatch.setattr("cli.watching.time.sleep", lambda _: None)
    invocation = Invocation(environ={"RAFTBOOK_OUTPUT": output})

    def look() -> Picture:
        picture = next(pictures, None)
        if picture is None:
            raise KeyboardInterrupt
        return picture

    with pytest.raises(KeyboardInterrupt):
        watch(invocation, look)


@pytest.mark.parametrize("output", ["table", "jsonl"])
def test_what_has_not_changed_is_not_shown_again(
    output: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states = [1, 1, 1, 2, 2, 1]
    pictures = (
        Picture(state, {"state": state}, lambda state=state: f"state {state}") for state in states
    )
    _watched(pictures, monkeypatch, output)
    shown = capsys.readouterr().out.splitlines()
    assert [line.rstrip("}")[-1] for line in shown] == ["1", "2", "1"]


def test_a_cluster_that_is_away_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Looks(Iterator[Picture]):
        count = 0

        def __next__(self) -> Picture:
            self.count += 1
            if self.count == 4:
                return Picture(2, {}, lambda: "two")
            if self.count > 5:
                raise StopIteration
            raise NoNodeReachable("no node answered")

    looks = Looks()
    first = iter([Picture(1, {}, lambda: "one")])

    class All(Iterator[Picture]):
        def __next__(self) -> Picture:
            return next(first, None) or next(looks)

    _watched(All(), monkeypatch)
    out, err = capsys.readouterr()
    assert out.splitlines() == ["one", "two"]
    assert err.count("no node answered") == 2  # before and after it was there again


def test_a_book_is_not_painted_again_because_another_one_traded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    invocation = Invocation(environ={})
    market = Market(invocation.config)

    def trade(symbol: str) -> None:
        words = ["order", "buy", symbol, "1@100", "-o", "json"]
        assert run(words, invocation=Invocation(connect=market.connect, environ={})) == 0

    turns = iter(("ETH-USD", "ETH-USD", "BTC-USD", ""))

    def sleep(_: float) -> None:
        symbol = next(turns)
        if not symbol:
            raise KeyboardInterrupt
        trade(symbol)

    monkeypatch.setattr("cli.watching.time.sleep", sleep)
    words = ["book", "BTC-USD", "--watch"]
    assert run(words, invocation=Invocation(connect=market.connect, environ={})) == 130
    titles = [line for line in capsys.readouterr().out.splitlines() if "feed_seq" in line]
    assert [line.split()[2] for line in titles] == ["0", "1"]
