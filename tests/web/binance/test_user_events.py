"""Events of an account: each thing that happens to it, once, the same from every node."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from raftbook.core import commands as c
from raftbook.core.commands import Entry
from raftbook.core.events import TRADE_BUSTED
from raftbook.core.types import OrderType, Phase, SelfTradePrevention, Side, TimeInForce
from raftbook.web.binance.figures import ZERO
from raftbook.web.binance.markets import balance_scale
from raftbook.web.websocket import RESTART
from tests.core.flow import EFFORT
from tests.web.binance.stream_market import Node, UserEar, market_entries

T0 = 10**18 + 123_000_000
KEYS = set("eEscSofqpPFgCxXrilzLnNTtIwmMOZYQWV")
ENDED = {"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"}


class Market(Node):
    """OILUSD settles, GASUSD does not; a listens, and b trades too."""

    def __init__(self) -> None:
        super().__init__()
        self.apply(next(market_entries(self.exchange, 1)))
        self._seq = 0
        self.ear = self.listen("a")

    def listen(self, account: str) -> UserEar:
        ear = UserEar()
        self.users.add(account, ear)
        return ear

    def do(self, *commands: c.Command, by: str = "a") -> list[Any]:
        """One entry; what a's stream tells of it."""
        self._seq += 1
        session = {"op": 1, "a": 2, "b": 3}[by]
        index = self.exchange.applied_index + 1
        self.apply(Entry(index, T0, ((session, self._seq, commands),)))
        return self.ear.take()


def _limit(side: Side, qty: int, price: int, name: str = "", **more: Any) -> c.Command:
    return c.place_order("B", side, qty, price, client_order_id=name, **more)


def _brief(events: list[Any]) -> list[tuple[Any, ...]]:
    return [(each["x"], each["X"], each["i"], each["z"][:-9], each["w"]) for each in events]


def test_a_new_order_has_every_key() -> None:
    market = Market()
    (report,) = market.do(_limit(Side.BUY, 5, 3, "mine"))
    at = T0 // 10**6
    assert report == {
        "e": "executionReport", "E": at, "s": "GASUSD", "c": "mine", "S": "BUY", "o": "LIMIT",
        "f": "GTC", "q": "5.00000000", "p": "3.00000000", "P": ZERO, "F": ZERO, "g": -1, "C": "",
        "x": "NEW", "X": "NEW", "r": "NONE", "i": 1, "l": ZERO, "z": ZERO, "L": ZERO, "n": "0",
        "N": None, "T": at, "t": -1, "I": 4_000_000, "w": True, "m": False, "M": False, "O": at,
        "Z": ZERO, "Y": ZERO, "Q": ZERO, "W": at, "V": "NONE",
    }  # fmt: skip


def test_a_trade_tells_price_fee_and_who_made_it() -> None:
    market = Market()
    market.do(c.deposit("a", "oil", 50, "t1"), c.deposit("b", "usd", 100_000, "t2"), by="op")
    market.do(c.place_order("A", Side.SELL, 5, 12))
    report, position = market.do(c.place_order("A", Side.BUY, 3, 12), by="b")
    assert {key: report[key] for key in "xXlLzZYtmwn"} == {
        "x": "TRADE", "X": "PARTIALLY_FILLED", "l": "3.00000000", "L": "0.12000000",
        "z": "3.00000000", "Z": "0.36000000", "Y": "0.36000000", "t": 1, "m": True, "w": True,
        "n": "0.01000000",
    }  # fmt: skip
    assert (report["N"], report["s"], report["S"]) == ("usd", "OILUSD", "SELL")
    assert position == {
        "e": "outboundAccountPosition", "E": T0 // 10**6, "u": T0 // 10**6,
        "B": [
            {"a": "oil", "f": "45.00000000", "l": "2.00000000"},
            {"a": "usd", "f": "0.35000000", "l": "0.00000000"},
        ],
    }  # fmt: skip


def test_a_trade_with_oneself_is_told_of_both_sides_with_ids_of_their_own() -> None:
    market = Market()
    market.do(_limit(Side.BUY, 5, 3))
    new, maker, taker = market.do(_limit(Side.SELL, 2, 3))
    assert _brief([new, maker, taker]) == [
        ("NEW", "NEW", 2, "0", True),
        ("TRADE", "PARTIALLY_FILLED", 1, "2", True),
        ("TRADE", "FILLED", 2, "2", False),
    ]
    assert (maker["m"], taker["m"], maker["t"], taker["t"]) == (True, False, 1, 1)
    assert len({new["I"], maker["I"], taker["I"]}) == 3


