"""Numbers as Binance's clients read and write them: decimal text, at least eight places.

Owns the way between such text and the engine's integers; no float comes near either. The same
amount is the same text everywhere on this door, since clients use prices as keys.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Final

PLACES_MIN: Final = 8
_DIGITS_MAX: Final = 20
"""Of each part of a number: Binance's own bound."""
LEGAL: Final = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_DIGITS: Final = frozenset("0123456789")


class Scale:
    """The unit of a price, a quantity or an amount: counts of it become text, and back.

    Attributes:
        places: digits behind the point of every text.
    """

    __slots__ = ("_factor", "_mark", "places")

    def __init__(self, unit: Decimal | Fraction) -> None:
        exact = Fraction(unit)
        places = PLACES_MIN
        while (exact * 10**places).denominator != 1:
            places += 1
            assert places <= 1_000, f"unit {unit} is no decimal"
        self.places = places
        self._factor = int(exact * 10**places)
        self._mark = 10**places

    def text(self, count: int) -> str:
        """So many units as text."""
        scaled = count * self._factor
        if scaled < 0:
            return "-" + self.text(-count)
        whole, rest = divmod(scaled, self._mark)
        return f"{whole}.{rest:0{self.places}d}"

    def count(self, text: str) -> int | None:
        """How many units a text says; None if it is no whole number of them.

        The text has passed `is_number`.
        """
        whole, _, rest = text.partition(".")
        rest = rest.rstrip("0")
        if len(rest) > self.places:
            return None
        scaled = int(whole + rest) * 10 ** (self.places - len(rest))
        count, remainder = divmod(scaled, self._factor)
        return None if remainder else count

    def floor(self, text: str) -> int:
        """How many whole units fit into what a text says."""
        whole, _, rest = text.partition(".")
        digits = int(whole + rest) * self._mark
        return int(digits // (self._factor * 10 ** len(rest)))

    def quotient(self, amount: int, count: int) -> str:
        """`amount` units over `count`, rounded half up at the last place; count is above 0."""
        scaled = amount * self._factor
        whole = (2 * scaled + count) // (2 * count)
        return f"{whole // self._mark}.{whole % self._mark:0{self.places}d}"


def is_number(text: str) -> bool:
    """Whether it is a number that this door takes: digits, perhaps a point and more digits."""
    whole, point, rest = text.partition(".")
    if not 0 < len(whole) <= _DIGITS_MAX or not _DIGITS.issuperset(whole):
        return False
    if not point:
        return True
    return 0 < len(rest) <= _DIGITS_MAX and _DIGITS.issuperset(rest)


def percent(change: int, base: int) -> str:
    """A change in percent of its base, three places, rounded half away from zero."""
    if not base:
        return "0.000"
    scaled = (abs(change) * 200_000 + abs(base)) // (2 * abs(base))
    sign = "-" if (change < 0) != (base < 0) and scaled else ""
    return f"{sign}{scaled // 1_000}.{scaled % 1_000:03d}"


ZERO: Final = "0." + "0" * PLACES_MIN
UNKNOWN_AMOUNT: Final = "-1." + "0" * PLACES_MIN
"""Binance's word for what is not known any more."""
