"""Decimal text and whole units: the same amount is the same text, both ways, without a float."""

from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raftbook.web.binance.figures import Scale, is_number, percent

units = st.sampled_from([Decimal(text) for text in ("0.01", "0.001", "1", "10", "0.5", "2.5")]) | (
    st.integers(1, 10**6).map(lambda count: Decimal(count).scaleb(-10))
)


@pytest.mark.parametrize(
    ("unit", "count", "text"),
    [
        ("0.01", 10_025, "100.25000000"),
        ("0.5", 3, "1.50000000"),
        ("10", 7, "70.00000000"),
        ("0.0000000001", 12, "0.0000000012"),
        ("0.01", -125, "-1.25000000"),
        ("0.01", 0, "0.00000000"),
    ],
)
def test_units_are_written_with_eight_places_or_as_many_as_there_are(
    unit: str, count: int, text: str
) -> None:
    assert Scale(Decimal(unit)).text(count) == text


@given(unit=units, count=st.integers(0, 2**63 - 1))
def test_what_is_written_is_read_again(unit: Decimal, count: int) -> None:
    scale = Scale(unit)
    assert scale.count(scale.text(count)) == count
    assert Fraction(scale.text(count)) == count * Fraction(unit)


@given(unit=units, text=st.from_regex(r"\A[0-9]{1,12}(\.[0-9]{1,14})?\Z"))
def test_only_whole_numbers_of_units_are_read(unit: Decimal, text: str) -> None:
    scale, exact = Scale(unit), Fraction(text) / Fraction(unit)
    count = scale.count(text)
    assert count == (exact if exact.denominator == 1 else None)
    assert scale.floor(text) == exact.numerator // exact.denominator


@pytest.mark.parametrize("text", ["0", "1", "100.25", "007", "9" * 20, "0." + "0" * 19 + "1"])
def test_what_is_a_number_here(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "1.", ".5", "-1", "+1", "1e5", "NaN", " 1", "1 ", "٣", "1_0", "9" * 21, "1.2.3"],
)
def test_what_is_none(text: str) -> None:
    assert not is_number(text)


@given(
    amount=st.integers(0, 10**15),
    count=st.one_of(st.integers(1, 10**9), st.sampled_from([2 * 10**6, 2 * 10**7, 16 * 10**6])),
)
@example(amount=1, count=2 * 10**6)  # half of the last place
@example(amount=3, count=2 * 10**6)
def test_an_average_is_rounded_half_up_at_the_last_place(amount: int, count: int) -> None:
    scale = Scale(Decimal("0.01"))
    exact = Fraction(amount, count) / 100
    half_up = floor(exact * 10**8 + Fraction(1, 2))
    assert scale.quotient(amount, count) == f"{half_up // 10**8}.{half_up % 10**8:08d}"


@pytest.mark.parametrize(
    ("change", "base", "text"),
    [(1, 3, "33.333"), (-1, 3, "-33.333"), (2, 3, "66.667"), (0, 5, "0.000"), (5, 0, "0.000")],
)
def test_percent(change: int, base: int, text: str) -> None:
    assert percent(change, base) == text
