"""Clients under load: every request is insisted on until its outcome is known, and remembered."""

import asyncio
import random
from dataclasses import dataclass, field

from raftbook.client import AsyncClient, RequestReply
from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.core.events import ACCEPTED, CANCEL_REJECTED, REJECTED, Reply
from raftbook.core.types import Reject, Side, TimeInForce
from raftbook.errors import NoNodeReachable, NotAccepted, OutcomeUnknown
from tests.e2e.cluster import PATIENCE_S, Cluster

SYMBOL = "BTC-USD"


@dataclass
class Record:
    """One request that was acknowledged."""

    key: str
    account: str
    commands: list[Command]
    reply: RequestReply


@dataclass
class Load:
    """Some clients sending crossing orders.

    Attributes:
        records: everything acknowledged so far.
        troubles: how often an attempt ended without a result.
        pause_s: between two requests of a lane; each sends 200 at most.
    """

    cluster: Cluster
    clients: int = 4
    seed: int = 1
    pause_s: float = 0.0
    records: list[Record] = field(default_factory=list)
    troubles: int = 0
    _is_over: bool = False

    async def insist(self, client: AsyncClient, commands: list[Command]) -> RequestReply:
        """Send until the outcome is known."""
        request_seq: int | None = None
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            try:
                return await client.request(commands, request_seq=request_seq)
            except OutcomeUnknown as error:
                request_seq = error.request_seq
            except (NotAccepted, NoNodeReachable):
                pass
            self.troubles += 1
            assert asyncio.get_running_loop().time() < deadline, f"no outcome: {commands}"

    async def run(self) -> None:
        """Send until `finish` is called; the first node of each client is another one."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.clients):
                group.create_task(self._one_client(number))

    def finish(self) -> None:
        """No new requests; what is under way is still waited for."""
        self._is_over = True

    async def acknowledged(self, count: int) -> None:
        """Wait until so many more requests are acknowledged."""
        wanted = len(self.records) + count
        async with asyncio.timeout(PATIENCE_S):
            while len(self.records) < wanted:
                await asyncio.sleep(0.01)

    async def _one_client(self, number: int) -> None:
        account = ("alice", "bob", "demo")[number % 3]
        key = f"load-{self.seed}-{number}"
        first = self.cluster.ids[number % len(self.cluster.ids)]
        async with (
            AsyncClient(
                self.cluster.client_ports(first),
                account=account,
                session_key=key,
                timeout_s=10.0,
                request_attempt_timeout_s=2.5,
                rng=random.Random(number),
            ) as client,
            asyncio.TaskGroup() as group,
        ):
            for lane in range(4):
                group.create_task(self._one_lane(client, account, key, lane))

    async def _one_lane(self, client: AsyncClient, account: str, key: str, lane: int) -> None:
        rng = random.Random(f"{key}/{lane}")
        count = 0
        while not self._is_over and count < 200:  # 4 lanes stay within one session's reply window
            count += 1
            name = f"{key}.{lane}.{count}"
            commands = [_order(rng, f"{name}.{part}") for part in range(rng.choice((1, 1, 2)))]
            reply = await self.insist(client, commands)
            self.records.append(Record(key, account, commands, reply))
            await asyncio.sleep(self.pause_s)


def _order(rng: random.Random, name: str) -> Command:
    return c.new_order(
        SYMBOL,
        rng.choice((Side.BUY, Side.SELL)),
        rng.randrange(1, 6),
        rng.randrange(98, 103),
        client_order_id=name,
        time_in_force=rng.choice((TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC)),
    )


# -- what must be so afterwards -------------------------------------------------------------------


async def check_repeats(cluster: Cluster, records: list[Record], *, via: int) -> None:
    """Send every request again through node `via`: each gets its original events and nothing new.

    A session's original client must be closed: two live ones of a key would share its numbers.
    """
    by_key: dict[str, list[Record]] = {}
    for record in records:
        by_key.setdefault(record.key, []).append(record)
    for key, mine in by_key.items():
        async with AsyncClient(
            cluster.client_ports(via), account=mine[0].account, session_key=key, timeout_s=30.0
        ) as client:
            again = await asyncio.gather(
                *(
                    client.request(record.commands, request_seq=record.reply.request_seq)
                    for record in mine
                )
            )
            for record, reply in zip(mine, again, strict=True):
                assert reply.poss_dup, f"{record.key} {record.reply.request_seq} acted again"
                assert reply.events == record.reply.events
                assert reply.session_id == record.reply.session_id
                assert (reply.entry_index, reply.event_offset) == (
                    record.reply.entry_index,
                    record.reply.event_offset,
                )


def check_records(records: list[Record]) -> None:
    """Every order acknowledged once, under an id of its own."""
    ids = [event[2][0] for one in records for event in one.reply.events if event[0] == ACCEPTED]
    assert len(ids) == len(set(ids)), "two orders have one id"
    wanted = [command[7] for one in records for command in one.commands]
    named = [event[2][2] for one in records for event in one.reply.events if event[0] == ACCEPTED]
    assert sorted(named) == sorted(wanted), "an acknowledged request did not enter its orders"


def _is_out_of_line(reply: Reply) -> bool:
    """Whether a request was refused for its number or session: that may happen often."""
    codes = (Reject.STALE_REQUEST, Reject.UNKNOWN_SESSION)
    return all(event[0] in (REJECTED, CANCEL_REJECTED) and event[2] in codes for event in reply[4])


def check_journal(cluster: Cluster, node_id: int, records: list[Record], index: int) -> str:
    """Compare what was acknowledged with a journal played from its beginning; its digest."""
    exchange, replies = cluster.replay(node_id, until_index=index)
    first: dict[tuple[int, int], Reply] = {}
    for reply in replies:
        if reply[0] and not reply[5] and not _is_out_of_line(reply):
            assert (reply[0], reply[1]) not in first, f"request {reply[:2]} took effect twice"
            first[reply[0], reply[1]] = reply
    for record in records:
        reply = first[record.reply.session_id, record.reply.request_seq]
        assert reply[2:4] == (record.reply.entry_index, record.reply.event_offset)
        assert [event[:2] for event in reply[4]] == [event[:2] for event in record.reply.events]
    names = [event[2][2] for reply in first.values() for event in reply[4] if event[0] == ACCEPTED]
    ours = [name for name in names if name.startswith("load-")]
    assert len(ours) == len(set(ours)), "one client_order_id, two orders"
    return exchange.digest.value()
