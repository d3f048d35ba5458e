"""`raftbook log diff DIR --from A --to B`: what changed in one log between two entries.

Owns the comparison of two states of one exchange. Must not know files: `data_directory.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from raftbook.client.values import InstrumentSpec
from raftbook.core import events as e
from raftbook.core.events import Event
from raftbook.core.exchange import Exchange
from raftbook.core.hidden import shown_levels
from raftbook.core.ladder import Order
from raftbook.core.types import Phase, Side

from .invocation import Invocation
from .log_entries import EntryReader
from .log_past import money_text, told_events
from .log_source import genesis_for, open_directory, say_skipped
from .output.tables import render_table, rfc3339

Named = dict[str, Any]
Standing = tuple[str, int, int, int | None]
"""state, leaves_qty, cum_qty, price: of an order at one moment."""

CLOSED: Final = "closed"


class _State:
    """What there is to compare, as plain values: a live exchange goes on."""

    def __init__(self, exchange: Exchange) -> None:
        self.time_ns = exchange.now_ns
        self.instruments = {
            symbol: (Phase(book.phase).name, book.last_price, book.feed_seq)
            for symbol, book in exchange.books.items()
        }
        self.levels = {
            (symbol, side.name, level.price): level.qty
            for symbol, book in exchange.books.items()
            for side, ladder in ((Side.BUY, book.bids), (Side.SELL, book.asks))
            for level in shown_levels(ladder)
        }
        orders = [
            order for account in exchange.accounts.values() for order in account.orders.values()
        ]
        self.terms = {order.terms[0]: order.terms for order in orders}
        self.orders = {order.terms[0]: _standing(order) for order in orders}
        self.balances = {
            (name, currency): (
                money_text(exchange, currency, balance.available),
                money_text(exchange, currency, balance.held),
            )
            for name, account in exchange.accounts.items()
            for currency, balance in account.balances.items()
        }


def _standing(order: Order) -> Standing:
    state = "resting" if order.level is not None else "waiting" if order.leaves_qty else CLOSED
    return state, order.leaves_qty, order.cum_qty, order.terms[6]


class _Touched:
    """The orders that events tell of, with what was said of each last."""

    def __init__(self) -> None:
        self.terms: dict[int, tuple[Any, ...]] = {}
        self.cum: dict[int, int] = {}

    def take(self, event: Event) -> None:
        """The next event."""
        kind = event[0]
        if kind in (e.TRADE, e.AUCTION_TRADE):
            self._know(event[5], event[6])
            self._know(event[9], event[10])
        elif kind == e.TRADE_BUSTED:
            self._know(event[6], None)
            self._know(event[7], None)
        elif kind in (e.CANCELED, e.EXPIRED, e.RESTATED):
            self._know(event[2], event[3])
        elif kind == e.REPLACED:
            self._know(event[2], event[4])
        elif kind in (e.ACCEPTED, e.RESTED, e.TRIGGERED, e.REFILLED, e.REPRICED):
            self._know(event[2], None)

    def _know(self, terms: tuple[Any, ...], cum_qty: int | None) -> None:
        self.terms[terms[0]] = terms
        if cum_qty is not None:
            self.cum[terms[0]] = cum_qty


def show_changes(invocation: Invocation, directory: Path, first: int, last: int | None) -> None:
    """Print what changed after entry `first` up to entry `last`."""
    source = open_directory(directory)
    genesis = genesis_for(invocation, source)
    last = source.last if last is None else last
    if first > last:
        raise click.UsageError(f"--from {first} is after --to {last}")
    source.check_reach(first, option="--from")
    source.check_reach(last, option="--to")
    exchange = source.machine_at(first, genesis).exchange
    reader, touched, was = EntryReader(), _Touched(), _State(exchange)
    reader.learn(exchange)
    for _, applied, after in source.replay(first + 1, last, genesis):
        exchange = after
        reader.learn(exchange)
        if applied is not None:
            for _, event, _ in told_events(applied):
                touched.take(event)
    document = _changes(was, _State(exchange), touched, reader.specs)
    head = {"from_index": first, "to_index": last}
    times = {"from_time": rfc3339(was.time_ns), "to_time": rfc3339(exchange.now_ns)}
    say_skipped(source)
    invocation.printer.show(
        head | times | document,
        table=lambda: "\n".join(_text(f"after {first}, up to {last}", document)),
    )


def _changes(
    was: _State, now: _State, touched: _Touched, specs: Mapping[str, InstrumentSpec]
) -> Named:
    return {
        "instruments": list(_instruments(was, now, specs)),
        "levels": list(_levels(was, now, specs)),
        "orders": list(_orders(was, now, touched, specs)),
        "balances": list(_balances(was, now)),
    }


def _differing(was: Mapping[Any, Any], now: Mapping[Any, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Keys whose values differ, those of `was` first, in its order."""
    for key in dict.fromkeys((*was, *now)):
        if was.get(key) != now.get(key):
            yield key, was.get(key), now.get(key)