def test_a_cancel_names_the_order_and_what_had_traded() -> None:
    market = Market()
    market.do(_limit(Side.BUY, 5, 3, "mine"))
    market.do(_limit(Side.SELL, 2, 3), by="b")
    (report,) = market.do(c.cancel_order(client_order_id="mine"))
    assert _brief([report]) == [("CANCELED", "CANCELED", 1, "2", False)]
    assert (report["C"], report["Z"], report["r"]) == ("mine", "6.00000000", "NONE")


def test_what_passes_expires() -> None:
    market = Market()
    market.do(_limit(Side.SELL, 1, 3), by="b")
    events = market.do(_limit(Side.BUY, 4, 3, time_in_force=TimeInForce.IOC))
    assert _brief(events) == [
        ("NEW", "NEW", 2, "0", True),
        ("TRADE", "PARTIALLY_FILLED", 2, "1", True),
        ("EXPIRED", "EXPIRED", 2, "1", False),
    ]
    assert events[-1]["Z"] == "3.00000000"


def test_an_amend_replaces_and_tells_what_had_traded_before_it() -> None:
    """The trade that follows in the same entry is not in the report of the amend."""
    market = Market()
    market.do(_limit(Side.BUY, 5, 3))
    market.do(_limit(Side.SELL, 2, 3), _limit(Side.SELL, 2, 4), by="b")
    events = market.do(c.amend_order(order_id=1, order_qty=9, price=4))
    assert _brief(events) == [
        ("REPLACED", "PARTIALLY_FILLED", 1, "2", True),
        ("TRADE", "PARTIALLY_FILLED", 1, "4", True),
    ]
    assert [each["Z"] for each in events] == ["6.00000000", "14.00000000"]
    assert (events[0]["q"], events[0]["p"]) == ("9.00000000", "4.00000000")


def test_prevented_trades_are_told_with_how_much() -> None:
    market = Market()
    market.do(_limit(Side.BUY, 5, 3))
    events = market.do(_limit(Side.SELL, 2, 3, self_trade_prevention=SelfTradePrevention.DECREMENT))
    assert [(e["x"], e["X"], e["i"], e.get("A"), e.get("B")) for e in events] == [
        ("NEW", "NEW", 2, None, None),
        ("TRADE_PREVENTION", "NEW", 1, "2.00000000", "2.00000000"),
        ("TRADE_PREVENTION", "EXPIRED_IN_MATCH", 2, "2.00000000", "2.00000000"),
    ]


def test_a_stop_waits_and_then_works() -> None:
    market = Market()
    market.do(_limit(Side.SELL, 1, 3), _limit(Side.BUY, 1, 3), by="b")
    (waiting,) = market.do(_limit(Side.BUY, 2, 6, ord_type=OrderType.STOP_LIMIT, stop_price=5))
    assert (waiting["o"], waiting["P"], waiting["w"], "W" in waiting) == (
        "STOP_LOSS_LIMIT", "5.00000000", False, False,
    )  # fmt: skip
    events = market.do(_limit(Side.SELL, 1, 5), _limit(Side.BUY, 1, 5), by="b")
    assert _brief(events) == [("NEW", "NEW", 3, "0", True)]


def test_a_stop_that_is_amended_and_fires_in_one_entry_waited_until_it_fired() -> None:
    market = Market()
    market.do(_limit(Side.SELL, 1, 5), by="b")
    market.do(_limit(Side.BUY, 3, 4, ord_type=OrderType.STOP_LIMIT, stop_price=5))
    events = market.do(c.amend_order(order_id=2, order_qty=2), _limit(Side.BUY, 1, 5))
    assert [(each["x"], each["i"], each["w"], "W" in each) for each in events] == [
        ("REPLACED", 2, False, False),
        ("NEW", 3, True, True),
        ("TRADE", 3, False, True),
        ("NEW", 2, True, True),
    ]


def test_a_stop_that_never_fired_was_in_no_book() -> None:
    market = Market()
    market.do(_limit(Side.BUY, 2, 6, ord_type=OrderType.STOP_LIMIT, stop_price=5))
    (amended, ended) = market.do(c.amend_order(order_id=1, order_qty=1), c.cancel_order(order_id=1))
    assert [(each["x"], each["w"], "W" in each) for each in (amended, ended)] == [
        ("REPLACED", False, False),
        ("CANCELED", False, False),
    ]


