"""Order flow from files: what each message means, and that every one is accounted for."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli.invocation import Invocation
from cli.main import run
from cli.replay_formats import Message, messages_of
from raftbook.client.values import InstrumentSpec
from raftbook.config import load_config, render_config
from raftbook.core import commands as c
from raftbook.core.types import OrderType, Side, TimeInForce
from raftbook.errors import NotAccepted
from tests.cli.market import Market

SHARES = InstrumentSpec("AAPL", "AAPL", "USD", Decimal("0.01"), Decimal("1"), "CONTINUOUS", raw={})

LOBSTER = """\
34200.004,1,11,18,5853300,1
34200.005,1,12,10,5853400,-1
34200.006,4,12,4,5853400,-1
34200.007,2,11,8,5853300,1
34200.008,5,0,100,5853350,1
34200.009,3,99,5,5853000,1
34200.010,3,11,10,5853300,1
34200.011,7,0,0,-1,-1
34200.012,1,13,5,5853355,1
not,a,message
"""


def parsed(text: str, form: str = "lobster") -> list[Message]:
    return list(messages_of(iter(text.splitlines()), form, "AAPL", {"AAPL": SHARES}))


def test_each_lobster_message_has_its_meaning() -> None:
    added, _, executed, reduced, hidden, unknown, deleted, halt, off_tick, broken = parsed(LOBSTER)
    assert added.command == c.new_order("AAPL", Side.BUY, 18, 58533, client_order_id="11")
    # The order that rests sells, so whoever hit it bought.
    assert executed.command == c.new_order(
        "AAPL", Side.BUY, 4, 58534, time_in_force=TimeInForce.IOC
    )
    assert reduced.command == c.amend_order(client_order_id="11", order_qty=10)
    assert hidden.skipped == "hidden_execution"
    assert unknown.skipped == "unknown_order"
    assert deleted.command == c.cancel_order(client_order_id="11")
    assert halt.skipped == "halt"
    assert off_tick.skipped == "tick_size"
    assert broken.skipped == "malformed"


def test_partial_cancel_of_everything_is_a_cancel() -> None:
    _, message = parsed("1.0,1,7,5,10000,1\n2.0,2,7,5,10000,1\n")
    assert message.command == c.cancel_order(client_order_id="7")


@pytest.mark.parametrize(
    "line",
    [
        "nan,1,7,5,10000,1",
        "1.0,1,7,1e5,10000,1",
        "1.0,1,7,5,inf,1",
        "1.0,1,7,5,10000,2",
        "1.0,1,7,5",
        "1.0,1,a b,5,10000,1",
        "",
    ],
)
def test_broken_lobster_line_stops_nothing(line: str) -> None:
    messages = parsed(f"{line}\n2.0,1,8,5,10000,1\n")
    assert [message.skipped for message in messages[:-1]] == ["malformed"] * bool(line)
    assert messages[-1].command is not None


@pytest.mark.parametrize("form", ["lobster", "csv", "jsonl"])
def test_file_of_another_format_is_refused_before_anything_is_sent(form: str) -> None:
    header = "type,client_order_id,side,price,qty\n" if form == "csv" else ""
    for lines in ("hello world\n", "hello world\n" * 50, "\n\nhello world\n"):
        with pytest.raises(ValueError, match=rf"line \d is not {form} \(.*nor is what follows: "):
            parsed(header + lines, form)
    for nothing in ("", "\n \n"):
        with pytest.raises(ValueError, match="holds no message; one is"):
            parsed(header + nothing, form)


def test_each_csv_type_has_its_meaning() -> None:
    text = """\
