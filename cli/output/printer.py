"""Where words go: data to stdout in the form that was asked for, talk to stderr.

Owns the output format, colours and the schema line. Must not know any verb.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from textwrap import indent
from typing import Any, Final, TextIO

SCHEMA: Final = "raftbook/v1"
FORMATS: Final = ("table", "json", "jsonl")

Document = Mapping[str, Any]

_CODES: Final = {"green": "32", "red": "31", "yellow": "33", "bold": "1", "dim": "2"}


class Printer:
    """Prints the documents of one run.

    Args:
        output: one of FORMATS.
        colour: None decides by the terminal and NO_COLOR (https://no-color.org).
    """

    def __init__(self, output: str = "table", *, colour: bool | None = None) -> None:
        assert output in FORMATS, f"{output} is none of {FORMATS}"
        self.output = output
        self._colour = colour

    @property
    def is_table(self) -> bool:
        return self.output == "table"

    @property
    def colour(self) -> bool:
        if self._colour is None:
            return is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")
        return self._colour

    def show(
        self, document: Document, *, table: Callable[[], str], items: str | None = None
    ) -> None:
        """One document.

        Args:
            table: makes the text for people; called only when it is wanted.
            items: the key whose list gives one line per item in jsonl.
        """
        if self.is_table:
            print(table())
        elif self.output == "jsonl" and items is not None:
            for item in document[items]:
                self.line(item)
        elif self.output == "jsonl":
            self.line(document)
        else:
            print(json.dumps({"schema": SCHEMA, **document}, indent=2))
        sys.stdout.flush()

    def show_each(
        self, items: Iterable[Document], *, key: str, text: Callable[[Document], str]
    ) -> None:
        """As many documents as there are, one after the other: json makes one of them, under `key`.

        Args:
            text: makes the text of one for people.
        """
        if self.output != "json":
            for item in items:
                if self.is_table:
                    print(text(item))
                else:
                    self.line(item, flush=False)
            sys.stdout.flush()
            return
        print(f'{{\n  "schema": "{SCHEMA}",\n  "{key}": [', end="")
        separator = "\n"
        for item in items:
            print(separator + indent(json.dumps(item, indent=2), "    "), end="")
            separator = ",\n"
        print("]\n}" if separator == "\n" else "\n  ]\n}", flush=True)

    def line(self, item: Document, *, flush: bool = True) -> None:
        """One JSON document on one line, whatever the format: streams are lines."""
        print(json.dumps({"schema": SCHEMA, **item}), flush=flush)

    def paint(self, text: str, colour: str) -> str:
        """The text in a colour where there are colours."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.colour and text else text


def say(text: str) -> None:
    """Talk: to stderr, so that it never mixes with data."""
    print(text, file=sys.stderr, flush=True)


def drop_stdout() -> None:
    """Nobody reads stdout any more: what is still in its buffer must not fail a second time."""
    try:
        stdout = sys.stdout.fileno()
    except (OSError, ValueError):
        return  # no file behind it
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stdout)
    os.close(nowhere)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person watches this stream."""
    return stream.isatty()


class Progress:
    """One line on stderr that is written over, on a terminal only."""

    def __init__(self) -> None:
        self._shown = 0
        self._wanted = is_terminal(sys.stderr)

    def show(self, text: str) -> None:
        """Replaces the line."""
        if self._wanted:
            print("\r" + text.ljust(self._shown), end="", file=sys.stderr, flush=True)
            self._shown = len(text)

    def clear(self) -> None:
        """Takes the line away, before something else is said."""
        if self._shown:
            print("\r" + " " * self._shown + "\r", end="", file=sys.stderr, flush=True)
            self._shown = 0