def test_a_pair_begins_and_ends_with_its_status() -> None:
    market = Market()
    market.do(_limit(Side.SELL, 1, 5), _limit(Side.BUY, 1, 5), by="b")
    pair = c.place_oco("B", Side.SELL, 3, price=8, stop_price=2)
    limit, stop, begun = market.do(pair)
    assert (limit["g"], stop["g"], limit["w"], stop["w"]) == (3, 3, True, False)
    assert (begun["e"], begun["g"], begun["l"], begun["L"]) == (
        "listStatus", 3, "EXEC_STARTED", "EXECUTING",
    )  # fmt: skip
    assert begun["O"] == [{"s": "GASUSD", "i": 3, "c": ""}, {"s": "GASUSD", "i": 4, "c": ""}]
    events = market.do(_limit(Side.BUY, 3, 8), by="b")
    assert [(each.get("x"), each.get("l"), each.get("i")) for each in events] == [
        ("TRADE", "3.00000000", 3), ("CANCELED", ZERO, 4), (None, "ALL_DONE", None),
    ]  # fmt: skip


def test_an_order_is_pending_until_another_one_is_filled() -> None:
    market = Market()
    oto = c.place_oto(_limit(Side.BUY, 3, 2, "w"), _limit(Side.SELL, 3, 8, "p"))
    working, pending, begun = market.do(oto)
    assert [(each["X"], each["w"], "W" in each, each["g"]) for each in (working, pending)] == [
        ("NEW", True, True, 1), ("PENDING_NEW", False, False, 1),
    ]  # fmt: skip
    assert (begun["c"], begun["l"], begun["L"]) == ("OTO", "EXEC_STARTED", "EXECUTING")
    assert begun["O"] == [{"s": "GASUSD", "i": 1, "c": "w"}, {"s": "GASUSD", "i": 2, "c": "p"}]
    filled, released = market.do(_limit(Side.SELL, 3, 2), by="b")
    assert (filled["X"], released["x"], released["X"], released["w"]) == (
        "FILLED", "NEW", "NEW", True,
    )  # fmt: skip
    ended, done = market.do(c.cancel_order(order_id=2))
    assert (ended["x"], "W" in ended, done["l"], done["g"]) == ("CANCELED", True, "ALL_DONE", 1)


def test_a_pair_that_is_pending_ends_with_what_it_waits_for() -> None:
    market = Market()
    pair = c.place_oco("B", Side.SELL, 3, price=8, stop_price=1)
    *orders, begun = market.do(c.place_oto(_limit(Side.BUY, 3, 2), pair))
    assert [each["X"] for each in orders] == ["NEW", "PENDING_NEW", "PENDING_NEW"]
    assert [each["i"] for each in begun["O"]] == [1, 2, 3]
    *ended, done = market.do(c.cancel_order(order_id=1))
    assert [(each["i"], each["r"], "W" in each) for each in ended] == [
        (1, "NONE", True), (2, "OTO_FAILED", False), (3, "OTO_FAILED", False),
    ]  # fmt: skip
    assert (done["c"], done["l"]) == ("OTO", "ALL_DONE")
    assert [each["i"] for each in done["O"]] == [1, 2, 3]


def test_a_pending_order_that_is_cancelled_alone_leaves_the_list_open() -> None:
    market = Market()
    oto = c.place_oto(_limit(Side.BUY, 3, 2), _limit(Side.SELL, 3, 8))
    market.do(oto)
    (ended,) = market.do(c.cancel_order(order_id=2))
    assert (ended["x"], ended["w"], "W" in ended) == ("CANCELED", False, False)
    _, done = market.do(c.cancel_order(order_id=1))
    assert done["l"] == "ALL_DONE"


def test_a_stop_that_its_pair_shrinks_is_replaced_and_waits_on() -> None:
    market = Market()
    pair = c.place_oco("B", Side.SELL, 3, price=8, stop_price=1)
    market.do(c.place_oto(_limit(Side.BUY, 3, 2), c.place_ouo(pair)))
    events = market.do(_limit(Side.SELL, 3, 2), by="b")
    assert [(each["i"], each["x"], each["X"], each["w"]) for each in events] == [
        (1, "TRADE", "FILLED", False), (2, "NEW", "NEW", True), (3, "NEW", "NEW", False),
    ]  # fmt: skip
    events = market.do(_limit(Side.BUY, 1, 8), by="b")
    assert [(each["i"], each["x"], each["w"], "W" in each) for each in events] == [
        (2, "TRADE", True, True), (3, "REPLACED", False, False),
    ]  # fmt: skip


