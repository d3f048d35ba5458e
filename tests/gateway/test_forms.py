"""The short way to judge a request's form says yes only where the long way does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftbook.core import commands as c
from raftbook.core.form import form_error
from raftbook.core.types import ID_CHARS_MAX, INT64_MAX, Side
from raftbook.gateway.forms import MANY, are_plain_orders, forms_error, version_needed
from tests.wire.values import SCALARS, VALUES

BUY = c.new_order("A", Side.BUY, 1, 1, client_order_id="x")
EDGES = st.sampled_from(
    [0, -1, 1, True, 1.0, INT64_MAX, INT64_MAX + 1, -INT64_MAX, -INT64_MAX - 1, None, "", " ", "é",
     "a b", "\n", "x" * ID_CHARS_MAX, "x" * (ID_CHARS_MAX + 1), b"A", (), {}]
)  # fmt: skip
CHANGED = st.tuples(st.integers(0, 9), EDGES | SCALARS | VALUES).map(
    lambda change: (*BUY[: change[0]], change[1], *BUY[change[0] + 1 :])
)
ANYTHING = st.just(BUY) | CHANGED | VALUES | st.just(c.cancel_order(order_id=1))


@given(st.lists(ANYTHING, min_size=1, max_size=2 * MANY).map(tuple))
def test_nothing_is_let_through_that_the_long_way_refuses(commands: tuple[Any, ...]) -> None:
    problems = [form_error(command) for command in commands]
    if are_plain_orders(commands):
        assert problems == [None] * len(commands)
    assert (forms_error(commands) is None) == (problems == [None] * len(commands))


@pytest.mark.parametrize("field", range(10))
@given(value=EDGES)
def test_each_field_is_judged_as_the_long_way_judges_it(field: int, value: Any) -> None:
    changed = (*BUY[:field], value, *BUY[field + 1 :])
    commands = (*[BUY] * MANY, changed)
    is_formed = form_error(changed) is None
    if is_formed and changed[0] == c.NEW_ORDER:
        assert are_plain_orders(commands)
    assert (forms_error(commands) is None) == is_formed


def test_market_orders_and_negative_prices_are_plain() -> None:
    market = c.new_order("A", Side.SELL, 1, None)
    assert are_plain_orders((BUY, market, c.new_order("A", Side.SELL, 1, -5)))
    assert are_plain_orders((market,))


def test_a_session_is_not_opened_by_a_request() -> None:
    assert forms_error((BUY, c.open_session("a", "k"))) == "sessions are opened with OPEN"


def test_only_what_older_builds_do_not_know_needs_a_newer_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, newer = BUY, c.mass_cancel()
    assert version_needed((plain, newer), 1) == 2
    assert version_needed((plain,), 1) == 0
    assert version_needed((plain, newer), 2) == 0
    monkeypatch.setattr("raftbook.gateway.forms.ENGINE_VERSION", 4)
    monkeypatch.setattr("raftbook.gateway.forms.engine_version_of", lambda command: 3)
    assert version_needed((plain,), 2) == 3
    assert version_needed((plain,), 3) == 0
