"""A TOML file read without mercy: what is not known, or not of the right type, is refused by name.

Owns the reading of tables and keys, and the wording of what is wrong with them. Must not know
which tables and keys raftbook has, nor what they mean: that is `config.py`. Imports only errors.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches

from raftbook.errors import ConfigError

_DECIMAL = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,18})?", re.ASCII)
"""Plain digits, wide enough for anything that fits signed 64 bits; no exponent, NaN, Infinity."""

_SYNTAX_ERROR = re.compile(r"(?P<problem>.*) \(at (?P<place>.*)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FloatLiteral:
    """The text of a TOML float, kept so that an error can quote it. No float is ever made."""

    text: str


def parse_document(text: str, *, file: str) -> Mapping[str, object]:
    """The top level of a TOML text.

    Raises:
        ConfigError: the text is not TOML; says at which line and column.
    """
    try:
        return tomllib.loads(text, parse_float=FloatLiteral)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(text, file=file, message=str(error)) from None


def _syntax_error(text: str, *, file: str, message: str) -> ConfigError:
    match = _SYNTAX_ERROR.fullmatch(message)
    if match is None:
        return ConfigError(file=file, problem=f"not TOML: {message}", hint="see https://toml.io")
    problem = match["problem"][:1].lower() + match["problem"][1:]
    numbers = re.fullmatch(r"line (\d+), column (\d+)", match["place"])
    if numbers is None:
        hint = "a quote or a bracket is not closed"
    else:
        hint = f"the line reads: {text.splitlines()[int(numbers[1]) - 1].strip()}"
    return ConfigError(file=file, problem=f"{match['place']}: {problem}", hint=hint)


def nearest(name: str, known: Collection[str]) -> str:
    """The end of an "unknown name" error: the nearest known name, else all of them."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"


def toml_text(value: object) -> str:
    """A value as TOML writes it, for quoting it back."""
    match value:
        case FloatLiteral():
            return value.text
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)  # the escapes are those of TOML
        case Mapping():
            return "a table"
        case list():
            return "a list"
        case _:
            return str(value)


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a file, or one entry of an array of tables.

    Attributes:
        file: the file as the user named it.
        name: the table's name, without brackets.
        label: which entry, such as "node 3"; empty for a table that stands once.
        values: what the file says.
    """

    file: str
    name: str
    label: str
    values: Mapping[str, object]

    def error(self, key: str | None, problem: str, *, hint: str) -> ConfigError:
        """A ConfigError placed at this table; the caller raises it."""
        where = f"{self.label}: " if self.label else ""
        return ConfigError(
            file=self.file, table=self.name, key=key, problem=where + problem, hint=hint
        )

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Raises ConfigError for the first key that is not in `known`."""
        for key in self.values:
            if key not in known:
                raise self.error(key, f"unknown key {key}", hint=nearest(key, known))

    def text(self, key: str, *, example: str, default: str | None = None) -> str:
        """A string that is not empty."""
        value = self._value(key, example, default)
        if not isinstance(value, str) or not value:
            raise self._wrong(key, "a string that is not empty", example)
        return value

    def name_like(self, key: str, *, pattern: re.Pattern[str], rule: str, example: str) -> str:
        """A string that the pattern matches as a whole; `rule` is the pattern in words."""
        value = self.text(key, example=example)
        if not pattern.fullmatch(value):
            problem = f"{key} {toml_text(value)} is not {rule}"
            raise self.error(key, problem, hint=f"write for example {key} = {toml_text(example)}")
        return value

    def integer(
        self, key: str, *, low: int, high: int, example: int, default: int | None = None
    ) -> int:
        """A whole number in low..high, both included."""
        value = self._value(key, example, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(key, "a whole number", example)
        if not low <= value <= high:
            problem = f"{key} {value} is out of range"
            raise self.error(key, problem, hint=f"write a number from {low} to {high}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """true or false."""
        value = self._value(key, default, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", default)
        return value

    def choice(self, key: str, *, options: Sequence[str], default: str) -> str:
        """One of some words."""
        value = self._value(key, default, default)
        if value not in options:
            problem = f"{key} is {toml_text(value)}, which is none of its words"
            words = ", ".join(map(toml_text, options))
            raise self.error(key, problem, hint=f"write one of {words}")
        return str(value)

    def inner(self, key: str, *, example: str) -> Table | None:
        """A table within this one, None where the key is absent."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            problem = f"{key} is {toml_text(value)}, not a table"
            raise self.error(key, problem, hint=f"write for example {key} = {example}")
        label = f"{self.label}: {key}" if self.label else key
        return Table(self.file, self.name, label, value)

    def decimal(self, key: str, *, example: str) -> Decimal:
        """An exact decimal number, which the file holds as a string."""
        value = self._value(key, example, None)
        if isinstance(value, FloatLiteral | int) and not isinstance(value, bool):
            plain = toml_text(value)
            shown = plain if _DECIMAL.fullmatch(plain) else example
            kind = (
                "float, which cannot hold it exactly"
                if isinstance(value, FloatLiteral)
                else ("number without quotes")
            )
            raise self.error(
                key, f"{key} {plain} is a {kind}", hint=f'write it in quotes: {key} = "{shown}"'
            )
        if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
            raise self._wrong(key, "a plain decimal number in quotes", example)
        return Decimal(value)

    def optional_decimal(self, key: str, *, example: str) -> Decimal | None:
        """An exact decimal number, or None where the key is absent."""
        return self.decimal(key, example=example) if key in self.values else None

    def _value(self, key: str, example: object, default: object) -> object:
        value = self.values.get(key, default)
        if value is None:
            hint = f"write for example {key} = {toml_text(example)}"
            raise self.error(key, f"{key} is missing", hint=hint)
        return value

    def _wrong(self, key: str, wanted: str, example: object) -> ConfigError:
        problem = f"{key} is {toml_text(self.values[key])}, not {wanted}"
        hint = f"write for example {key} = {toml_text(example)}"
        return self.error(key, problem, hint=hint)


def single_table(document: Mapping[str, object], name: str, *, file: str) -> Table | None:
    """The table `[name]`, or None where the file has none."""
    values = document.get(name)
    if values is None:
        return None
    if not isinstance(values, Mapping):
        raise ConfigError(
            file=file,
            table=name,
            problem="must be one table",
            hint=f"write [{name}] once, on a line of its own",
        )
    return Table(file, name, "", values)


def table_entries(
    document: Mapping[str, object], name: str, *, file: str, noun: str, identity: str
) -> list[Table]:
    """The tables `[[name]]` in the order of the file, none where it has none.

    Args:
        noun: what one entry is, for errors: "node".
        identity: the key whose value tells entries apart, for errors: "node 3". Where it is
            unusable the entry's place in the file is given instead.
    """
    entries = document.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ConfigError(
            file=file,
            table=name,
            problem="must be a list of tables",
            hint=f"write [[{name}]], with two brackets, above every {noun}",
        )
    tables = []
    for place, entry in enumerate(entries, start=1):
        known_as = entry.get(identity)
        label = f"{noun} {known_as}" if _is_label(known_as) else f"entry {place}"
        tables.append(Table(file, name, label, entry))
    return tables


def _is_label(value: object) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= 40 and value.isprintable()
    return isinstance(value, int) and not isinstance(value, bool)
