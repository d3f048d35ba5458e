"""The metrics of a node in Prometheus' form: names, units, labels, and what each means.

Owns the catalogue, made anew from the node's own numbers each time somebody asks: nothing is kept
here and nothing is paid while nobody asks. docs/OPERATIONS.md tells what to watch. Must not know
HTTP. Needs prometheus-client, which the extra `gateway` brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from raftbook.core.build import KIND
from raftbook.core.types import Reject
from raftbook.core.versions import ENGINE_VERSION
from raftbook.ops.event_names import EVENT_NAMES
from raftbook.ops.loop_lag import LoopLag
from raftbook.ops.readiness import known_leader, obstacles
from raftbook.ops.tally import Tally
from raftbook.replica.fences import FenceKind
from raftbook.replica.meter import Histogram
from raftbook.replica.replica import Replica

DIGEST_CHARS: Final = 12
ROLES: Final = ("follower", "candidate", "leader")
NOTED: Final = (
    "election", "leading", "stepped_down", "no_leader", "following", "snapshot_written",
    "snapshot_failed", "snapshot_damaged", "snapshot_put_off", "snapshot_sending",
    "snapshot_installed", "snapshot_refused", "forward_refused", "no_majority", "fenced",
)  # fmt: skip
"""Events of note that are shown as 0 before they happen, so that an alert sees the first one."""
NOT_LOGGED: Final = ("no_leader", "overloaded", "outcome_unknown", "not_ready")
"""Why a request got no place in the log, shown as 0 likewise."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a node's numbers stand.

    Attributes:
        describe: the parts of a status that only the composition root knows.
        connections: how many connections there are, by port.
        age_max_s: see `readiness.obstacles`.
    """

    replica: Replica
    tally: Tally
    loop_lag: LoopLag
    describe: Callable[[], Mapping[str, Any]]
    connections: Callable[[], Mapping[str, int]]
    age_max_s: float


def make_registry(sources: Sources) -> CollectorRegistry:
    """A registry of this node alone, with what the process needs of its machine."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(sources))
    ProcessCollector(registry=registry)
    return registry


