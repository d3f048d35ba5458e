"""The compiled core and the plain one say the same, whatever the log holds.

A cluster may have nodes of both. Golden journals, whose digests are written down, and every other
test hold for both as well; here the two are set side by side, in two processes.
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import raftbook
from raftbook.core import commands as c
from raftbook.core.build import KIND
from raftbook.core.commands import Command, Entry
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.invariants import check
from raftbook.core.snapshot import export_state, restore_state, state_digest
from raftbook.core.types import Phase, Side
from tests.core import venue_flow, venue_market, venue_profiles
from tests.core.flow import EFFORT, FENCED, GENESIS, OPENING, PROFILES, THIRD, random_entries

ROOT = Path(__file__).parents[2]
PACKAGE = Path(raftbook.__file__).parent

GOOD = (
    c.new_order("A", Side.BUY, 3, 1, client_order_id="y"),
    c.new_order("A", Side.SELL, 2, -1),
    c.new_order("B", Side.SELL, 2, 1, client_order_id="s", post_only=True),
    c.cancel_order(order_id=1),
    c.cancel_order(client_order_id="y"),
    c.amend_order(order_id=1, order_qty=2, price=0),
    c.amend_order(client_order_id="y", price=2),
    c.open_session("a", "k"),
    c.create_instrument(THIRD),
    c.create_instrument(FENCED),
    c.set_phase("A", Phase.HALTED),
    c.set_phase("A", Phase.CONTINUOUS),
)
ATOMS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 4, 6, 7),
    *(2**31, 2**62, 2**62 - 1, -(2**62), 2**63 - 1, 2**63, -(2**63), 2**64, -(2**64), 10**40),
    *(0.0, 1.0, 2.0, -1.0, 1.5, float("inf"), float("nan")),
    *("", "A", "B", "y", "k", "a", " ", "\x00", "é", "x" * 65),
    *(b"", b"A", b"\x01"),
)


def odd_command(chance: random.Random) -> Command:
    """A command that is flat, as all in a log are, and mostly wrong somewhere."""
    command = list(chance.choice(GOOD))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
        place = chance.randrange(len(command))
        sort = chance.randrange(8)
        value = command[place]
        if sort == 0 and len(command) > 1:
            del command[place]
        elif sort == 1:
            command.insert(place, chance.choice(ATOMS))
        elif sort == 2 and type(value) is int:
            command[place] = float(value) if chance.random() < 0.5 else bool(value)
        else:
            command[place] = chance.choice(ATOMS)
    return tuple(command)


def odd_entries(seed: int, count: int) -> list[Entry]:
    """Odd commands in sessions old, new, unknown and none; some requests come twice."""
    chance = random.Random(seed)
    entries = [Entry(1, 10**18, OPENING)]
    for index in range(2, count + 2):
        session_id = chance.choice((1, 2, 2, 3, 3, 4, 5, 99, 0))
        context = (session_id, chance.choice((-3, 0, 1, index, index, index)))
        commands = tuple(odd_command(chance) for _ in range(chance.choice((0, 1, 1, 2, 5))))
        if chance.random() < 0.01:
            commands += (c.close_session(),)
        request = (*context, commands)
        time_ns = 10**18 + chance.choice((-5, 0, 0, 50)) * index
        entries.append(Entry(index, time_ns, (request,) * chance.choice((1, 1, 2))))
    return entries


def fingerprint(entries: list[Entry], genesis: Genesis = GENESIS) -> str:
    """Everything that a run says and leaves behind, in one line."""
    exchange = Exchange(genesis)
    said = hashlib.sha256()
    for entry in entries:
        said.update(ascii(exchange.apply(entry)).encode())
        said.update(exchange.digest.value().encode())
        check(exchange)
    state = export_state(exchange)
    said.update(ascii(state).encode())
    assert state_digest(restore_state(genesis, state)) == state_digest(exchange)
    return f"{state_digest(exchange)} {said.hexdigest()}"


def fingerprints() -> str:
    """First which core it is, then a line for each run."""
    runs = [odd_entries(seed, 150) for seed in range(20 * EFFORT)]
    for profile in PROFILES.values():
        runs += [random_entries(seed, 250, profile) for seed in range(4 * EFFORT)]
    venues = [
        fingerprint(venue_flow.random_entries(seed, 200, venue), venue_market.GENESIS)
        for venue in venue_profiles.PROFILES.values()
        for seed in range(4 * EFFORT)
    ]
    return "\n".join([KIND, *map(fingerprint, runs), *venues])


def test_odd_commands_are_not_all_refused_alike() -> None:
    told: set[tuple[int, int]] = set()
    for seed in range(10):
        exchange = Exchange(GENESIS)
        for entry in odd_entries(seed, 150):
            for reply in exchange.apply(entry):
                told |= {(kind, rest[1] if kind in (8, 9) else 0) for kind, *rest in reply[4]}
    assert len(told) >= 25, told


@pytest.mark.skipif(KIND == "pure", reason="this core is plain: make test COMPILED=1 has both")
def test_plain_and_compiled_say_the_same(tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
    shutil.copytree(PACKAGE, tmp_path / "raftbook", ignore=ignore)
    program = "from tests.core.test_compiled import fingerprints; print(fingerprints())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kind, *plain = done.stdout.split("\n")[:-1]
    assert kind == "pure"
    assert ["compiled", *plain] == fingerprints().split("\n")