def test_money_that_comes_and_goes_is_told_once() -> None:
    market = Market()
    update, position = market.do(c.deposit("a", "usd", 12_345, "t1"), by="op")
    assert (update["e"], update["a"], update["d"]) == ("balanceUpdate", "usd", "123.45000000")
    assert position["B"] == [{"a": "usd", "f": "123.45000000", "l": "0.00000000"}]
    assert market.do(c.deposit("a", "usd", 12_345, "t1"), by="op") == []
    update, _ = market.do(c.withdraw("a", "usd", 45, "t2"), by="op")
    assert update["d"] == "-0.45000000"


def test_a_busted_trade_moves_money_back() -> None:
    market = Market()
    market.do(c.deposit("a", "oil", 50, "t1"), c.deposit("b", "usd", 100_000, "t2"), by="op")
    market.do(c.place_order("A", Side.SELL, 5, 12))
    market.do(c.place_order("A", Side.BUY, 5, 12), by="b")
    (position,) = market.do(c.bust_trade("A", 1), by="op")
    assert position["B"][0] == {"a": "oil", "f": "50.00000000", "l": "0.00000000"}


def test_the_new_order_of_a_cancel_replace_that_is_refused_is_told() -> None:
    market = Market()
    market.do(_limit(Side.BUY, 5, 3))
    market.do(c.set_phase("B", Phase.CANCEL_ONLY), by="op")
    events = market.do(c.cancel_replace(_limit(Side.BUY, 4, 2, "new"), order_id=1, or_place=True))
    assert [(each["x"], each["X"], each["i"], each["c"]) for each in events] == [
        ("CANCELED", "CANCELED", 1, ""), ("REJECTED", "REJECTED", -1, "new"),
    ]  # fmt: skip
    assert events[1]["r"] == "PHASE_FORBIDS"


def test_a_refused_order_and_what_others_do_is_not_told() -> None:
    market = Market()
    assert market.do(_limit(Side.BUY, 5, 10**9)) == []
    assert market.do(_limit(Side.BUY, 5, 3), by="b") == []


def test_an_account_that_nobody_listens_to_costs_nothing_more() -> None:
    market = Market()
    ear = market.listen("b")
    market.users.remove("b", ear)
    market.users.remove("a", market.ear)
    market.do(_limit(Side.BUY, 5, 3), by="b")
    assert ear.heard == []
    assert not market.users.has_listeners()


