"""Call auctions: the price by brute force over every tick, then who trades with whom."""

from raftbook.core import events as e
from raftbook.core.types import OrderType as Type
from raftbook.core.types import Phase, Reject, Side
from raftbook.core.types import TimeInForce as Tif
from tests.core.twin.base import price_reject
from tests.core.twin.state import CALL, NOWHERE, TwinAuction, TwinOrder, reaches
from tests.core.twin.stops import Stops

Interest = list[tuple[int | None, int]]
"""(limit price or None, open quantity) of each order of one side."""


def interest_at(side: int, orders: Interest, price: int) -> int:
    return sum(qty for limit, qty in orders if reaches(side, limit, price))


def auction_price(
    buys: Interest, sells: Interest, reference: int | None
) -> tuple[int | None, int, int]:
    """(price or None, volume, imbalance there): docs/MATCHING.md word for word, tick by tick."""
    limits = [limit for limit, _ in buys + sells if limit is not None]
    if limits:
        ticks = list(range(min(limits), max(limits) + 1))
    else:
        ticks = [] if reference is None else [reference]
    table = {}
    for tick in ticks:
        bought = interest_at(Side.BUY, buys, tick)
        sold = interest_at(Side.SELL, sells, tick)
        table[tick] = (min(bought, sold), bought - sold)
    most = max((volume for volume, _ in table.values()), default=0)
    if most == 0:
        return None, 0, 0
    kept = [tick for tick in ticks if table[tick][0] == most]
    least = min(abs(table[tick][1]) for tick in kept)
    kept = [tick for tick in kept if abs(table[tick][1]) == least]
    too_many_buys = [tick for tick in kept if table[tick][1] > 0]
    too_many_sells = [tick for tick in kept if table[tick][1] < 0]
    if too_many_buys == kept:
        price = max(kept)
    elif too_many_sells == kept:
        price = min(kept)
    else:
        low = max(too_many_buys) if too_many_buys else min(kept)
        high = min(too_many_sells) if too_many_sells else max(kept)
        price = (low + high) // 2 if reference is None else min(max(reference, low), high)
    return price, table[price][0], table[price][1]


class Auction(Stops):
    def change_phase(self, symbol: str, phase: int) -> None:
        """Told as PHASE_CHANGED; runs the auction where leaving or entering a phase does."""
        instrument = self.instruments[symbol]
        leaves_call = instrument.in_call()
        instrument.phase = phase
        instrument.until_ns = None
        self.public(symbol, e.PHASE_CHANGED, symbol, int(phase))
        if instrument.in_call():
            instrument.gathered = True
        elif phase == Phase.CONTINUOUS or (phase == Phase.CLOSED and leaves_call):
            if instrument.gathered:
                instrument.gathered = False
                self.uncross(symbol)

    def end_calls(self) -> None:
        """Calls whose time has come, by time, then by symbol, while there is room for auctions."""
        due = [
            (instrument.until_ns, symbol)
            for symbol, instrument in self.instruments.items()
            if instrument.until_ns is not None and instrument.until_ns <= self.now_ns
        ]
        for _, symbol in sorted(due):
            if self.auction_room == 0 or self.auctions():
                return
            self.change_phase(symbol, self.instruments[symbol].then)
            if not self.instruments[symbol].stops_left:
                self.look_at_stops(symbol)

    def in_line(self, symbol: str, side: int) -> list[TwinOrder]:
        """Market orders first, then by price, then by who joined first."""
        return self.beside(symbol, side) + self.queue(symbol, side)

    def go_on_with_auctions(self) -> None:
        """Those under way, the eldest first."""
        for symbol in self.auctions():
            self.go_on_with_auction(symbol)
            if not self.instruments[symbol].stops_left:
                self.look_at_stops(symbol)

    def uncross(self, symbol: str) -> None:
        buys, sells = self.in_line(symbol, Side.BUY), self.in_line(symbol, Side.SELL)
        price, volume, imbalance = auction_price(
            [(order.price, order.leaves) for order in buys],
            [(order.price, order.leaves) for order in sells],
            self.reference(symbol),
        )
        auction = TwinAuction(self.tick(), price, volume, imbalance, volume)
        self.instruments[symbol].auction = auction
        self.go_on_with_auction(symbol)

    def go_on_with_auction(self, symbol: str) -> None:
        """Each trade takes room for one, and so does each order that ends with it."""
        auction = self.instruments[symbol].auction
        assert auction is not None
        while auction.left and self.auction_room:
            buy, sell = self.in_line(symbol, Side.BUY)[0], self.in_line(symbol, Side.SELL)[0]
            qty = min(auction.left, buy.leaves, sell.leaves)
            self.auction_trade(buy, sell, qty, auction.price)
            auction.left -= qty
            self.auction_room -= 1
        if auction.left:
            return
        if not auction.told:
            found = (auction.price, auction.volume, auction.imbalance)
            self.public(symbol, e.UNCROSSED, symbol, *found)
            auction.told = True
        for order in self.gathered(symbol):
            if self.auction_room == 0:
                return
            self.end_gathering(order, auction.price)
            self.auction_room -= 1
        self.instruments[symbol].auction = None

    def auction_trade(self, buy: TwinOrder, sell: TwinOrder, qty: int, price: int) -> None:
        fee = self.instruments[buy.symbol].terms.maker_fee
        for order in (buy, sell):
            order.shown = min(order.conditions.display_qty, order.leaves - qty)
        self.tell_trade(e.AUCTION_TRADE, buy, sell, qty, price, (fee, fee))

    def gathered(self, symbol: str) -> list[TwinOrder]:
        """What was for this auction alone: buys, then sells; without limit price first, by id."""
        mine = [o for o in self.open_orders() if o.symbol == symbol]
        left = [o for o in mine if o.tif == Tif.AT_AUCTION or o.where == CALL]
        return sorted(left, key=lambda o: (o.side, o.where != CALL, o.order_id))

    def end_gathering(self, order: TwinOrder, price: int | None) -> None:
        if order.ord_type != Type.MARKET_TO_LIMIT:
            self.end(order, e.EXPIRED, Reject.TIME_IS_UP)
        elif price is None:
            self.end(order, e.EXPIRED, Reject.NO_LIQUIDITY)
        elif price_reject(self.instruments[order.symbol].terms, price):
            self.end(order, e.EXPIRED, Reject.PRICE_BAND)
        else:
            order.where = NOWHERE
            self.limit_at(order, price)
            self.rest(order)

    def begin_call(self, symbol: str, until_ns: int, then: int) -> None:
        self.change_phase(symbol, Phase.AUCTION)
        self.instruments[symbol].until_ns = until_ns
        self.instruments[symbol].then = then
