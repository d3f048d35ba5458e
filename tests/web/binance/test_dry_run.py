"""`order/test` says what the book would say, and leaves no trace."""

import random
from pathlib import Path
from typing import Any

import pytest

from raftbook.core.commands import Command, new_order, place_order, set_kill_switch, set_phase
from raftbook.core.events import REJECTED
from raftbook.core.types import (
    OrderType,
    Phase,
    PostOnly,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TrailUnit,
)
from raftbook.core.versions import ENGINE_VERSION
from raftbook.web.binance.trading import dry_run
from tests.gateway.door import GENESIS
from tests.web.house import House, in_the_house

ACCOUNTS = ("alice", "bob", "poor")


def some_order(chance: random.Random, number: int) -> Command:
    """An order of any kind, more often a good one than not."""
    pick = chance.choice
    symbol = pick(("BTC-USD", "BTC-USD", "ETH-USD", "NO-SUCH"))
    side, mode = pick(list(Side)), pick(list(SelfTradePrevention))
    ord_type = pick((OrderType.LIMIT, OrderType.LIMIT, OrderType.MARKET, OrderType.STOP))
    time = pick((TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK, TimeInForce.DAY))
    price = None if ord_type != OrderType.LIMIT else pick((9_999, 10_000, 10_001, 0, 10**9))
    qty = pick((1, 5, 1_000, 10**7, 10**8, 0))
    name = pick(("", f"n-{number}", f"n-{number - 1}"))
    plain: dict[str, Any] = {
        "client_order_id": name,
        "ord_type": ord_type,
        "time_in_force": time,
        "self_trade_prevention": mode,
    }
    if chance.random() < 0.5:
        is_maker = ord_type == OrderType.LIMIT and chance.random() < 0.3
        return new_order(symbol, side, qty, price, post_only=is_maker, **plain)
    is_stop = ord_type == OrderType.STOP
    trails = is_stop and chance.random() < 0.3
    return place_order(
        symbol,
        side,
        qty,
        price,
        post_only=pick((PostOnly.NO, PostOnly.REJECT)) if price is not None else PostOnly.NO,
        stop_price=pick((9_000, 11_000, 0)) if is_stop and not trails else None,
        trail_unit=TrailUnit.BASIS_POINTS if trails else TrailUnit.NONE,
        trail_offset=pick((50, 10_000)) if trails else 0,
        display_qty=pick((0, 0, 2, 10**9)),
        quote_qty=pick((0, 0, 10_000)),
        **plain,
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_try_says_what_the_book_then_says(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)

    async def scene(house: House) -> None:
        told: set[int] = set()
        for number in range(150):
            if chance.random() < 0.03:
                phase = chance.choice((Phase.HALTED, Phase.AUCTION, Phase.CONTINUOUS))
                await house.native("demo", set_phase("BTC-USD", phase))
            if chance.random() < 0.02:
                is_on = chance.random() < 0.5
                await house.native("demo", set_kill_switch(account="bob", on=is_on))
            name = chance.choice(ACCOUNTS)
            command = some_order(chance, number)
            expected = dry_run(house.exchange, house.exchange.accounts[name], command)
            first = (await house.native(name, command))[0]
            found = first[2] if first[0] == REJECTED else 0
            assert found == expected, (name, command)
            told.add(found)
        assert len(told) > 4, f"only {told} came up"

    in_the_house(tmp_path, scene)


def test_a_try_does_not_make_a_balance(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        poor = house.exchange.accounts["poor"]
        terms = {"symbol": "BTCUSD", "side": "BUY", "type": "MARKET", "quantity": "1"}
        await house.sell("1", "100")
        before = house.door.replica.machine.state_digest()
        answer = await house.signed("POST", "/order/test", "poor", **terms)
        assert answer.code == -2010
        assert poor.balances == {}
        assert house.door.replica.machine.state_digest() == before

    in_the_house(tmp_path, scene)


def test_rates_are_told_if_they_are_asked_for(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        terms = {"symbol": "BTCUSD", "side": "BUY", "type": "MARKET", "quantity": "1"}
        answer = await house.signed("POST", "/order/test", computeCommissionRates="true", **terms)
        assert answer.body["standardCommissionForOrder"]["taker"] == "0.00000000"

    in_the_house(tmp_path, scene)


def test_while_an_older_build_is_a_member_orders_are_plain(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        house.exchange.engine_version = 1
        terms = {"symbol": "OILUSD", "side": "BUY", "quantity": "1"}
        limit = {"type": "LIMIT", "timeInForce": "GTC", "price": "1"}
        assert (await house.signed("POST", "/order", **terms, **limit)).body["status"] == "NEW"
        stop = await house.signed("POST", "/order", type="STOP_LOSS", stopPrice="1", **terms)
        assert (stop.status, stop.code) == (400, -2010)
        assert "until every node runs the newer release" in stop.body["msg"]
        gone = await house.signed("DELETE", "/order", symbol="OILUSD", orderId=1)
        assert gone.body["status"] == "CANCELED"

    in_the_house(tmp_path, scene, genesis=GENESIS)


def test_what_a_member_may_not_know_yet_is_refused_whatever_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raftbook.gateway.forms.ENGINE_VERSION", ENGINE_VERSION + 1)
    monkeypatch.setattr(
        "raftbook.gateway.forms.engine_version_of", lambda command: ENGINE_VERSION + 1
    )

    async def scene(house: House) -> None:
        answer = await house.buy("1", "1", symbol="OILUSD")
        assert (answer.status, answer.code) == (400, -2010)
        assert "until every node runs the newer release" in answer.body["msg"]

    in_the_house(tmp_path, scene, genesis=GENESIS)