def test_an_event_that_cannot_be_told_ends_the_streams_and_nothing_else(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = Market()

    def fail(*_: Any) -> None:
        raise KeyError("something")

    monkeypatch.setattr(market.users, "_note", fail)
    assert market.do(_limit(Side.BUY, 5, 3)) == []
    assert market.ear.ended is not None and market.ear.ended[0] == RESTART
    assert "entry 2 cannot be told" in caplog.text


def test_more_events_than_can_be_told_end_the_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftbook.web.binance.user_hub.EVENTS_MAX", 2)
    market = Market()
    monkeypatch.setattr(market.users._work, "_step", lambda: False)  # the node has no time for it
    market.do(_limit(Side.BUY, 5, 3), _limit(Side.BUY, 5, 3))
    assert market.ear.ended is None
    market.do(_limit(Side.BUY, 5, 3))
    assert market.ear.ended is not None and market.ear.ended[0] == RESTART


def test_what_waits_to_be_told_is_told_to_those_who_listened_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    market = Market()
    step = market.users._work._step
    monkeypatch.setattr(market.users._work, "_step", lambda: False)
    market.do(_limit(Side.BUY, 5, 3), _limit(Side.BUY, 5, 3))
    late = market.listen("a")
    market.do(c.cancel_order(order_id=1))
    while step():
        pass
    assert _brief(market.ear.take()) == [
        ("NEW", "NEW", 1, "0", True),
        ("NEW", "NEW", 2, "0", True),
        ("CANCELED", "CANCELED", 1, "0", False),
    ]
    assert _brief(late.take()) == [("CANCELED", "CANCELED", 1, "0", False)]


def test_two_nodes_tell_the_same_however_they_cut_their_turns() -> None:
    rng = random.Random(7)
    one, other = Node(1), Node(2)
    entries = market_entries(one.exchange, 7)
    log: list[Entry] = []
    ears = {}
    for node in (one, other):
        for name in ("a", "b"):
            ears[node.replica.node_id, name] = UserEar()
            node.users.add(name, ears[node.replica.node_id, name])
    for _ in range(150):
        log.append(next(entries))
        one.apply(log[-1])
    while log:
        count = rng.randint(1, 6)
        other.apply(*log[:count])
        del log[:count]
    for name in ("a", "b"):
        assert ears[1, name].heard == ears[2, name].heard
        assert len(ears[1, name].heard) > 100


@given(seed=st.integers(0, 2**32))
@example(seed=448)
@settings(max_examples=30 * EFFORT, deadline=None, suppress_health_check=list(HealthCheck))
def test_orders_and_balances_kept_from_events_are_the_exchanges(seed: int) -> None:
    node = Node()
    entries = market_entries(node.exchange, seed)
    node.apply(next(entries))
    ear = UserEar()
    node.users.add("a", ear)
    undone: set[int] = set()  # orders of busted trades: Binance has no word for these
    node.replica.machine.watchers.append(lambda applied: undone.update(_busted(applied)))
    for _ in range(80):
        node.apply(next(entries))
    orders: dict[int, Any] = {}
    fills: dict[tuple[str, int, int], None] = {}
    balances: dict[str, tuple[str, str]] = {}
    ids: set[int] = set()
    for event in ear.heard:
        if event["e"] == "executionReport":
            assert set(event) - {"A", "B", "d"} >= KEYS - {"W"}
            assert ("W" in event) == event["w"] or event["X"] in ENDED
            assert event["I"] not in ids
            ids.add(event["I"])
            _follow(orders, event)
            if event["x"] == "TRADE":
                key = (event["s"], event["t"], event["i"])
                assert key not in fills and type(event["N"]) is str
                fills[key] = None
        elif event["e"] == "outboundAccountPosition":
            balances |= {each["a"]: (each["f"], each["l"]) for each in event["B"]}
    account = node.exchange.accounts["a"]
    for order in account.orders.values():
        market = node.markets.of_symbol(order.terms[3])
        assert market is not None
        told = orders[order.terms[0]]
        assert told["q"] == market.qty.text(order.terms[5])
        if order.terms[0] not in undone:
            assert told["z"] == market.qty.text(order.cum_qty)
            assert told["Z"] == market.amount.text(order.cum_notional)
        assert (told["X"] in ENDED) == (order.leaves_qty == 0)
        assert told["O"] == order.entered_ns // 10**6
    open_ids = {order_id for order_id, told in orders.items() if told["X"] not in ENDED}
    assert open_ids == {each.terms[0] for each in account.orders.values() if each.leaves_qty}
    for currency, told in balances.items():
        scale, held = (
            balance_scale(node.exchange.money.decimals, currency),
            account.balances[currency],
        )
        assert told == (scale.text(held.available), scale.text(held.held))
    for symbol, name in (("A", "OILUSD"), ("B", "GASUSD")):
        book = node.exchange.books.get(symbol)
        for _, _, trade in book.tape.trades() if book is not None else ():
            for side in (5, 9):
                if trade[side][1] == "a":
                    assert (name, trade[2], trade[side][0]) in fills


def _busted(applied: Any) -> set[int]:
    """The orders of the trades that an entry has undone."""
    events = [event for reply in applied.replies for event in reply[4]]
    return {event[side][0] for event in events if event[0] == TRADE_BUSTED for side in (6, 7)}


def _follow(orders: dict[int, Any], event: Any) -> None:
    """An order is new once, and nothing follows its end."""
    known = orders.get(event["i"])
    if event["i"] == -1:
        assert event["x"] == "REJECTED"
        return
    if known is None:
        assert event["x"] == "NEW" and event["X"] in ("NEW", "PENDING_NEW")
    elif known["X"] == "PENDING_NEW":  # released, or over
        assert (event["x"], event["X"]) == ("NEW", "NEW") or event["X"] in ENDED
    else:
        assert known["X"] not in ENDED
        assert event["x"] != "NEW" or (not known["w"] and event["w"])
    orders[event["i"]] = event