type,client_order_id,side,price,qty
limit,a,buy,10.00,5
post_only,b,sell,11,5
ioc,c,buy,11,2
fok,d,buy,11,9
market,e,sell,,1
amend,a,,10.01,
amend,a,,,3
cancel,a,,,
limit,f,buy,,5
limit,f,buy,1,
auction,g,buy,1,1
cancel,,,,
limit,h,up,1,1
limit,i,buy,1,0.5
limit,j
"""
    messages = parsed(text, "csv")
    assert [message.command for message in messages[:8]] == [
        c.new_order("AAPL", Side.BUY, 5, 1000, client_order_id="a"),
        c.new_order("AAPL", Side.SELL, 5, 1100, client_order_id="b", post_only=True),
        c.new_order("AAPL", Side.BUY, 2, 1100, client_order_id="c", time_in_force=TimeInForce.IOC),
        c.new_order("AAPL", Side.BUY, 9, 1100, client_order_id="d", time_in_force=TimeInForce.FOK),
        c.new_order(
            "AAPL",
            Side.SELL,
            1,
            None,
            client_order_id="e",
            ord_type=OrderType.MARKET,
            time_in_force=TimeInForce.IOC,
        ),
        c.amend_order(client_order_id="a", price=1001),
        c.amend_order(client_order_id="a", order_qty=3),
        c.cancel_order(client_order_id="a"),
    ]
    assert [message.skipped for message in messages[8:]] == [
        "malformed",
        "malformed",
        "unknown_type",
        "malformed",
        "malformed",
        "lot_size",
        "malformed",
    ]


def test_csv_without_its_header_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1 is not the header of csv: type,client_order_id"):
        parsed("limit,a,buy,10.00,5\n", "csv")


# -- into a cluster ---------------------------------------------------------------------------


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Market:
    monkeypatch.chdir(tmp_path)
    Path("cluster.toml").write_text(render_config())
    Path("flow.csv").write_text(LOBSTER)
    return fresh_market()


def fresh_market() -> Market:
    """A cluster that also trades AAPL."""
    market = Market(load_config(Path("cluster.toml")))
    line = "instrument add AAPL --base AAPL --quote USD --tick 0.01 --lot 1"
    assert run(line.split(), invocation=Invocation(connect=market.connect, environ={})) == 0
    return market


def replayed(
    market: Market, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[str, Any], str]:
    capsys.readouterr()
    words = ("replay", "flow.csv", "--format", "lobster", "--symbol", "AAPL", *words, "-o", "json")
    code = run(words, invocation=Invocation(connect=market.connect, environ={}))
    out, err = capsys.readouterr()
    return int(code), json.loads(out) if out else {}, err


def test_every_message_is_accounted_for(market: Market, capsys: pytest.CaptureFixture[str]) -> None:
    code, told, err = replayed(market, capsys)
    assert code == 0
    assert told["read"] == 10
    assert (told["sent"], told["accepted"], told["rejected"]) == (5, 5, 0)
    assert told["skipped"] == {
        "halt": 1,
        "hidden_execution": 1,
        "malformed": 1,
        "tick_size": 1,
        "unknown_order": 1,
    }
    assert told["trades"] == 1
    assert told["digest"] == market.machine.exchange.digest.value()
    assert told["applied_index"] == market.index
    assert err == "skipped line 10: 3 fields instead of 6\n"


def test_same_file_gives_same_digest_whatever_nodes_it_went_through(
    market: Market, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.replay.COMMANDS_PER_REQUEST", 1)
    _, first, _ = replayed(market, capsys)
    other = fresh_market()
    _, second, _ = replayed(other, capsys, "--nodes", "3,1", "--expect", first["digest"])
    assert first["digest"] == second["digest"]
    assert market.sent_through[1:] == [1, 2, 3, 1, 2]
    assert other.sent_through[1:] == [3, 1, 3, 1, 3]


def test_request_of_unknown_outcome_goes_to_the_next_node_under_its_number(
    market: Market, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first node takes it and falls silent; the second gives the original reply."""
    _, untroubled, _ = replayed(fresh_market(), capsys)
    market.troubles.append(NotAccepted("nobody leads"))
    market.replies_lost = 1
    code, told, _ = replayed(market, capsys, "--expect", untroubled["digest"])
    assert code == 0
    assert told["sent"] == 5


def test_other_digest_than_expected_ends_with_6(
    market: Market, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told, err = replayed(market, capsys, "--expect", "f" * 32)
    assert code == 6
    assert f"the digest is {told['digest']}, not {'f' * 32}" in err


def test_second_replay_is_refused_order_by_order(
    market: Market, capsys: pytest.CaptureFixture[str]
) -> None:
    replayed(market, capsys)
    code, told, _ = replayed(market, capsys)
    assert code == 0
    assert told["sent"] == told["accepted"] + told["rejected"]
    # Order 12 rests and 11 is remembered: neither id is free. What then hits 12 trades again.
    assert told["rejected"] == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--symbol", "NOPE"), "no instrument 'NOPE'; known: BTC-USD, ETH-USD, AAPL"),
        (("--nodes", "x"), "--nodes takes all, or node ids such as 1,3"),
        (("--nodes", "7"), "there is no node 7"),
        (("--format", "csv"), "line 1 is not the header of csv: type"),
        (("--format", "csv", "--speed", "1x"), "--speed 1x needs times, and csv has none"),
    ],
)
def test_wrong_use_is_explained(
    market: Market, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    code, _, err = replayed(market, capsys, *words)
    assert code in (1, 2)
    assert said in err
    assert market.sent_through == [1]
