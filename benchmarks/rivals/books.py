"""Order books in Python beside our core, on the same flow, round by round in one process.

What the others do not do: no sessions, no replies that are remembered, no events for every reader,
no digest, no snapshot, one instrument, no checks of accounts or limits. Ours has all of that on.
Each book's trades are compared with those of `plain_book`; one that differs is shown, and marked.
"""

from __future__ import annotations

import csv
import gc
import gzip
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any

from benchmarks.core import entries_of, opened
from benchmarks.flows import CONFORMANCE_FLOW, SYMBOL, genesis
from benchmarks.rivals import plain_book
from benchmarks.rivals.book_adapters import BOOKS, Replay
from benchmarks.rivals.plain_book import BUY, CANCEL, MODIFY, NEW, SELL, Message, Trade
from benchmarks.rivals.servers import Absent
from raftbook import __version__
from raftbook.core.build import KIND
from raftbook.core.commands import Command, Entry, amend_order, cancel_order, new_order
from raftbook.core.types import Side, TimeInForce

COUNT = 50_000
ROUNDS_MIN = 3
OURS = {"raftbook, 1 to an entry": 1, "raftbook, 100 to an entry": 100}

Rates = dict[str, list[float]]


def run(seconds: float, count: int = COUNT) -> dict[str, Any]:
    """All books on so many messages of the flow; see `compare`."""
    flow, messages = messages_of_flow(count)
    return {"flow": flow, **compare(messages, seconds, BOOKS)}


def compare(messages: Sequence[Message], seconds: float, names: Collection[str]) -> dict[str, Any]:
    """Messages/s of each book by processor time, and how many times as fast ours is.

    Args:
        seconds: rounds are begun for that long, `ROUNDS_MIN` of them at least.
        names: those of `BOOKS` that take part.
    """
    expected = plain_book.replay(messages)
    commands = commands_of(messages, expected)
    cases: dict[str, Callable[[], float]] = {
        name: _our_case(entries_of(commands, per)) for name, per in OURS.items()
    }
    told: dict[str, dict[str, Any]] = {}
    absent: dict[str, str] = {}
    for name in names:
        book = BOOKS[name]
        try:
            version, replay = book.load()
            trades = replay(messages)
        except Absent as error:
            absent[name] = str(error)
            continue
        except Exception as error:  # a book that does not bear the flow is told, not measured
            absent[name] = f"fails on this flow: {type(error).__name__}: {error}"
            continue
        agrees = same_trades(trades, expected, names_makers=book.names_makers)
        told[name] = {"version": version, "has": book.what, "same_trades": agrees}
        cases[name] = _their_case(replay, messages)
    rates = _rounds(cases, seconds, len(messages))
    return {
        "messages": len(messages),
        "rounds": len(next(iter(rates.values()))),
        "version": f"raftbook {__version__}, core {KIND}",
        "messages_per_s": {name: _summary(found) for name, found in rates.items()},
        "books": {name: {**told[name], "times": _times(rates, name)} for name in told},
        "absent": absent,
    }


def _rounds(cases: dict[str, Callable[[], float]], seconds: float, count: int) -> Rates:
    # The thresholds of a running node, for everybody.
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 50)
    rates: Rates = {name: [] for name in cases}
    end = time.monotonic() + seconds
    try:
        while len(next(iter(rates.values()))) < ROUNDS_MIN or time.monotonic() < end:
            for name, case in cases.items():
                gc.collect()
                rates[name].append(count / case())
    finally:
        gc.set_threshold(*before)
    return rates


def _our_case(entries: Sequence[Entry]) -> Callable[[], float]:
    def case() -> float:
        exchange = opened(genesis())
        start = time.process_time()
        for entry in entries:
            exchange.apply(entry)
        return time.process_time() - start

    return case


def _their_case(replay: Replay, messages: Sequence[Message]) -> Callable[[], float]:
    def case() -> float:
        start = time.process_time()
        replay(messages)
        return time.process_time() - start

    return case


