"""The parameters of a request: read out of the bytes, checked as they are asked for.

Owns the form of each and the texts that refuse it. What no operation asks for is ignored, as
Binance's clients need: they send parameters of many kinds.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final
from urllib.parse import unquote_plus

from raftbook.core.types import INT64_MAX
from raftbook.web.binance.faults import (
    Fault,
    duplicate,
    empty,
    filtered,
    illegal,
    invalid,
    missing,
    too_precise,
)
from raftbook.web.binance.figures import LEGAL, Scale, is_number
from raftbook.web.binance.markets import NAME_FORM

CLIENT_ID_LEGAL: Final = r"^[\.A-Z\:/a-z0-9_-]{1,36}$"
_CLIENT_ID: Final = re.compile(r"[\.A-Z\:/a-z0-9_-]{1,36}")
_NAME: Final = re.compile(NAME_FORM)
_INTEGER: Final = re.compile(r"[0-9]{1,20}")
_INTEGER_LEGAL: Final = "^[0-9]{1,20}$"
PAIRS_MAX: Final = 64
"""Parameters of one request; no operation has half as many."""
SYMBOLS_MAX: Final = 1_000


class Params:
    """Parameters by name; every value is text, as it would stand in a query."""

    __slots__ = ("values",)

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    def text(self, name: str) -> str | None:
        """A text; None when it was not sent.

        Raises:
            Fault: it was sent empty.
        """
        value = self.values.get(name)
        if value == "":
            raise empty(name)
        return value

    def needed(self, name: str) -> str:
        """A text that must be there."""
        value = self.values.get(name)
        if not value:
            raise missing(name)
        return value

    def symbol(self) -> str:
        """The instrument's name."""
        return checked_name(self.needed("symbol"), "symbol")

    def optional_symbol(self) -> str | None:
        """The instrument's name, where all of them are meant without one."""
        value = self.text("symbol")
        return None if value is None else checked_name(value, "symbol")

    def symbols(self) -> list[str] | None:
        """A list of names, as JSON or (of ws-api) as it was; None when it was not sent."""
        value = self.text("symbols")
        if value is None:
            return None
        try:
            names = json.loads(value)
        except (ValueError, RecursionError):
            legal = rf'^\["{NAME_FORM}"(,"{NAME_FORM}"){{0,}}\]$'
            raise illegal("symbols", legal) from None
        if type(names) is not list or not 0 < len(names) <= SYMBOLS_MAX:
            raise invalid("symbols")
        for name in names:
            if type(name) is not str:
                raise invalid("symbols")
            checked_name(name, "symbols")
        if len(set(names)) != len(names):
            raise Fault(400, -1151, "Symbol is present multiple times in the list.")
        return names

    def integer(self, name: str) -> int | None:
        """A whole number; None when it was not sent."""
        value = self.text(name)
        if value is None:
            return None
        if not _INTEGER.fullmatch(value):
            raise illegal(name, _INTEGER_LEGAL)
        number = int(value)
        if number > INT64_MAX:
            raise Fault(400, -1108, f"Parameter '{name}' overflowed.")
        return number

    def limit(self, default: int, most: int) -> int:
        """How many rows; more than there ever are is what there is."""
        number = self.integer("limit")
        if number is None:
            return default
        if number < 1:
            raise invalid("limit")
        return min(number, most)

    def client_id(self, name: str) -> str | None:
        """A client's own name of an order; None when it was not sent."""
        value = self.text(name)
        if value is not None and not _CLIENT_ID.fullmatch(value):
            raise illegal(name, CLIENT_ID_LEGAL)
        return value

    def number(self, name: str) -> str | None:
        """A decimal number that is not negative, as text; None when it was not sent."""
        value = self.values.get(name)
        if value is None:
            return None
        if not is_number(value):
            raise empty(name) if value == "" else illegal(name, LEGAL)
        return value

    def count(self, name: str, scale: Scale, failure: str) -> int | None:
        """A number in units of a scale; None when it was not sent.

        Args:
            failure: the filter that refuses what is no whole number of units.
        """
        value = self.number(name)
        if value is None:
            return None
        count = scale.count(value)
        if count is None:
            rest = value.partition(".")[2].rstrip("0")
            raise too_precise(name) if len(rest) > scale.places else filtered(failure)
        if count > INT64_MAX:
            raise filtered(failure)
        return count

    def flag(self, name: str, *, default: bool) -> bool:
        """Yes or no."""
        value = self.text(name)
        if value is None:
            return default
        if value.lower() not in ("true", "false"):
            raise illegal(name, "^(true|false)$")
        return value.lower() == "true"


def checked_name(value: str, name: str) -> str:
    """The name of an instrument, whether or not there is one of it."""
    if not _NAME.fullmatch(value):
        raise illegal(name, f"^{NAME_FORM}$")
    return value


def read_pairs(raw: bytes) -> dict[str, str]:
    """`a=1&b=2` as a dictionary.

    Raises:
        Fault: a parameter stands there twice, there are too many, or these are no characters.
    """
    if not raw:
        return {}
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise Fault(400, -1100, "Illegal characters found in a parameter.") from None
    is_coded = "%" in text or "+" in text
    values: dict[str, str] = {}
    pairs = text.split("&")
    if len(pairs) > PAIRS_MAX:
        raise Fault(
            400,
            -1101,
            f"Too many parameters; expected '{PAIRS_MAX}' and received '{len(pairs)}'.",
        )
    for pair in pairs:
        if not pair:
            continue
        name, _, value = pair.partition("=")
        if is_coded:
            name, value = _decoded(name), _decoded(value)
        if name in values:
            raise duplicate()
        values[name] = value
    return values


def _decoded(text: str) -> str:
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise Fault(400, -1100, "Illegal characters found in a parameter.") from None


def read_params(query: bytes, body: bytes) -> Params:
    """Query and form body together; where both name a parameter the query counts, as at Binance."""
    values = read_pairs(query)
    if body:
        values = read_pairs(body) | values
    return Params(values)


def params_of_json(params: dict[str, Any]) -> Params:
    """The parameters of a ws-api request, each as the text that its signature was made of."""
    return Params({name: json_text(value) for name, value in params.items() if value is not None})


def json_text(value: Any) -> str:
    """A JSON value as Binance's clients write it into what they sign."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    return json.dumps(value, separators=(",", ":"))
