"""Writes the next golden journal: `python -m tests.golden.write_journal`.

A golden journal is the data directory of a stopped node of a cluster of one, written by the
production replica of its day, with what it must lead to for ever. The script writes a new folder
beside the older ones and never touches those. Write one for each engine version and for each new
format of entries, snapshots or the journal.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from raftbook import __version__
from raftbook.config import load_config
from raftbook.core import commands as c
from raftbook.core.agenda import NEVER
from raftbook.core.commands import Request
from raftbook.core.events import Reply
from raftbook.core.exchange import Exchange
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import OrderType, PegReference, Phase, Reject, Side, TimeInForce
from raftbook.core.versions import ENGINE_VERSION
from raftbook.genesis import genesis_digest, genesis_of
from raftbook.replica.machine import Applied, Machine
from raftbook.replica.membership import Member, configured
from raftbook.replica.replica import Replica
from raftbook.replica.shipping import InlineMaker
from raftbook.replica.unasked import QUIET_STEP_S
from raftbook.storage.journal import Journal, JournalIdentity
from raftbook.storage.snapshots import SnapshotStore
from raftbook.wire.entry import pack_engine_switch, pack_request
from tests.core.flow import seeded
from tests.core.venue_flow import Flow
from tests.core.venue_market import LATER, OPENING
from tests.core.venue_profiles import EVERYTHING
from tests.replica.harness import BOUNDS, TIMINGS

JOURNALS: Final = Path(__file__).parent / "journals"
ENTRIES: Final = 900
SNAPSHOT_AFTER: Final = 250
DIGEST_EVERY: Final = 20
FIRST_TIME_NS: Final = 1_767_225_600_000_000_000
QUIET_STEP_NS: Final = 20_000_000_000
QUIET_STEPS: Final = 200
MARKET: Final = OrderType.MARKET
AT_AUCTION: Final = TimeInForce.AT_AUCTION

# The market of `tests/core/venue_market.py`, whose currencies a configuration writes in capitals.
_CURRENCIES: Final = {name: name.upper() for name in ("eur", "usd", "oil", "gas", "sun")}
CLUSTER: Final = """\
[cluster]
name = "golden"
id = "golden-4"
default_account = "op"

[[nodes]]
id = 1
host = "127.0.0.1"
raft_port = 14841
client_port = 14842

[[currencies]]
name = "EUR"
decimals = 2

[[currencies]]
name = "USD"
decimals = 3

[[currencies]]
name = "OIL"
decimals = 0

[[instruments]]
symbol = "A"
base = "OIL"
quote = "USD"
tick_size = "0.01"
lot_size = "1"
qty_max = "6"
price_min = "-0.04"
price_max = "0.04"

[[instruments]]
symbol = "B"
base = "GAS"
quote = "USD"
tick_size = "0.5"
lot_size = "10"
qty_max = "50"
price_min = "-2"
price_max = "2"
band_low = "-1"
band_high = "1"
notional_max = "30"
collar = "0.5"
reference_price = "0"
qty_min = "20"
notional_min = "5"

[[instruments]]
symbol = "F"
base = "OIL"
quote = "EUR"
tick_size = "0.03"
lot_size = "2"
qty_max = "12"
price_min = "0.03"
price_max = "0.18"
settlement = "funded"
maker_fee = "-700.1"
taker_fee = "3000"

[[instruments]]
symbol = "K"
base = "EUR"
quote = "USD"
tick_size = "0.07"
lot_size = "0.1"
qty_max = "0.6"
price_min = "0"
price_max = "0.35"
collar = "0.14"
reference_price = "0.14"
settlement = "credit"
maker_fee = "333.3"
taker_fee = "-111.1"
volatility_band = "0.21"
volatility_call_ms = 1

[[instruments]]
symbol = "Q"
base = "SUN"
quote = "USD"
tick_size = "1"
lot_size = "1"
qty_max = "7"
price_min = "1"
price_max = "6"
reference_price = "3"
volatility_band = "1"
volatility_call_ms = 3

[[accounts]]
name = "op"
operator = true

[[accounts]]
name = "a"
balances = { EUR = "150", OIL = "3000", USD = "100" }

[[accounts]]
name = "b"
balances = { EUR = "150", OIL = "3000", USD = "100" }

