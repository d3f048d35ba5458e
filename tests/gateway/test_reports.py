"""Reports: whatever happens to an account, whoever asked for it, and who else may listen."""

from pathlib import Path
from typing import Any

import pytest

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.events import UNASKED
from raftbook.core.types import OrderType, Reject, Side, TimeInForce
from tests.gateway.door import Caller, Door, at_the_door
from tests.gateway.test_venue_queries import Speaker


async def _listener(door: Door, name: str, /, **arguments: Any) -> Caller:
    caller = door.caller()
    await caller.greet(name)
    (answer,) = await caller.subscribe("reports", **arguments)
    assert "subscription" in answer, answer
    return caller


def _kinds(push: Any) -> list[int]:
    return [event[0] for event in push[6]]


def test_what_time_ends_is_told_unasked(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, op = await Speaker.come(door, "alice"), await Speaker.come(door, "op")
        ends_ns = door.replica.machine.exchange.now_ns + 10**9
        gtd = {"time_in_force": TimeInForce.GTD, "expire_time_ns": ends_ns}
        await alice.do(c.place_order("A", Side.BUY, 1, 5, **gtd))
        listener = await _listener(door, "alice")
        before = door.replica.raft.applied_index
        door.now += 2.0
        await op.do(c.new_order("A", Side.BUY, 1, 1))
        (push,) = await listener.pushes()
        index, _, _, offset, session_id, request_seq, events = push
        assert (offset, session_id, request_seq) == (0, 0, UNASKED)
        assert index == before + 1  # the first entry after it, be it of time alone
        assert [event[0] for event in events] == [e.EXPIRED]
        assert events[0][6] == Reject.TIME_IS_UP

    at_the_door(tmp_path, scene)


def test_a_stop_that_fires_on_anothers_trade_is_told_without_the_others(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, op = await Speaker.come(door, "alice"), await Speaker.come(door, "op")
        await op.do(*[c.new_order("A", Side.SELL, 1, 100, client_order_id=f"s{n}") for n in (1, 2)])
        stop = {"ord_type": OrderType.STOP, "stop_price": 100}
        await alice.do(c.place_order("A", Side.BUY, 1, None, **stop))
        listener, watcher = await _listener(door, "alice"), await _listener(door, "op")
        seen = await op.do(c.new_order("A", Side.BUY, 1, 100, client_order_id="b1"))
        assert [event[0] for event in seen] == [e.ACCEPTED, e.TRADE, e.TRADE]
        assert seen[2][9][:3] == (3, "", ""), "whose stop it was is not told"
        (push,) = await listener.pushes()
        assert push[3:6] == (0, 0, 0), "of another's request, and no more of it"
        assert _kinds(push) == [e.TRIGGERED, e.TRADE]
        assert push[6][1][5][1:3] == ("", "")
        (own,) = await watcher.pushes()
        assert own[4:6] == (op.session, op.seq)
        assert own[6] == seen

    at_the_door(tmp_path, scene)


def test_money_limits_and_switches_are_reported_too(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        op = await Speaker.come(door, "op")
        listener = await _listener(door, "alice")
        await op.do(
            c.create_currency("USD", 2),
            c.deposit("alice", "USD", 500, "t1"),
            c.deposit("bob", "USD", 500, "t2"),
            c.set_account("alice", orders_per_s=5),
            c.set_kill_switch(on=True),
            c.mass_cancel(account="alice"),
        )
        (push,) = await listener.pushes()
        assert _kinds(push) == [
            e.BALANCE_CHANGED,
            e.ACCOUNT_CHANGED,
            e.KILL_SWITCH_SET,
            e.MASS_CANCELED,
        ]
        assert push[4:6] == (0, 0)

    at_the_door(tmp_path, scene)


def test_the_request_is_named_though_its_session_is_over(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice, op = await Speaker.come(door, "alice"), await Speaker.come(door, "op")
        first = door.replica.raft.applied_index + 1
        await alice.do(c.new_order("A", Side.SELL, 1, 5))
        await op.do(c.new_order("A", Side.BUY, 1, 5))
        await alice.do(c.close_session())
        late = door.caller()
        await late.greet("alice")
        _, placed, met = await late.subscribe("reports", from_index=first)
        assert placed[4:6] == (alice.session, 1)
        assert met[4:6] == (0, 0)

    at_the_door(tmp_path, scene)


def test_a_drop_copy_is_for_whom_the_account_lets_read(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        op, reader = await Speaker.come(door, "op"), await Speaker.come(door, "alice")
        says = "account 'op' does not let alice read its reports"
        assert await reader.caller.subscribe("reports", account="op") == [
            (Reject.NOT_AUTHORIZED, says)
        ]
        await op.do(c.set_drop_copy("alice", on=True))
        (answer,) = await reader.caller.subscribe("reports", account="op")
        assert answer["account"] == "op"
        await op.do(c.new_order("A", Side.BUY, 1, 5, client_order_id="mine"))
        (push,) = await reader.caller.pushes()
        assert push[6][0][2][1:3] == ("op", "mine")
        assert push[4:6] == (op.session, op.seq)
        await op.do(c.set_drop_copy("alice", on=False))
        await op.do(c.new_order("A", Side.BUY, 1, 5))
        assert await reader.caller.pushes() == []

    at_the_door(tmp_path, scene)


def test_operators_may_listen_to_anybody(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        alice = await Speaker.come(door, "alice")
        listener = await _listener(door, "op", account="alice")
        await alice.do(c.new_order("A", Side.BUY, 1, 5))
        (push,) = await listener.pushes()
        assert push[6][0][2][1] == "alice"
        ((code, message),) = await listener.subscribe("reports", account="nobody")
        assert (code, message) == (Reject.UNKNOWN_ACCOUNT, "no account 'nobody'")

    at_the_door(tmp_path, scene)


@pytest.mark.parametrize("account", [1, 1.5, True, (1,), {"a": 1}, b"x"])
def test_a_name_that_is_no_text_is_malformed(tmp_path: Path, account: Any) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet("op")
        ((code, _),) = await caller.subscribe("reports", account=account)
        assert code == Reject.MALFORMED

    at_the_door(tmp_path, scene)
