"""What /metrics says of a node that traded: names, numbers, and that nothing is missing."""

from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from raftbook.core import commands as c
from raftbook.core.types import Side
from raftbook.ops.metrics import NOTED
from raftbook.wire import client_messages as m
from tests.gateway.door import Door, at_the_door
from tests.web.asgi import app_of, get


class Scrape:
    """The samples of one answer, by name and labels."""

    def __init__(self, text: str) -> None:
        self.families: list[Metric] = list(text_string_to_metric_families(text))
        self.values = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self.values[(f"raftbook_{name}", *sorted(labels.items()))]


async def _scrape(app: object) -> Scrape:
    answer = await get(app, "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return Scrape(answer.body.decode())


def test_orders_trades_and_refusals_are_counted(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        app = app_of(door, tmp_path)
        before = await _scrape(app)
        alice = door.caller()
        session = await alice.open("alice")
        orders = (
            c.new_order("A", Side.BUY, 2, 10),
            c.new_order("A", Side.SELL, 1, 10),
            c.new_order("A", Side.BUY, 10**9, 10),
        )
        await alice.ask(m.REQUEST, session, 1, orders)
        await alice.ask(m.REQUEST, session, 1, orders)  # a retry, answered from memory
        scrape = await _scrape(app)
        assert scrape("orders_total") == 2
        assert scrape("events_total", kind="accepted") == 2
        assert scrape("events_total", kind="trade") == 1
        assert scrape("events_total", kind="rejected") == 1
        assert scrape("rejects_total", code="qty_too_large") == 1
        assert scrape("repeated_total") == 1
        assert scrape("resting_orders") == 1
        assert scrape("log_bytes") > before("log_bytes") > 0
        assert scrape("entries_total") == 3
        assert scrape("entry_requests_sum") - before("entry_requests_sum") == 3
        assert scrape("connections", port="client") == 1

    at_the_door(tmp_path, scene)


def test_a_leader_says_so_and_where_it_stands(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        app = app_of(door, tmp_path)
        await door.caller().open("alice")
        scrape = await _scrape(app)
        applied_index = door.replica.raft.applied_index
        digest = door.replica.machine.exchange.digest.value()[:12]
        assert scrape("role", role="leader") == 1
        assert scrape("role", role="follower") == 0
        assert scrape("leader_id") == 1
        assert scrape("ready") == 1
        assert scrape("applied_index") == scrape("commit_index") == applied_index
        assert scrape("digest", digest=digest) == applied_index
        assert scrape("noted_total", event="leading") == 1
        assert scrape("leader_changes_total") == 1
        noted = {name: scrape("noted_total", event=name) for name in NOTED}
        assert {name for name, count in noted.items() if count} == {"leading"}
        assert scrape("sync_seconds_count") > 0
        assert scrape("commit_seconds_count") > 0

    at_the_door(tmp_path, scene)


def test_requests_that_found_no_way_are_counted(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        app = app_of(door, tmp_path)
        alice = door.caller()
        session = await alice.open("alice")
        door.commits = False
        alice.say(m.REQUEST, session, 1, (c.new_order("A", Side.BUY, 2, 10),))
        await alice.connection_round()
        assert (await _scrape(app))("queue", queue="pending") == 1
        door.replica._proposer.take()  # pretends that it has left this node
        door.now += 3.0
        door.replica.turn()
        scrape = await _scrape(app)
        assert scrape("queue", queue="pending") == 0
        assert scrape("not_logged_total", code="outcome_unknown") == 1
        assert scrape("not_logged_total", code="overloaded") == 0

    at_the_door(tmp_path, scene)


def test_a_snapshot_is_measured(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        app = app_of(door, tmp_path)
        await door.caller().open("alice")
        index = door.replica.start_snapshot()
        door.now += 0.25
        door.turns()
        scrape = await _scrape(app)
        assert scrape("snapshot_index") == index
        assert scrape("snapshot_seconds") == 0.25
        assert scrape("snapshot_bytes") > 100
        assert scrape("noted_total", event="snapshot_written") == 1

    at_the_door(tmp_path, scene)


def test_a_fence_shows_its_kind(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        app = app_of(door, tmp_path)
        door.replica.retire()
        scrape = await _scrape(app)
        assert scrape("fenced", kind="removed") == 1
        assert scrape("fenced", kind="diverged") == 0
        assert scrape("ready") == 0
        assert scrape("role", role="leader") == 0
        door.replica.fence = None  # `at_the_door` wants a node that is well

    at_the_door(tmp_path, scene)
