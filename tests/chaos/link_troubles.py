"""Trouble on the links: cuts in one direction or around a node, slowness, resets in mid-frame.

Owns what is done to the proxies and for how long. Each trouble mends what it broke.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tests.chaos.nemeses import Nemeses


async def _change(ground: Nemeses, names: list[str], **order: Any) -> None:
    for name in names:
        await asyncio.to_thread(lambda name=name: ground.cluster.proxies.change(name, **order))


async def _cut(ground: Nemeses, rng: random.Random, what: str, names: list[str]) -> None:
    mode = rng.choice(("hold", "refuse"))
    seconds = rng.choice((0.2, 0.7, 1.5, 3.0, 5.0))
    ground.report.note(f"{what} for {seconds:g} s: {mode} {' '.join(names)}")
    await _change(ground, names, mode=mode)
    await asyncio.sleep(seconds)
    if mode == "hold" and rng.random() < 0.4:
        await _change(ground, names, mode="refuse")  # what waited is lost with its connection
    await _change(ground, names, mode="open")
    ground.report.note(f"links {' '.join(names)} are open")


def _around(ground: Nemeses, node_id: int, *, to: bool = True, out: bool = True) -> list[str]:
    others = [other for other in ground.cluster.ids if other != node_id]
    incoming = [f"{other}-{node_id}" for other in others] if to else []
    return incoming + ([f"{node_id}-{other}" for other in others] if out else [])


async def cut_link(ground: Nemeses, rng: random.Random) -> None:
    a, b = rng.sample(ground.cluster.ids, 2)
    await _cut(ground, rng, f"cut from node {a} to node {b}", [f"{a}-{b}"])


async def isolate_one(ground: Nemeses, rng: random.Random) -> None:
    node_id = await ground.one(rng)
    await _cut(ground, rng, f"node {node_id} is cut off", _around(ground, node_id))


async def isolate_leader(ground: Nemeses, rng: random.Random) -> None:
    leader = await ground.leader()
    await _cut(ground, rng, f"the leader, node {leader}, is cut off", _around(ground, leader))


async def deaf_leader(ground: Nemeses, rng: random.Random) -> None:
    leader = await ground.leader()
    names = _around(ground, leader, out=False)
    await _cut(ground, rng, f"the leader, node {leader}, hears nobody", names)


async def mute_leader(ground: Nemeses, rng: random.Random) -> None:
    leader = await ground.leader()
    names = _around(ground, leader, to=False)
    await _cut(ground, rng, f"the leader, node {leader}, is heard by nobody", names)


async def cut_clients(ground: Nemeses, rng: random.Random) -> None:
    node_id = await ground.one(rng)
    await _cut(ground, rng, f"no client reaches node {node_id}", [f"c-{node_id}"])


async def slow_links(ground: Nemeses, rng: random.Random) -> None:
    names = rng.sample(ground.cluster.proxies.names, 3)
    delay_ms = rng.choice((10, 40, 120))
    seconds = rng.uniform(1.0, 5.0)
    ground.report.note(f"{delay_ms} ms on {' '.join(names)} for {seconds:.1f} s")
    await _change(ground, names, delay_ms=delay_ms)
    await asyncio.sleep(seconds)
    await _change(ground, names, delay_ms=0)


async def reset_links(ground: Nemeses, rng: random.Random) -> None:
    names = rng.sample(ground.cluster.proxies.names, 2)
    ground.report.note(f"resets in mid-frame on {' '.join(names)}")
    for name in names:
        await _change(ground, [name], reset_after=rng.randrange(1, 3_000))
    await asyncio.sleep(0.5)


LINKS: Final[dict[str, tuple[int, Callable[[Nemeses, random.Random], Awaitable[None]]]]] = {
    "cut_link": (3, cut_link),
    "isolate_one": (1, isolate_one),
    "isolate_leader": (2, isolate_leader),
    "deaf_leader": (1, deaf_leader),
    "mute_leader": (1, mute_leader),
    "cut_clients": (1, cut_clients),
    "slow_links": (2, slow_links),
    "reset_links": (3, reset_links),
}
"""Name -> (how often it stands in the deck, what it does)."""
