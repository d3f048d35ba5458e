"""Ticks and lots as decimal text, exactly and fast.

Owns the one conversion that answers need by the thousand. Knows no instruments.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache


class Unit:
    """A tick_size or lot_size; `text(7)` is what seven of them are."""

    __slots__ = ("_factor", "_places")

    def __init__(self, size: str) -> None:
        _, digits, exponent = Decimal(size).as_tuple()
        assert isinstance(exponent, int), f"a unit of {size}"
        self._factor = int("".join(map(str, digits))) * 10 ** max(0, exponent)
        self._places = max(0, -exponent)

    def text(self, count: int) -> str:
        """With as many places as the unit has."""
        scaled = count * self._factor
        if not self._places:
            return str(scaled)
        sign = "-" if scaled < 0 else ""
        digits = str(abs(scaled)).rjust(self._places + 1, "0")
        return f"{sign}{digits[: -self._places]}.{digits[-self._places :]}"


@lru_cache(maxsize=1_024)
def unit(size: str) -> Unit:
    """The unit of this size, made once."""
    return Unit(size)