[[accounts]]
name = "d"
group = "g"
balances = { EUR = "1.5", OIL = "30", USD = "1" }

[[accounts]]
name = "f"

[bounds]
sessions_max = 8
sessions_per_account_max = 3
session_idle_ms = 300000
reply_window = 1024
closed_orders_max = 3
open_orders_max = 10
book_orders_max = 11
accounts_max = 7
instruments_max = 7
trades_kept = 4
fills_max = 4
stops_max = 5
triggers_max = 2
cancel_page = 2
expiries_page = 2
transfers_kept = 2
currencies_max = 4
api_keys_max = 2
drop_copies_max = 1
auction_page = 3
pegs_max = 4
pegs_page = 3
hidden_max = 4
"""


class _Waiter:
    def replied(self, reply: Reply, applied: Applied) -> None: ...

    def refused(self, session_id: int, request_seq: int, code: Reject, message: str) -> None:
        raise AssertionError(f"{session_id} {request_seq}: {code.name} {message}")


class _Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def write(folder: Path) -> None:
    """Write one golden journal into a folder that does not exist yet."""
    folder.mkdir(parents=True)
    (folder / "cluster.toml").write_text(CLUSTER)
    config = load_config(folder / "cluster.toml")
    digest = genesis_digest(config)
    directory = folder / "node-1"
    identity = JournalIdentity(config.cluster_id, 1, digest)
    journal = Journal.open(directory, identity, incarnation=f"{len(list(JOURNALS.iterdir())):032x}")
    store = SnapshotStore(
        directory / "snapshots", cluster_id=config.cluster_id, genesis_digest=digest
    )
    machine = Machine(genesis_of(config), entries_kept=10_000)
    clock, time_ns = _Clock(), FIRST_TIME_NS
    replica = Replica(
        1,
        configured([Member(1, "127.0.0.1", 14841, 14842)]),
        machine=machine,
        log=journal,
        snapshots=store,
        maker=InlineMaker(machine, store),
        links=None,  # type: ignore[arg-type]  # there is nobody to send to
        timings=TIMINGS,
        bounds=BOUNDS,
        clock=clock,
        wall_ns=lambda: time_ns,
        rng=random.Random(1),
    )
    applied: list[Applied] = []
    replica.on_applied.append(applied.append)
    while not (replica.raft.is_leader and replica.raft.applied_index == replica.last_index > 1):
        clock.now += 0.05
        replica.turn()
    in_force = machine.exchange.engine_version
    switch = pack_engine_switch(time_ns, ENGINE_VERSION, __version__, in_force=in_force)
    replica.raft.propose([switch, switch])  # as a new leader would say it again
    for number, (at_ns, requests) in enumerate(_all_requests(applied, machine.exchange)):
        time_ns = at_ns
        for session_id, request_seq, commands in requests:
            raw = pack_request(session_id, request_seq, commands)
            replica.submit(session_id, request_seq, raw, _Waiter())
        replica.turn()
        while replica.needs_turn() or replica.pending_count:
            replica.turn()
        clock.now += QUIET_STEP_S
        if number == SNAPSHOT_AFTER:
            replica.start_snapshot()
        assert replica.fenced is None, replica.fenced
    assert machine.exchange.agenda.next_ns == NEVER, "time would go on changing what it leads to"
    expected = {
        "written_by": __version__,
        "engine_version": machine.exchange.engine_version,
        "index": replica.last_index,
        "snapshot_index": replica.snapshot_index,
        "state_digest": machine.state_digest(),
        "digests": {
            str(index): machine.digest_at(index)
            for index in range(2, replica.last_index + 1)
            if index % DIGEST_EVERY == 0 or index == replica.last_index
        },
    }
    journal.close()
    expected["files"] = file_digests(folder)
    (folder / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


def file_digests(folder: Path) -> dict[str, str]:
    """The sha256 of each file of a node, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "expected.json"
    }


