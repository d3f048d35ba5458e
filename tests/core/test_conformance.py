"""A flow on which most public matching engines disagree, matched to the byte.

The first 50,000 messages of the canonical workload (seed 23, scenario "normal") of
flash1-dev/matching-engine-benchmark, with the reports and books four independent engines agree on.
The files are not part of the project: `tests/outside_data.py` says where they are looked for.
"""

import gzip
import hashlib
from collections.abc import Iterator

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command, Entry
from raftbook.core.events import Event
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.invariants import check
from raftbook.core.types import Side, TimeInForce
from tests.outside_data import DIRECTORY, needs

NAME = "s23_normal_50k_{}.csv.gz"
REPORTS_SHA256 = "ba4295ed611a885017b5055aa51f950d0c8bfb8b01383676353c52ba03672b1f"

pytestmark = needs(*(NAME.format(part) for part in ("messages", "reports", "probes")))


def read(part: str) -> str:
    return gzip.decompress((DIRECTORY / NAME.format(part)).read_bytes()).decode()


class Flow:
    """Sends the messages and writes the reports; keeps depth from public events alone."""

    def __init__(self) -> None:
        terms = InstrumentTerms("X", "x", "y", "1", "1", 10**9, 0, 10**9)
        self.exchange = Exchange(Genesis((terms,), (("a", False),)))
        self.exchange.apply(Entry(1, 1, ((c.NO_SESSION, 0, (c.open_session("a", "k"),)),)))
        self.depth: dict[tuple[int, int], int] = {}
        self.cum_qty: dict[str, int] = {}
        self.reports: list[tuple[int, int, str]] = []

    def command(
        self, kind: str, order_id: str, side: str, price: str, qty: str, ioc: str
    ) -> Command:
        if kind == "N":
            time_in_force = TimeInForce.IOC if ioc == "1" else TimeInForce.GTC
            return c.new_order(
                "X",
                Side.SELL if side == "1" else Side.BUY,
                int(qty),
                int(price),
                client_order_id=order_id,
                time_in_force=time_in_force,
            )
        if kind == "C":
            return c.cancel_order(client_order_id=order_id)
        total = self.cum_qty.get(order_id, 0) + int(qty)
        return c.amend_order(client_order_id=order_id, order_qty=total, price=int(price))

    def send(self, seq: int, command: Command) -> None:
        entry = Entry(seq + 2, seq, ((1, seq + 1, (command,)),))
        for event in self.exchange.apply(entry)[0][4]:
            self._report(seq, command, event)
            self._keep_depth(event)

    def _report(self, seq: int, command: Command, event: Event) -> None:
        kind = event[0]
        if kind == e.TRADE:
            maker, taker = event[5], event[9]
            self.cum_qty[maker[2]], self.cum_qty[taker[2]] = event[6], event[10]
            self._say(seq, 1, event[3], event[4], maker[2], taker[2])
        elif kind == e.CANCEL_REJECTED:
            is_cancel = command[0] == c.CANCEL_ORDER
            self._say(seq, 4 if is_cancel else 5, command[2])
        elif kind != e.RESTED:
            number = {e.ACCEPTED: 0, e.CANCELED: 2, e.EXPIRED: 2, e.REPLACED: 3}[kind]
            _, _, _, _, (side, *_), order_qty, price = terms = event[2]
            qty = {0: (order_qty,), 2: (), 3: event[5:6]}[number]
            self._say(seq, number, 0 if side == Side.BUY else 1, terms[2], price, *qty)

    def _say(self, seq: int, kind: int, *values: object) -> None:
        self.reports.append((seq, kind, ",".join(map(str, (kind, seq, *values)))))

    def _keep_depth(self, event: Event) -> None:
        kind = event[0]
        if kind == e.ACCEPTED and event[1]:
            self._add(event[2], event[2][5])
        elif kind == e.RESTED:
            self._add(event[2], event[3])
        elif kind == e.TRADE:
            self._add(event[5], -event[4])
        elif kind == e.CANCELED and event[5]:
            self._add(event[2], -event[4])
        elif kind == e.REPLACED:
            self._add(event[3], -event[6])
            if event[7]:
                self._add(event[2], event[5])

    def _add(self, terms: tuple[object, ...], qty: int) -> None:
        place = (terms[4][0], terms[6])  # type: ignore[index]
        self.depth[place] = self.depth.get(place, 0) + qty
        if not self.depth[place]:
            del self.depth[place]

    def probe(self, probe_side: str, probe_price: str) -> str:
        bids = {price: qty for (side, price), qty in self.depth.items() if side == Side.BUY}
        asks = {price: qty for (side, price), qty in self.depth.items() if side == Side.SELL}
        asked = bids if probe_side == "0" else asks
        best_bid, best_ask = max(bids, default=""), min(asks, default="")
        values = (best_bid, bids.get(best_bid, 0), best_ask, asks.get(best_ask, 0))
        return ",".join(
            map(str, (*values, probe_side, probe_price, asked.get(int(probe_price), 0)))
        )


def test_reports_and_books_are_equal_to_the_byte() -> None:
    flow = Flow()
    expected_probes = dict(line.split(",", 1) for line in read("probes").splitlines()[1:])
    probed = 0
    for line in read("messages").splitlines()[1:]:
        seq, *fields = line.split(",")
        flow.send(int(seq), flow.command(*fields))
        if seq in expected_probes:
            probe = expected_probes[seq]
            assert flow.probe(*probe.split(",")[4:6]) == probe, f"the book after message {seq}"
            probed += 1
    assert probed == len(expected_probes) == 200
    check(flow.exchange)
    ordered = sorted(flow.reports, key=lambda report: report[:2])
    text = "\n".join(report for _, _, report in ordered)
    expected = read("reports")
    differing = _first_difference(text.split("\n"), expected.split("\n"))
    assert differing is None, differing
    assert hashlib.sha256(text.encode()).hexdigest() == REPORTS_SHA256


def _first_difference(ours: list[str], theirs: list[str]) -> str | None:
    def pairs() -> Iterator[tuple[str, str]]:
        yield from zip(ours, theirs, strict=False)

    for number, (our, their) in enumerate(pairs()):
        if our != their:
            return f"report {number}: {our} where {their} was due"
    return None if len(ours) == len(theirs) else f"{len(ours)} reports for {len(theirs)}"
