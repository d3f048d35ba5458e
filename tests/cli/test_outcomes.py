"""One place decides how a run ends; and small things that carry it."""

from __future__ import annotations

from decimal import Decimal

import click
import pytest

from cli.amounts import fresh_client_order_id, parse_decimal, parse_qty_and_price
from cli.bots import Tally
from cli.cluster_verify import Verdict
from cli.demo import Story
from cli.order_once import retry_line
from cli.outcomes import CommandFailed, ExitCode, exit_code_of, judge, worst
from raftbook.client.rejects import Refused
from raftbook.client.values import OrderResult
from raftbook.core.form import is_id
from raftbook.core.types import Reject
from raftbook.errors import (
    ConfigError,
    NoNodeReachable,
    NotAccepted,
    OutcomeUnknown,
    ProtocolError,
    StorageError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError(file="f", problem="p", hint="h"), 2),
        (StorageError(path="p", reason="r", remedy="m"), 2),
        (click.UsageError("no"), 2),
        (click.BadParameter("no"), 2),
        (NoNodeReachable("nobody"), 3),
        (ProtocolError("noise"), 3),
        (NotAccepted("no leader"), 4),
        (OutcomeUnknown("lost"), 5),
        (Refused(Reject.UNKNOWN_ORDER, "", doing="order"), 1),
        (Refused(Reject.NOT_AUTHORIZED, "", doing="login"), 2),
        (Refused(Reject.TOO_STALE, "", doing="book"), 4),
        (CommandFailed(ExitCode.DIFFERENT, "they differ"), 6),
    ],
)
def test_each_trouble_has_its_exit_code_and_one_line(error: Exception, code: int) -> None:
    found, line = judge(error)
    assert found == code
    assert line
    assert "\n" not in line


def test_bug_keeps_its_traceback() -> None:
    with pytest.raises(AssertionError):
        judge(AssertionError("ours"))


@pytest.mark.parametrize(
    ("status", "code"),
    [("NEW", 0), ("EXPIRED", 0), ("REJECTED", 1), ("NOT_ACCEPTED", 4), ("UNKNOWN", 5)],
)
def test_each_result_has_its_exit_code(status: str, code: int) -> None:
    assert exit_code_of(OrderResult(ord_status=status)) == code


def test_worst_is_what_needs_most_care() -> None:
    assert worst([]) == 0
    assert worst([ExitCode.REFUSED, ExitCode.OUTCOME_UNKNOWN, ExitCode.NOT_ACCEPTED]) == 5


def test_numbers_are_exact() -> None:
    assert parse_qty_and_price("7@101.50") == (Decimal("7"), Decimal("101.50"))
    assert parse_qty_and_price("0.001") == (Decimal("0.001"), None)
    assert parse_qty_and_price("1@-5") == (Decimal("1"), Decimal("-5"))


@pytest.mark.parametrize(
    "text", ["", " ", "nan", "NaN", "inf", "1e5", "1_000", "0x10", "1,5", "٣", "--1", ".", "1 "]
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a plain decimal"):
        parse_decimal(text, what="price")


def test_fresh_ids_sort_by_time_and_never_repeat() -> None:
    ids = [fresh_client_order_id(time_ms) for time_ms in (1, 2, 2**40, 2**48 - 1)]
    assert ids == sorted(ids)
    assert all(is_id(text) and len(text) == 28 for text in ids)
    assert len({fresh_client_order_id(5) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["order", "sell", "BTC-USD", "1@90", "--tif", "ioc"],
            "raftbook order sell BTC-USD 1@90 --tif ioc --client-id c-1",
        ),
        (
            ["order", "buy", "X", "1", "--client-id", "c-1"],
            "raftbook order buy X 1 --client-id c-1",
        ),
        (["order", "buy", "X", "1", "--client-id=c-1"], "raftbook order buy X 1 --client-id=c-1"),
        (
            ["--config", "my file", "order", "buy", "--", "X", "1"],
            "raftbook --config 'my file' order buy --client-id c-1 -- X 1",
        ),
    ],
)
def test_line_to_repeat_can_be_pasted(words: list[str], line: str) -> None:
    assert retry_line(words, "c-1") == line


def test_demo_is_well_only_if_everything_is() -> None:
    verdict = Verdict(9, {1: "a", 2: "a", 3: "a"}, {}, 3)
    tally = Tally(orders=5)
    good = Story(
        killed=2,
        failover_ms=300.0,
        caught_up_ms=900.0,
        verdict=verdict,
        lost=0,
        doubled=0,
        stopped_well=True,
    )
    assert good.problems(tally) == []
    assert good.problems(Tally()) == ["no order was acknowledged"]
    for broken in (
        {"failover_ms": None},
        {"caught_up_ms": None},
        {"verdict": Verdict(9, {1: "a", 2: "b", 3: "a"}, {}, 3)},
        {"verdict": Verdict(9, {1: "a", 2: "a"}, {3: "gone"}, 3)},
        {"lost": 1},
        {"lost": None},
        {"doubled": 1},
        {"stopped_well": False},
    ):
        fields = {name: getattr(good, name) for name in Story.__slots__} | broken
        assert len(Story(**fields).problems(tally)) == 1, broken
