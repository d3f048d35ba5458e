"""Whether the commands of a request are well formed, many at a time, and known to every member.

Owns a shorter way to what `core.form.form_error` says. Most requests hold nothing but plain new
orders: those are judged by columns, all symbols at once, all quantities at once, in a third of the
time if there are many. Whatever that leaves undecided goes the long way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from raftbook.core.commands import ATTACH_SESSION, NEW_ORDER, OPEN_SESSION
from raftbook.core.form import engine_version_of, form_error
from raftbook.core.types import ID_CHARS_MAX, INT64_MAX
from raftbook.core.versions import ENGINE_VERSION
from raftbook.wire.entry import are_flat

MANY: Final = 8
"""From so many commands on the short way is shorter."""

_FIELDS: Final = 10
_TUPLE: Final = frozenset((tuple,))
_INT: Final = frozenset((int,))
_STR: Final = frozenset((str,))
_PRICE: Final = frozenset((int, type(None)))


def forms_error(commands: Sequence[Any]) -> str | None:
    """Why the commands of a client's request are not well formed, or None."""
    if len(commands) >= MANY and are_plain_orders(commands):
        return None
    is_flat = are_flat(commands)
    for place, command in enumerate(commands):
        if not is_flat and type(command) is tuple and command and not are_flat((command,)):
            return "a command is a flat array: its fields hold no arrays and no maps"
        problem = form_error(command)
        if problem is not None:
            return problem
        if command[0] == OPEN_SESSION:
            return "sessions are opened with OPEN"
        if command[0] == ATTACH_SESSION and place:
            return "a session is attached by the first command of a request"
    return None


def version_needed(commands: Sequence[Any], in_force: int) -> int:
    """The engine version that well-formed commands need, if it is not in force yet, else 0: they
    must not get into a log that older builds read. Commands are looked at only while there are
    older builds."""
    if in_force >= ENGINE_VERSION:
        return 0  # this node has nothing newer
    needed = max(map(engine_version_of, commands))
    return needed if needed > in_force else 0


def are_plain_orders(commands: Sequence[Any]) -> bool:
    """Whether these are new orders, each of which `form_error` finds nothing wrong with.

    False may also mean that they are well formed in another way.
    """
    if not (_TUPLE.issuperset(map(type, commands)) and {*map(len, commands)} == {_FIELDS}):
        return False
    kinds, symbols, sides, ord_types, tifs, qtys, prices, client_ids, posts, modes = zip(
        *commands, strict=True
    )
    numbers = kinds + sides + ord_types + tifs + qtys + posts + modes
    names = symbols + client_ids
    if not (_INT.issuperset(map(type, numbers)) and _STR.issuperset(map(type, names))):
        return False
    if not (_PRICE.issuperset(map(type, prices)) and {*kinds} == {NEW_ORDER}):
        return False
    # Now that all types are known, what is equal is the same: one look at each value will do.
    different_numbers, different_names = {*numbers, *prices} - {None}, {*names}
    text = "".join(different_names)
    return (
        min(different_numbers) >= -INT64_MAX
        and max(different_numbers) <= INT64_MAX
        and max(map(len, different_names)) <= ID_CHARS_MAX
        and text.isascii()
        and text.isprintable()
        and " " not in text
    )