class NodeCollector(Collector):
    """Reads one node when it is asked."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Every metric, with its help."""
        yield from self._node()
        yield from self._raft()
        yield from self._peers()
        yield from self._market()
        yield from self._timings()
        yield from self._queues()
        yield from self._snapshots()

    def _node(self) -> Iterator[Metric]:
        replica, told = self._sources.replica, self._sources.describe()
        exchange = replica.machine.exchange
        yield InfoMetricFamily(
            "raftbook",
            "What runs here.",
            {
                "node": str(replica.node_id),
                "cluster": str(told["cluster"]),
                "version": str(told["version"]),
                "core": KIND,
            },
        )
        yield _gauge("engine_version", "Engine version in force.", exchange.engine_version)
        yield _gauge("engine_version_supported", "Newest that this build has.", ENGINE_VERSION)
        ready = not obstacles(replica, age_max_s=self._sources.age_max_s)
        yield _gauge("ready", "1 when /readyz says 200.", ready)
        fence = replica.fence
        fenced = {str(kind): fence is not None and fence.kind is kind for kind in FenceKind}
        yield _gauges("fenced", "1 for the kind of fence this node is behind.", "kind", fenced)
        noted = dict.fromkeys(NOTED, 0) | dict(replica.figures.occurrences)
        yield _counters("noted", "Events of note, as in the log.", "event", noted)
        changes = noted["leading"] + noted["following"]
        yield _counter("leader_changes", "How often this node learned of a leader.", changes)

    def _raft(self) -> Iterator[Metric]:
        replica = self._sources.replica
        raft, exchange = replica.raft, replica.machine.exchange
        role = "" if replica.fence is not None else raft.role
        yield _gauges("role", "1 for the role.", "role", {each: each == role for each in ROLES})
        yield _gauge("term", "Raft term.", raft.term)
        leader_id = 0 if replica.fence is not None else known_leader(replica) or 0
        yield _gauge("leader_id", "Who leads as far as known here, 0 for nobody.", leader_id)
        yield _gauge("commit_index", "Last entry known to be committed.", raft.commit_index)
        yield _gauge("applied_index", "Last entry applied.", raft.applied_index)
        yield _gauge("last_index", "Last entry in the log.", replica.last_index)
        yield _gauge(
            "agreed_index",
            "Last entry after which a majority had this node's digest.",
            replica.agreement.agreed_index,
        )
        age_s = replica.age_ms() / 1_000
        yield _gauge("state_age_seconds", "Since this node knew itself current.", age_s)
        digest = GaugeMetricFamily(
            "raftbook_digest",
            "The entry after which the exchange has this digest; equal index, equal digest.",
            labels=("digest",),
        )
        digest.add_metric((exchange.digest.value()[:DIGEST_CHARS],), raft.applied_index)
        yield digest

    def _peers(self) -> Iterator[Metric]:
        replica = self._sources.replica
        rows = [
            row for row in self._sources.describe()["members"] if row["node_id"] != replica.node_id
        ]
        up = {str(row["node_id"]): row["connected"] for row in rows}
        yield _gauges("peer_connected", "1 while messages have a way there.", "peer", up)
        seen = {
            str(row["node_id"]): row["seen_ms_ago"] / 1_000
            for row in rows
            if row["seen_ms_ago"] is not None
        }
        yield _gauges("peer_seen_seconds", "Since a peer last spoke.", "peer", seen)
        lag = {
            str(row["node_id"]): replica.last_index - row["match_index"]
            for row in rows
            if row["match_index"] is not None
        }
        yield _gauges(
            "peer_lag_entries", "Entries a peer does not have yet; the leader's.", "peer", lag
        )

    def _market(self) -> Iterator[Metric]:
        sources, exchange = self._sources, self._sources.replica.machine.exchange
        tally = sources.tally
        yield _counter("entries", "Entries applied here since the start.", tally.entries)
        kinds = {name: tally.kinds[kind] for kind, name in EVENT_NAMES.items()}
        yield _counters("events", "Events of the market since the start.", "kind", kinds)
        rejects = {Reject(code).name.lower(): count for code, count in tally.rejects.items()}
        yield _counters("rejects", "Commands that the exchange refused.", "code", rejects)
        refusals = dict.fromkeys(NOT_LOGGED, 0)
        refusals |= {code.name.lower(): n for code, n in sources.replica.figures.refusals.items()}
        yield _counters(
            "not_logged",
            "Requests that got no place in the log, or not for sure.",
            "code",
            refusals,
        )
        yield _counter("repeated", "Requests answered from memory.", tally.repeated)
        yield _counter("orders", "Orders accepted since the genesis.", exchange.last_order_id)
        yield _gauge("instruments", "Instruments listed.", len(exchange.books))
        resting = sum(book.resting_count for book in exchange.books.values())
        yield _gauge("resting_orders", "Orders in the books.", resting)
        yield _gauge("sessions", "Sessions of clients.", len(exchange.sessions.by_id))

    def _timings(self) -> Iterator[Metric]:
        meter = self._sources.replica.figures.meter
        yield _histogram("entry_requests", "Requests in one applied entry.", meter.requests)
        yield _histogram(
            "commit_seconds", "From proposal to commit; the leader's own entries.", meter.commit
        )
        yield _histogram("sync_seconds", "One sync of the journal.", meter.sync)
        yield _histogram("apply_seconds", "To apply one entry.", meter.apply)
        yield _histogram(
            "loop_late_seconds",
            "How late the loop is, ten times a second.",
            self._sources.loop_lag.late,
        )

    def _queues(self) -> Iterator[Metric]:
        replica = self._sources.replica
        depths = {
            "pending": replica.pending_count,
            "forwarded": replica.figures.forwarded_count,
            "uncommitted": replica.last_index - replica.raft.commit_index,
            "unapplied": replica.raft.commit_index - replica.raft.applied_index,
        }
        yield _gauges("queue", "Requests or entries that wait there.", "queue", depths)
        yield _gauge(
            "pending_bytes", "Bytes of the requests that wait.", replica.figures.pending_bytes
        )
        connections = self._sources.connections()
        yield _gauges("connections", "Open connections.", "port", connections)

    def _snapshots(self) -> Iterator[Metric]:
        replica = self._sources.replica
        yield _gauge("snapshot_index", "Entry of the newest snapshot.", replica.snapshot_index)
        yield _gauge("log_bytes", "Size of the log, which is in memory.", replica.log_bytes)
        yield _gauge("snapshot_seconds", "How long the last one took.", replica.figures.snapshot_s)
        yield _gauge("snapshot_bytes", "Size of the newest one.", replica.figures.snapshot_bytes)


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"raftbook_{name}", words, value=float(value))


def _gauges(name: str, words: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"raftbook_{name}", words, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), float(value))
    return family


def _counter(name: str, words: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"raftbook_{name}", words, value=float(value))


def _counters(name: str, words: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"raftbook_{name}", words, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), float(value))
    return family


def _histogram(name: str, words: str, histogram: Histogram) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"raftbook_{name}", words)
    buckets: list[tuple[str, float]] = []
    below = 0
    for bound, count in zip((*histogram.bounds, None), histogram.counts, strict=True):
        below += count
        buckets.append(("+Inf" if bound is None else f"{bound:g}", float(below)))
    family.add_metric((), buckets, histogram.sum)
    return family