def _summary(found: list[float]) -> dict[str, int]:
    return {"median": round(statistics.median(found)), "best": round(max(found))}


def _times(rates: Rates, name: str) -> dict[str, float]:
    """How many times as fast ours is: the median over the rounds of each round's ratio."""
    return {
        ours: round(
            statistics.median(
                mine / theirs for mine, theirs in zip(rates[ours], rates[name], strict=True)
            ),
            2,
        )
        for ours in OURS
    }


def same_trades(found: list[Trade], expected: list[Trade], *, names_makers: bool) -> bool:
    """Whether these are the expected trades.

    Args:
        names_makers: if not, only what traded at which price with which message is compared.
    """
    return found == expected if names_makers else _by_price(found) == _by_price(expected)


def _by_price(trades: list[Trade]) -> dict[tuple[int, int], int]:
    sums: dict[tuple[int, int], int] = defaultdict(int)
    for trade in trades:
        sums[trade.number, trade.price] += trade.qty
    return dict(sums)


def messages_of_flow(count: int) -> tuple[str, list[Message]]:
    """The conformance flow where its file is; else a flow of our own, and which of them it is."""
    if not CONFORMANCE_FLOW.exists():
        return "generated, seed 7", generated_messages(count)
    with gzip.open(CONFORMANCE_FLOW, "rt") as lines:
        rows = [_message(row) for row in csv.DictReader(lines)]
    return "conformance flow", rows[:count]


def _message(row: dict[str, str]) -> Message:
    side, price, qty = (int(row[name] or 0) for name in ("side", "price", "qty"))
    return Message(row["type"], int(row["order_id"]), side, price, qty, row["ioc"] == "1")


def generated_messages(count: int, seed: int = 7) -> list[Message]:
    """New orders around a walking price, some IOC; cancels and modifies, some of which are late.

    A modify always names another price: at the same one our core lets an order that shrinks keep
    its place (docs/MATCHING.md), which no rule of the flow decides.
    """
    chance = random.Random(seed)
    middle = 10_000
    messages: list[Message] = []
    prices: dict[int, int] = {}
    for order_id in range(1, count + 1):
        draw, side = chance.random(), chance.choice((BUY, SELL))
        earlier = max(1, order_id - chance.randint(1, 500))
        middle += chance.randint(-1, 1)
        price = middle + chance.randint(-2, 20) * (1 if side == SELL else -1)
        qty = chance.randint(1, 20)
        if draw < 0.4:
            messages.append(Message(CANCEL, earlier, 0, 0, 0, False))
        elif draw < 0.5:
            price += price == prices.get(earlier)
            prices[earlier] = price
            messages.append(Message(MODIFY, earlier, 0, price, qty, False))
        else:
            prices[order_id] = price
            messages.append(Message(NEW, order_id, side, price, qty, draw < 0.55))
    return messages


def commands_of(messages: Sequence[Message], trades: Sequence[Trade]) -> list[Command]:
    """The same messages as commands; an amend says the total, so what traded before is added."""
    filled: dict[int, int] = defaultdict(int)
    commands: list[Command] = []
    position = 0
    for number, message in enumerate(messages):
        commands.append(_command(message, filled))
        while position < len(trades) and trades[position].number == number:
            trade = trades[position]
            filled[trade.maker_id] += trade.qty
            filled[message.order_id] += trade.qty
            position += 1
    return commands


def _command(message: Message, filled: dict[int, int]) -> Command:
    kind, order_id, side, price, qty, is_ioc = message
    name = str(order_id)
    if kind == CANCEL:
        return cancel_order(client_order_id=name)
    if kind == MODIFY:
        total = filled[order_id] + qty
        return amend_order(client_order_id=name, order_qty=total, price=price)
    return new_order(
        SYMBOL,
        Side.BUY if side == BUY else Side.SELL,
        qty,
        price,
        client_order_id=name,
        time_in_force=TimeInForce.IOC if is_ioc else TimeInForce.GTC,
    )
