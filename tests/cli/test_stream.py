"""Orders from a pipe when one end of the pipe goes away."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from cli.invocation import Invocation
from cli.main import run
from raftbook.config import load_config, render_config
from tests.cli.market import Market

LINE = json.dumps({"side": "buy", "symbol": "BTC-USD", "qty": "1", "price": "1"}) + "\n"


class Gone(io.StringIO):
    """A reader that has seen enough after so many flushes."""

    def __init__(self, flushes: int) -> None:
        super().__init__()
        self._left = flushes

    def flush(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise BrokenPipeError(32, "Broken pipe")


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Market:
    monkeypatch.chdir(tmp_path)
    Path("cluster.toml").write_text(render_config())
    return Market(load_config(Path("cluster.toml")))


def stream(
    market: Market, monkeypatch: pytest.MonkeyPatch, lines: int, stdout: io.StringIO
) -> tuple[int, int]:
    """Exit code, and how many orders were taken."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LINE.encode() * lines)))
    monkeypatch.setattr(sys, "stdout", stdout)
    invocation = Invocation(connect=market.connect, connect_async=market.connect_async, environ={})
    code = int(run(["order", "-"], invocation=invocation))
    return code, market.machine.exchange.last_order_id


def test_nothing_more_is_sent_once_nobody_reads(
    market: Market, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, taken = stream(market, monkeypatch, 50_000, Gone(2))
    assert code == 5
    assert 200 <= taken < 50_000
    said = capsys.readouterr().err
    assert said == (
        "nobody reads the results any more: results are told up to line 200; "
        f"lines 201 to {taken} were sent and may have taken effect; "
        f"nothing after line {taken} was sent\n"
    )


def test_everything_is_sent_while_somebody_reads(
    market: Market, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = io.StringIO()
    assert stream(market, monkeypatch, 1_050, told) == (0, 1_050)
    assert len(told.getvalue().splitlines()) == 1_050
    assert capsys.readouterr().err == ""


def test_what_was_in_flight_when_every_node_went_is_told_line_by_line(
    market: Market, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = io.StringIO()

    class Dying(Market):
        def connect_async(self, *arguments: object, **settings: object) -> object:
            client = market.connect_async(*arguments, **settings)  # type: ignore[arg-type]
            request = client.request

            async def until_all_are_gone(commands: object) -> object:
                if market.machine.exchange.last_order_id >= 300:
                    market.down = {1, 2, 3}
                return await request(commands)  # type: ignore[arg-type]

            client.request = until_all_are_gone  # type: ignore[method-assign,assignment]
            return client

    dying = Dying(market.config)
    dying.machine = market.machine
    code, taken = stream(dying, monkeypatch, 5_000, told)
    assert (code, taken) == (3, 300)
    lines = told.getvalue().splitlines()
    assert all("NEW" in line for line in lines[:300])
    assert all("NOT_ACCEPTED" in line for line in lines[300:])
    assert 300 < len(lines) < 5_000, "it went on sending to nobody"
    said = capsys.readouterr().err
    assert f"no node can be reached: results are told up to line {len(lines)}" in said
