"""Numbers that people type: QTY[@PRICE], limits, sizes, and fresh client order ids.

Owns how strict a number is. Must not know ticks and lots of an instrument, nor click's verbs.
"""

from __future__ import annotations

import re
import secrets
from decimal import Decimal
from typing import Any, Final

import click

DIGITS_MAX: Final = 30
"""More than any price or quantity of a 64-bit book can have."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def parse_decimal(text: str, *, what: str) -> Decimal:
    """A plain decimal such as 101.50, exact.

    Raises:
        ValueError: it is none; says so in words.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{what} {text[:40]!r} is not a plain decimal number such as 101.50")
    if sum(char.isdigit() for char in text) > DIGITS_MAX:
        raise ValueError(f"{what} has more than {DIGITS_MAX} digits")
    return Decimal(text)


def parse_qty_and_price(text: str) -> tuple[Decimal, Decimal | None]:
    """`7@101.50` as (7, 101.50), `7` as (7, None).

    Raises:
        ValueError: a part is no number, or the quantity is not positive.
    """
    qty_text, at, price_text = text.partition("@")
    qty = parse_decimal(qty_text, what="quantity")
    if qty <= 0:
        raise ValueError(f"quantity {qty_text} is not positive")
    return qty, parse_decimal(price_text, what="price") if at else None


class DecimalType(click.ParamType[Decimal]):
    """An option that takes a plain decimal."""

    name = "decimal"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        if isinstance(value, Decimal):
            return value
        what = param.name if param is not None and param.name else "number"
        try:
            return parse_decimal(str(value), what=what)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DECIMAL: Final = DecimalType()


def fresh_client_order_id(time_ms: int) -> str:
    """An id that nobody has used: "c-", then a ULID, so that ids sort by the time they were made.

    The layout is that of https://github.com/ulid/spec: 48 bits of time, 80 bits of chance.
    """
    number = (time_ms & (2**48 - 1)) << 80 | secrets.randbits(80)
    digits = []
    for _ in range(26):
        number, digit = divmod(number, 32)
        digits.append(_CROCKFORD[digit])
    return "c-" + "".join(reversed(digits))
