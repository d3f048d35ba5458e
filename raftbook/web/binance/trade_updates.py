"""Trades as streams tell them.

Owns the JSON of `trade` and `aggTrade`, made of the trades of one entry. What is one aggregate,
and what it is called, is as REST says it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring_ascii as quoted
from typing import Final

from raftbook.core.events import AUCTION_TRADE, TRADE, Event
from raftbook.replica.machine import Applied
from raftbook.web.binance.market_data import Aggregate, is_buyer_maker
from raftbook.web.binance.markets import Market, milliseconds

_TRADES: Final = frozenset((TRADE, AUCTION_TRADE))


class News:
    """What an applied entry told; its trades are looked for once, if anybody asks."""

    def __init__(self, applied: Applied) -> None:
        self.applied = applied
        self._trades: dict[str, list[Event]] | None = None

    def trades(self, symbol: str) -> list[Event]:
        """The trades of one of our symbols, in order."""
        if self._trades is None:
            self._trades = {}
            for event in self._events():
                if event[0] in _TRADES:
                    self._trades.setdefault(event[5][3], []).append(event)
        return self._trades.get(symbol, [])

    def _events(self) -> Iterator[Event]:
        for reply in self.applied.replies:
            if not reply[5]:
                yield from reply[4]


def trade_updates(market: Market, news: News) -> Iterable[str]:
    """`trade` of each trade of an instrument."""
    time_ms = milliseconds(news.applied.time_ns)
    for event in news.trades(market.symbol):
        price, qty = market.price.text(event[3]), market.qty.text(event[4])
        is_maker = "true" if is_buyer_maker(event) else "false"
        yield (
            f'{{"e":"trade","E":{time_ms},"s":{quoted(market.name)},"t":{event[2]},"p":"{price}",'
            f'"q":"{qty}","T":{time_ms},"m":{is_maker},"M":true}}'
        )


def aggregate_updates(market: Market, news: News) -> Iterable[str]:
    """`aggTrade` of each run of trades of one taker at one price."""
    applied = news.applied
    made: list[Aggregate] = []
    for event in news.trades(market.symbol):
        if not made or not made[-1].takes(applied.index, event):
            made.append(Aggregate(applied.time_ns, applied.index, event))
    time_ms = milliseconds(applied.time_ns)
    for each in made:
        price, qty = market.price.text(each.event[3]), market.qty.text(each.qty)
        is_maker = "true" if is_buyer_maker(each.event) else "false"
        yield (
            f'{{"e":"aggTrade","E":{time_ms},"s":{quoted(market.name)},"a":{each.first_id},'
            f'"p":"{price}","q":"{qty}","f":{each.first_id},"l":{each.last_id},"T":{time_ms},'
            f'"m":{is_maker},"M":true}}'
        )
