"""Members that come and go while clients trade: new machines, and nodes that are removed for good.

Owns what an operator does for that (docs/OPERATIONS.md, "Replacing a node"), with the commands an
operator types, and what must have come of it. A change meets cut links and lost leaders: it is
asked for until the members say that it is done. The ids of a cluster only ever grow.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from raftbook.node import FENCED_EXIT
from tests.e2e.ports import HOST

if TYPE_CHECKING:
    from tests.chaos.nemeses import Nemeses

CHANGE_S: Final = 120.0
"""A change of members, a join and the news of a removal each take a second or two, on a machine
that is not busy with other things."""


async def replace_follower(ground: Nemeses, rng: random.Random) -> None:
    """A healthy node goes and another comes."""
    leader = await ground.leader()
    others = [node_id for node_id in ground.cluster.ids if node_id != leader]
    await _replace(ground, rng, rng.choice(others), is_dead=False)


async def replace_leader(ground: Nemeses, rng: random.Random) -> None:
    """The leader commits its own removal."""
    await _replace(ground, rng, await ground.leader(), is_dead=False)


async def replace_dead(ground: Nemeses, rng: random.Random) -> None:
    """A machine is gone, and another one takes its place."""
    await _replace(ground, rng, await ground.one(rng), is_dead=True)


async def _replace(ground: Nemeses, rng: random.Random, node_id: int, *, is_dead: bool) -> None:
    """Two changes, each of which the other, links and deaths may meet half-way."""
    await ground.all_current()
    if is_dead:
        ground.report.note(f"kill -9 node {node_id}, for good")
        await ground.kill(node_id)
    steps = [lambda: _join(ground, rng), lambda: _leave(ground, rng, node_id)]
    rng.shuffle(steps)
    for step in steps:
        await asyncio.gather(step(), _meanwhile(ground, rng, spared=node_id))


async def _meanwhile(ground: Nemeses, rng: random.Random, *, spared: int) -> None:
    """Half of the changes meet a death: the leader's, or of whoever else stays or comes."""
    cluster = ground.cluster
    if rng.random() < 0.5:
        return
    await asyncio.sleep(rng.uniform(0.0, 3.0))
    victim = await ground.leader() if rng.random() < 0.5 else rng.choice(cluster.all_ids)
    if victim == spared or not cluster.is_running(victim):
        return
    ground.report.note(f"meanwhile kill -9 node {victim}")
    await ground.kill(victim)
    await asyncio.sleep(rng.uniform(0.0, 1.0))
    if victim in cluster.ids:  # else it is on its way in, and is started again there
        await ground.start(victim)


async def _join(ground: Nemeses, rng: random.Random) -> None:
    cluster, report = ground.cluster, ground.report
    machine = cluster.new_machine()
    node_id = machine.node_id
    own = (f"{HOST}:{machine.raft_port}", f"{HOST}:{machine.client_port}")
    report.note(f"node {node_id} is added")
    if not await _changed(ground, lambda found: node_id in found, "add", str(node_id), *own):
        return
    await _until(ground, f"node {node_id} has joined", lambda: _has_started(ground, rng, node_id))
    cluster.expected_down.discard(node_id)
    ground.load.read_at(node_id)
    cluster.ids = (*cluster.ids, node_id)
    await _until(
        ground, f"node {node_id} votes", lambda: (cluster.members() or {}).get(node_id, False)
    )
    report.note(f"node {node_id} votes; members are {cluster.ids}")


def _has_started(ground: Nemeses, rng: random.Random, node_id: int) -> bool:
    """A machine that cannot reach the member it asks, or is not known there yet, ends, and is
    started again with another member's address."""
    cluster = ground.cluster
    if not cluster.is_running(node_id):
        if node_id in cluster.running:
            cluster.forget(node_id)
        cluster.join(
            node_id, via=rng.choice([one for one in cluster.ids if one in cluster.running])
        )
        cluster.expected_down.add(node_id)
    return cluster.ask(node_id, "status") is not None


async def _leave(ground: Nemeses, rng: random.Random, node_id: int) -> None:
    cluster, report = ground.cluster, ground.report
    what = "is" if cluster.is_running(node_id) else "is dead and"
    report.note(f"node {node_id} {what} removed")
    if not await _changed(ground, lambda found: node_id not in found, "remove", str(node_id)):
        return
    cluster.ids = tuple(one for one in cluster.ids if one != node_id)
    is_told = True
    if not cluster.is_running(node_id):
        is_told = rng.random() < 0.5
        if is_told:  # somebody finds the old machine and starts it
            report.note(f"node {node_id}, removed, is started again")
            cluster.start(node_id)
    if is_told:
        await _until(ground, f"node {node_id} hears of it", lambda: _is_fenced(ground, node_id))
        async with cluster.locks[node_id]:
            code = await asyncio.to_thread(cluster.stop, node_id)
        if code != FENCED_EXIT:
            report.problem(f"node {node_id}, removed, ended with {code}")
    report.note(f"node {node_id} is gone; members are {cluster.ids}")


def _is_fenced(ground: Nemeses, node_id: int) -> bool:
    status = ground.cluster.ask(node_id, "status")
    return status is not None and status["fence"] == "removed"


async def _changed(
    ground: Nemeses, is_done: Callable[[dict[int, bool]], bool], *words: str
) -> bool:
    """Ask for a change until the members say that it is done."""
    cluster = ground.cluster
    said: list[str] = []

    def is_so() -> bool:
        members = cluster.members()
        if members is not None and is_done(members):
            return True
        if members is not None:  # nobody leads: the command would only wait
            said.append(cluster.operate(*words)[1].strip())
        return False

    if await _until(ground, f"cluster {' '.join(words[:2])}", is_so):
        return True
    ground.report.note(f"it was told: {said[-1:]}")
    return False


async def _until(ground: Nemeses, what: str, is_so: Callable[[], Any]) -> bool:
    within_s = CHANGE_S * ground.cluster.slow
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if await asyncio.to_thread(is_so):
            return True
        await asyncio.sleep(0.1)
    ground.report.problem(f"not within {within_s:g} s: {what}")
    return False


MEMBERS: Final[dict[str, tuple[int, Callable[[Nemeses, random.Random], Awaitable[None]]]]] = {
    "replace_follower": (2, replace_follower),
    "replace_leader": (2, replace_leader),
    "replace_dead": (2, replace_dead),
}
"""Name -> (how often it stands in the deck, what it does)."""