def _all_requests(
    applied: list[Applied], exchange: Exchange
) -> Iterator[tuple[int, Sequence[Request]]]:
    """What each entry holds and when, made from what the entries before it did."""
    choose = seeded(20_261_129)
    # A kill switch that nobody thinks of for long would leave little else to happen.
    kinds = tuple(kind for kind in EVERYTHING.kinds if kind != "kill")
    flow, learned, unique = Flow(EVERYTHING._replace(kinds=kinds)), 0, 1_000
    flow.time_ns = FIRST_TIME_NS
    yield from _beginning(exchange)
    for number in range(ENTRIES):
        for one in applied[learned:]:
            flow.learn(one.replies)
        learned = len(applied)
        flow.now_ns = max(exchange.now_ns, FIRST_TIME_NS)
        time_ns = flow.advance(choose)
        requests: list[Request] = list(OPENING if not number else ())
        requests += [flow.request(choose) for _ in range(choose((1, 2, 3, 4)) if number else 0)]
        told: list[Request] = []
        for session_id, request_seq, commands in requests:
            if session_id == c.NO_SESSION:
                unique += 1
                request_seq = unique
            if all(type(command) is tuple and command for command in commands):
                told.append((session_id, request_seq, tuple(map(_in_capitals, commands))))
        yield time_ns, told  # no gateway lets an empty command into the log
    yield from _ending(exchange)


def _beginning(exchange: Exchange) -> Iterator[tuple[int, Sequence[Request]]]:
    """What chance seldom brings: an account, and an instrument that is called, traded, closed and
    forgotten."""
    terms = InstrumentTerms(*_in_capitals(LATER._replace(settlement=0, qty_max=9)))
    fills_max = exchange.limits.fills_max
    yield FIRST_TIME_NS, [(c.NO_SESSION, 1, (c.open_session("op", "first"),))]
    (session_id,) = exchange.sessions.by_id
    for number, command in enumerate(
        (
            c.create_currency("X", 4),
            c.create_account("first", group="g"),
            c.list_instrument(terms, Phase.PRE_OPEN),
            c.place_order("C", Side.BUY, 2, 3, display_qty=1),
            c.place_order("C", Side.SELL, 1, None, ord_type=MARKET, time_in_force=AT_AUCTION),
            c.new_order("C", Side.SELL, 1, 1),
            c.place_order("C", Side.SELL, 1, None, ord_type=OrderType.MARKET_TO_LIMIT),
            c.set_phase("C", Phase.CONTINUOUS),
            *(c.new_order("C", Side.SELL, 1, 1),) * (fills_max + 1),
            c.new_order("C", Side.BUY, fills_max + 1, 1),
            c.new_order("C", Side.BUY, 1, 1),
            c.place_peg("C", Side.BUY, 1, PegReference.MARKET),
            c.mass_cancel(),
            c.amend_instrument(terms._replace(tick_size="0.02")),
            c.bust_trade("C", 1),
            c.set_phase("C", Phase.HALTED),
            c.set_phase("C", Phase.CANCEL_ONLY),
            c.set_phase("C", Phase.CLOSED),
            c.delete_instrument("C"),
            c.attach_session(cancel_on_disconnect=True),
            c.new_order("A", Side.BUY, 1, -4),
            c.close_session(),
        )
    ):
        yield FIRST_TIME_NS + number, [(session_id, number + 1, (command,))]


def _in_capitals(command: c.Command) -> c.Command:
    return tuple(
        _CURRENCIES.get(field, field) if type(field) is str else field for field in command
    )


def _ending(exchange: Exchange) -> Iterator[tuple[int, Sequence[Request]]]:
    """All orders end, and time has nothing more to bring: so it may go on without a difference."""
    opening = (c.NO_SESSION, 1, (c.open_session("op", "last"),))
    time_ns = exchange.now_ns + exchange.limits.session_recent_ns  # one gives way to the last one
    yield time_ns, []
    yield time_ns, [opening]
    session_id = exchange.sessions.by_key["op", "last"].session_id
    yield time_ns, [(session_id, 1, (c.mass_cancel(account="*"), c.roll_day()))]
    for step in range(QUIET_STEPS):
        if exchange.agenda.next_ns == NEVER and step:
            break
        time_ns = exchange.now_ns + QUIET_STEP_NS
        yield time_ns, []


def main() -> int:
    JOURNALS.mkdir(exist_ok=True)
    number = 1 + max((int(path.name[:4]) for path in JOURNALS.iterdir()), default=0)
    folder = JOURNALS / f"{number:04}-engine-{ENGINE_VERSION}"
    try:
        write(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    print(f"wrote {folder}: commit it, and never change it again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
