"""The desk: sessions that are opened, shared, forgotten; what is said when the log is silent."""

import asyncio
from pathlib import Path

import pytest

from raftbook.core.commands import Command, new_order
from raftbook.core.limits import Limits
from raftbook.core.types import Side
from raftbook.genesis import genesis_of
from raftbook.web.binance.desk import SESSIONS_MAX, Desk
from raftbook.web.binance.faults import Fault
from tests.web.house import House, config, in_the_house


def bid(name: str) -> Command:
    return new_order("BTC-USD", Side.BUY, 1, 100, client_order_id=name)


def sessions_of(house: House, account: str) -> list[int]:
    return [
        session.session_id
        for session in house.exchange.sessions.by_id.values()
        if session.account.name == account
    ]


def test_a_session_is_opened_once_and_named_by_its_node(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        desk = Desk(house.context)
        await asyncio.gather(*(desk.submit("alice", (bid(f"a-{at}"),)) for at in range(5)))
        await desk.submit("bob", (bid("b"),))
        assert len(sessions_of(house, "alice")) == len(sessions_of(house, "bob")) == 1
        (key,) = {
            session.key
            for session in house.exchange.sessions.by_id.values()
            if session.account.name == "alice"
        }
        assert key.startswith("http-1-")

    in_the_house(tmp_path, scene)


def test_orders_that_come_together_are_one_entry(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        desk = Desk(house.context)
        await desk.submit("alice", (bid("first"),))
        outcomes = await asyncio.gather(
            *(desk.submit("alice", (bid(f"a-{at}"),)) for at in range(50))
        )
        assert len({outcome.entry_index for outcome in outcomes}) == 1
        orders = [outcome.events[0][2][0] for outcome in outcomes]
        assert orders == sorted(orders)

    in_the_house(tmp_path, scene)


def test_a_session_that_the_log_forgot_is_opened_anew(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        desk = Desk(house.context)
        await desk.submit("alice", (bid("one"),))
        (old,) = sessions_of(house, "alice")
        house.exchange.sessions.remove(house.exchange.sessions.by_id[old])
        outcome = await desk.submit("alice", (bid("two"),))
        assert outcome.session_id != old
        assert len(house.exchange.accounts["alice"].orders) == 2

    in_the_house(tmp_path, scene)


def test_more_requests_than_a_session_remembers_need_another_one(tmp_path: Path) -> None:
    genesis = genesis_of(config())._replace(limits=Limits(reply_window=4))

    async def scene(house: House) -> None:
        desk = Desk(house.context)
        await desk.submit("alice", (bid("first"),))
        house.door.commits = False
        waiting = [
            asyncio.ensure_future(desk.submit("alice", (bid(f"a-{at}"),))) for at in range(6)
        ]
        await asyncio.sleep(0)
        house.door.commits = True
        house.door.server.wake()
        await asyncio.gather(*waiting)
        assert len(sessions_of(house, "alice")) == 2
        assert len(house.exchange.accounts["alice"].orders) == 7

    in_the_house(tmp_path, scene, genesis=genesis)


def test_what_one_account_may_have_under_way_is_bounded(tmp_path: Path) -> None:
    genesis = genesis_of(config())._replace(limits=Limits(reply_window=2))

    async def scene(house: House) -> None:
        desk = Desk(house.context)
        for _ in range(SESSIONS_MAX):
            desk._sessions("alice")._sessions.append(await desk.open("alice"))
        house.door.commits = False
        waiting = []
        for at in range(2 * SESSIONS_MAX):
            waiting.append(asyncio.ensure_future(desk.submit("alice", (bid(f"a-{at}"),))))
            await asyncio.sleep(0)
        with pytest.raises(Fault) as refused:
            await desk.submit("alice", (bid("too-many"),))
        assert (refused.value.status, refused.value.code) == (429, -1003)
        house.door.commits = True
        house.door.server.wake()
        await asyncio.gather(*waiting)
        await desk.submit("alice", (bid("again"),))

    in_the_house(tmp_path, scene, genesis=genesis)


def test_accounts_with_sessions_here_are_bounded_and_those_that_rest_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raftbook.web.binance.desk.ACCOUNTS_MAX", 2)

    async def scene(house: House) -> None:
        desk = Desk(house.context)
        for name in ("alice", "bob"):
            await desk.submit(name, (bid("first"),))
        house.door.commits = False
        waiting = [
            asyncio.ensure_future(desk.submit(name, (bid("second"),))) for name in ("alice", "bob")
        ]
        await asyncio.sleep(0)
        with pytest.raises(Fault) as refused:
            await desk.submit("demo", (bid("third"),))
        assert (refused.value.status, refused.value.code) == (429, -1003)
        house.door.commits = True
        house.door.server.wake()
        await asyncio.gather(*waiting)
        await desk.submit("demo", (bid("third"),))
        assert list(desk._by_account) == ["bob", "demo"]

    in_the_house(tmp_path, scene)


async def expire(house: House) -> None:
    """Let the deadline of what waits go by, with a leader that cannot commit."""
    await asyncio.sleep(0)
    house.door.now += 3.0
    house.door.replica._answers.refuse(house.door.replica._proposer.expire(house.door.now))
    house.door.replica._answers.tell()


def test_what_never_left_is_safe_to_send_again(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.buy("1", "100")
        house.door.commits = False
        waiting = asyncio.ensure_future(house.buy("1", "99"))
        await asyncio.sleep(0)
        await expire(house)
        answer = await waiting
        assert (answer.status, answer.code) == (503, -1001)

    in_the_house(tmp_path, scene)


def test_what_left_and_was_not_answered_may_have_taken_effect(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.buy("1", "100")
        house.door.commits = False
        waiting = asyncio.ensure_future(house.buy("1", "99"))
        await asyncio.sleep(0)
        house.door.replica._proposer.take()
        await expire(house)
        answer = await waiting
        assert (answer.status, answer.code) == (504, -1007)
        assert "execution status unknown" in answer.body["msg"]

    in_the_house(tmp_path, scene)


def test_a_session_that_could_not_be_opened_in_time_cost_nothing(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        house.door.commits = False
        waiting = asyncio.ensure_future(house.buy("1", "99"))
        await asyncio.sleep(0)
        house.door.replica._proposer.take()
        await expire(house)
        answer = await waiting
        assert (answer.status, answer.code) == (503, -1001)
        house.door.commits = True
        assert (await house.buy("1", "99")).status == 200

    in_the_house(tmp_path, scene)