def _instruments(was: _State, now: _State, specs: Mapping[str, InstrumentSpec]) -> Iterator[Named]:
    for symbol, before, after in _differing(was.instruments, now.instruments):
        named = (_instrument(each, specs[symbol]) for each in (before, after))
        yield {"symbol": symbol, **dict(zip(("was", "now"), named, strict=True))}


def _instrument(value: tuple[str, int | None, int] | None, spec: InstrumentSpec) -> Named | None:
    if value is None:
        return None
    phase, last_price, feed_seq = value
    last = None if last_price is None else f"{spec.price(last_price):f}"
    return {"phase": phase, "last_price": last, "feed_seq": feed_seq}


def _levels(was: _State, now: _State, specs: Mapping[str, InstrumentSpec]) -> Iterator[Named]:
    changed = list(_differing(was.levels, now.levels))
    # As a book shows them: bids from the best, then asks from the best.
    changed.sort(key=lambda each: (each[0][:2], -each[0][2] if each[0][1] == "BUY" else each[0][2]))
    for (symbol, side, price), before, after in changed:
        spec = specs[symbol]
        yield {
            "symbol": symbol,
            "side": side,
            "price": f"{spec.price(price):f}",
            "was_qty": f"{spec.qty(before or 0):f}",
            "now_qty": f"{spec.qty(after or 0):f}",
        }


def _orders(
    was: _State, now: _State, touched: _Touched, specs: Mapping[str, InstrumentSpec]
) -> Iterator[Named]:
    after = dict(now.orders)
    for order_id, terms in touched.terms.items():
        if order_id not in after:  # closed, and forgotten since
            cum = touched.cum.get(order_id, was.orders.get(order_id, (CLOSED, 0, 0, None))[2])
            after[order_id] = (CLOSED, 0, cum, terms[6])
    known = {order_id: each for order_id, each in was.orders.items() if order_id in after}
    terms_of = was.terms | touched.terms | now.terms
    for order_id, before, standing in sorted(_differing(known, after), key=lambda each: each[0]):
        terms = terms_of[order_id]
        spec = specs[terms[3]]
        yield {
            "order_id": order_id,
            "account": terms[1],
            "symbol": terms[3],
            "side": Side(terms[4][0]).name,
            "was": _standing_document(before, spec),
            "now": _standing_document(standing, spec),
        }


def _standing_document(standing: Standing | None, spec: InstrumentSpec) -> Named | None:
    if standing is None:
        return None
    state, leaves, cum, price = standing
    return {
        "state": state,
        "leaves_qty": f"{spec.qty(leaves):f}",
        "cum_qty": f"{spec.qty(cum):f}",
        "price": None if price is None else f"{spec.price(price):f}",
    }


def _balances(was: _State, now: _State) -> Iterator[Named]:
    for (account, currency), before, after in _differing(was.balances, now.balances):
        named = (_balance(each) for each in (before, after))
        both = dict(zip(("was", "now"), named, strict=True))
        yield {"account": account, "currency": currency, **both}


def _balance(value: tuple[str, str] | None) -> Named | None:
    return None if value is None else {"available": value[0], "held": value[1]}


# -- for people -----------------------------------------------------------------------------------


def _text(span: str, document: Mapping[str, Any]) -> Iterator[str]:
    if not any(document.values()):
        yield f"{span}: nothing changed"
        return
    yield f"{span}:"
    columns: Mapping[str, Sequence[str]] = {
        "instruments": ("symbol",),
        "levels": ("symbol", "side", "price"),
        "orders": ("order_id", "account", "symbol", "side"),
        "balances": ("account", "currency"),
    }
    right = ("PRICE", "ORDER_ID")
    for name, keys in columns.items():
        if not document[name]:
            continue
        headers = [*(key.upper() for key in keys), "WAS", "NOW"]
        rows = [_row(each, keys) for each in document[name]]
        yield f"\n{name}\n{render_table(headers, rows, right=right)}"


def _row(each: Mapping[str, Any], keys: Iterable[str]) -> tuple[Any, ...]:
    if "was_qty" in each:
        both = (each["was_qty"], each["now_qty"])
    else:
        both = (_brief(each["was"]), _brief(each["now"]))
    return (*(each[key] for key in keys), *both)


def _brief(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "-"
    if "state" in value:
        price = "" if value["price"] is None else f" @ {value['price']}"
        return f"{value['state']} {value['leaves_qty']}{price}, traded {value['cum_qty']}"
    return " ".join(f"{name} {what}" for name, what in value.items() if what is not None)
