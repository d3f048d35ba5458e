"""What operators look at, against real nodes: /v1/cluster, /readyz, /metrics, `raftbook top`."""

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from textual.pilot import Pilot
from textual.widgets import Static

from cli.invocation import Invocation
from cli.top import ClusterSource
from cli.top_screen import TopScreen
from raftbook.client import Client
from tests.e2e.cluster import PATIENCE_S, Cluster, until
from tests.e2e.ports import HOST


def _get(cluster: Cluster, node_id: int, path: str) -> tuple[int, bytes]:
    url = f"http://{HOST}:{cluster.address(node_id).http_port}{path}"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _cluster(cluster: Cluster, node_id: int) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_get(cluster, node_id, "/v1/cluster")[1])
    return document


def test_every_node_tells_of_all_members(shared: Cluster) -> None:
    leader = shared.wait_leader()
    for node_id in shared.ids:
        document = _cluster(shared, node_id)
        assert document["healthy"] is True
        assert (document["node_id"], document["leader_id"]) == (node_id, leader)
        assert (document["quorum"], document["tolerates"]) == (2, 1)
        roles = {row["node_id"]: row["role"] for row in document["nodes"]}
        assert roles == {each: "leader" if each == leader else "follower" for each in shared.ids}
        assert all(row["agrees"] is not False for row in document["nodes"])
        assert _get(shared, node_id, "/readyz")[0] == 200


def test_a_real_node_has_every_metric(shared: Cluster) -> None:
    leader = shared.wait_leader()
    text = _get(shared, leader, "/metrics")[1].decode()
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    peers = [str(each) for each in shared.ids if each != leader]
    assert [values["raftbook_peer_connected", peer] for peer in peers] == [1, 1]
    assert [values["raftbook_peer_lag_entries", peer] for peer in peers] == [0, 0]
    assert values["raftbook_connections", "http"] == 1
    assert values["raftbook_loop_late_seconds_count",] > 0
    assert values["process_resident_memory_bytes",] > 10**7


def test_who_is_left_of_three_says_so(shared: Cluster) -> None:
    leader = shared.wait_leader()
    here, other = (each for each in shared.ids if each != leader)
    shared.kill(leader)
    shared.kill(other)
    until("not ready", lambda: _get(shared, here, "/readyz")[0] == 503)
    reasons = json.loads(_get(shared, here, "/readyz")[1])["reasons"]
    assert reasons[0]["reason"] == "no_leader"
    assert _get(shared, here, "/healthz") == (200, b"ok\n")
    document = _cluster(shared, here)
    assert (document["healthy"], document["leader_id"]) == (False, None)
    reachable = {row["node_id"]: row["reachable"] for row in document["nodes"]}
    assert reachable == {each: each == here for each in shared.ids}
    shared.start(leader, other)
    shared.wait_up()
    shared.wait_leader()
    until("ready again", lambda: _get(shared, here, "/readyz")[0] == 200)


async def _says(app: TopScreen, pilot: Pilot[None], where: str, words: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while words not in str(app.query_one(where, Static).render()):
            await pilot.pause(0.05)


def test_the_screen_follows_the_market_through_the_loss_of_its_node(shared: Cluster) -> None:
    invocation = Invocation(environ={})
    invocation.config_name = str(shared.path)
    invocation.goes_on, invocation.timeout_s = True, 2.0

    async def play() -> None:
        app = TopScreen(ClusterSource(invocation), "BTC-USD")
        async with app.run_test(size=(120, 40)) as pilot:
            await _says(app, pilot, "#head", "empty book")
            with Client(shared.client_ports(2), account="alice") as alice:
                await asyncio.to_thread(alice.submit, "BTC-USD", "buy", 1, "101.25")
            await _says(app, pilot, "#ladder", "101.25")
            await asyncio.to_thread(shared.kill, 1)
            await _says(app, pilot, "#cluster", "unreachable")
            with Client(shared.client_ports(2), account="bob") as bob:
                await asyncio.to_thread(bob.submit, "BTC-USD", "sell", 1, "101.25")
            await _says(app, pilot, "#tape", "101.25")

    asyncio.run(play())
