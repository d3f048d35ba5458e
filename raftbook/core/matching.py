"""The matcher: who trades with whom, and how an order ends.

Owns the loop that trades in price-time priority, self-trade prevention, what a trade does beside
itself (money, icebergs, pairs), and every way in which an order leaves the book. Judges nothing.
"""

from __future__ import annotations

from typing import Final

from raftbook.core.book_state import BookState
from raftbook.core.candles import GATHERED_MAX
from raftbook.core.conditions import STAYING_TIMES, is_hidden, is_linked, updates_other
from raftbook.core.contingent import fail_pending, follow_trade, part
from raftbook.core.events import (
    AUCTION_TRADE,
    CANCELED,
    EXPIRED,
    PHASE_CHANGED,
    REFILLED,
    RESTATED,
    RESTED,
    TRADE,
    Event,
)
from raftbook.core.ladder import Ladder, Order, Special
from raftbook.core.ledger import Ledger
from raftbook.core.types import (
    Phase,
    Reject,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

# Enumerations as plain integers: an attribute look-up on an IntEnum costs more than a comparison.
_BUY: Final = int(Side.BUY)
_FOK: Final = int(TimeInForce.FOK)
_NONE: Final = int(SelfTradePrevention.NONE)
_CANCEL_NEWEST: Final = int(SelfTradePrevention.CANCEL_NEWEST)
_CANCEL_OLDEST: Final = int(SelfTradePrevention.CANCEL_OLDEST)
_DECREMENT: Final = int(SelfTradePrevention.DECREMENT)
_SELF_TRADE: Final = int(Reject.SELF_TRADE)
_NO_LIQUIDITY: Final = int(Reject.NO_LIQUIDITY)
_PRICE_COLLAR: Final = int(Reject.PRICE_COLLAR)
_FOK_CANNOT_FILL: Final = int(Reject.FOK_CANNOT_FILL)
_FILL_LIMIT: Final = int(Reject.FILL_LIMIT)
_OCO_DONE: Final = int(Reject.OCO_DONE)
_CONTINUOUS: Final = int(Phase.CONTINUOUS)
_AUCTION: Final = int(Phase.AUCTION)
_NS_PER_MS: Final = 1_000_000


class Matcher(BookState):
    """A book that trades."""

    __slots__ = ()

    def _sweep(self, order: Order, makers: Ladder, bound: int, events: list[Event]) -> None:
        """Let an order that crosses take, then decide what becomes of the rest."""
        side = order.terms[4][0]
        limit = bound if self.volatility_band is None else self._banded(side, bound)
        stopped = self._match(order, makers, limit, events)
        if not order.leaves_qty:
            return
        stays = order.terms[6] is not None and order.terms[4][2] in STAYING_TIMES
        if stopped:
            self.end_rest(order, _FILL_LIMIT, events)
        elif limit > bound and makers.best is not None and makers.best.key >= bound:
            if stays:
                self._rest(order, events)
            else:
                self.end_rest(order, _PRICE_COLLAR, events)
            self._begin_call(events)
        elif stays:
            self._rest(order, events)
        else:
            self._expire(order, makers, events)

    def _begin_call(self, events: list[Event]) -> None:
        """A sweep wanted to go beyond the volatility band: an auction shall find the price."""
        until_ns = self.moment.time_ns + self.terms.volatility_call_ms * _NS_PER_MS
        self.phase = _AUCTION
        self.is_call = self.owes_auction = True
        self.judge()
        self.call_until_ns = self.agenda.calls[self.symbol] = until_ns
        self.call_then = _CONTINUOUS
        self.agenda.wake_at(until_ns)
        self.feed_seq += 1
        events.append((PHASE_CHANGED, self.feed_seq, self.symbol, _AUCTION))

    def _match(self, taker: Order, makers: Ladder, bound: int, events: list[Event]) -> bool:
        """Trade `taker` against `makers` best first, eldest first, at the maker's price.

        Ends by construction: each turn empties a maker's slice or the taker.

        Returns:
            Whether it ended because it has met as many orders as a sweep may.
        """
        taker_terms = taker.terms
        mode = taker_terms[4][4]
        own = taker.account.group if mode != _NONE else None
        leaves = taker.leaves_qty
        seq = self.feed_seq
        trade_id = self.trade_id
        moment = self.moment
        room = self.agenda.room
        most = room.fills_max
        if room.fills < most:  # else that is what `fills_now` says
            most = room.fills_now()
        last_trade_id = trade_id + most
        gathered = self.tape.gathered
        pair = taker.special
        is_odd = self.ledger is not None or pair is not None
        linked = room.linked
        updated = 0
        if pair is not None and pair.sibling is not None and updates_other(taker_terms):
            updated = linked
        level = makers.best
        while leaves and level is not None and level.key >= bound and trade_id < last_trade_id:
            maker = level.eldest
            assert maker is not None, f"level {level.price} stands empty"
            special = maker.special
            if special is not None and is_linked(maker.terms):
                last_trade_id -= linked
            if maker.account.group is own:
                taker.leaves_qty = leaves
                self.feed_seq = seq
                self._prevent(taker, maker, makers, mode, events)
                last_trade_id -= 1
                leaves, seq, level = taker.leaves_qty, self.feed_seq, makers.best
                continue
            price = level.price
            offered = maker.leaves_qty if special is None else maker.offered_qty()
            qty = offered if offered < leaves else leaves
            leaves -= qty
            seq += 1
            trade_id += 1
            notional = qty * price
            taker.cum_qty += qty
            taker.cum_notional += notional
            maker.cum_qty += qty
            maker.cum_notional += notional
            if qty == offered:
                makers.remove(maker)
                self.resting_count -= 1
                level = makers.best
            elif special is None or not special.is_hidden:
                level.qty -= qty
            maker.leaves_qty = maker_leaves = maker.leaves_qty - qty
            event: Event = (
                TRADE,
                seq,
                trade_id,
                price,
                qty,
                maker.terms,
                maker.cum_qty,
                maker_leaves,
                maker.cum_notional,
                taker_terms,
                taker.cum_qty,
                leaves,
                taker.cum_notional,
            )
            self.last_price = price
            if is_odd or special is not None:
                taker.leaves_qty = leaves
                self.feed_seq = seq
                self._fill_odd(event, maker, taker, makers, qty == offered, events)
                last_trade_id -= updated
                seq, level = self.feed_seq, makers.best
                continue
            events.append(event)
            gathered.append((moment.time_ns, moment.index, event))
            if not maker_leaves:
                maker.account.close(maker)
        taker.leaves_qty = leaves
        self.feed_seq = seq
        self.trade_id = trade_id
        if len(gathered) >= GATHERED_MAX:
            self.tape.fold()
        room.spend(most - (last_trade_id - trade_id))
        is_cut = bool(leaves) and level is not None and level.key >= bound
        return is_cut and trade_id >= last_trade_id

    def _fill_odd(
        self,
        event: Event,
        maker: Order,
        taker: Order,
        makers: Ladder,
        is_spent: bool,
        events: list[Event],
    ) -> None:
        """What else a trade does where money moves, something is hidden or pairs are broken."""
        special = maker.special
        shows = special is not None and special.display_qty > 0
        shown: int | None
        if shows and special is not None:
            special.shown_qty -= event[4]
        if self.ledger is not None or shows:
            shown = maker.leaves_qty
            if special is not None:
                shown = None if special.is_hidden else maker.offered_qty()
            event = (*event, *self._settle(maker, taker, event[3], event[4]), shown, None)
        events.append(event)
        self.tape.gathered.append((self.moment.time_ns, self.moment.index, event))
        if not maker.leaves_qty:
            if special is not None and special.is_pegged:
                self._forget_peg(maker)
            maker.account.close(maker)
        for order in (maker, taker):
            if order.special is not None:
                follow_trade(self, order, order.special, event[4], events)
        if maker.leaves_qty and is_spent and special is not None:
            special.shown_qty = min(special.display_qty, maker.leaves_qty)
            makers.append(maker, event[3])
            self.resting_count += 1
            self.feed_seq += 1
            shown = special.shown_qty
            events.append((REFILLED, self.feed_seq, maker.terms, shown, maker.leaves_qty))

    def _settle(self, maker: Order, taker: Order, price: int, qty: int) -> tuple[int, int]:
        """Move the money of a trade; what maker and taker paid in fees."""
        ledger = self.ledger
        if ledger is None:
            return 0, 0
        if taker.terms[4][0] == _BUY:
            fees = (ledger.taker_fee, ledger.maker_fee)
            paid = ledger.settle(
                taker, maker, price=price, qty=qty, buy_fee=fees[0], sell_fee=fees[1]
            )
            return paid[1], paid[0]
        fees = (ledger.maker_fee, ledger.taker_fee)
        return ledger.settle(maker, taker, price=price, qty=qty, buy_fee=fees[0], sell_fee=fees[1])

    def _prevent(
        self, taker: Order, maker: Order, makers: Ladder, mode: int, events: list[Event]
    ) -> None:
        """Keep a group from trading with itself; a prevented match is not a trade."""
        if mode == _DECREMENT:
            qty = min(taker.leaves_qty, maker.leaves_qty)
            self._shrink_maker(maker, qty, events)
            self._shrink_taker(taker, qty, events)
            return
        if mode != _CANCEL_NEWEST:
            self._shrink_maker(maker, maker.leaves_qty, events)
        if mode != _CANCEL_OLDEST:
            self._shrink_taker(taker, taker.leaves_qty, events)

    def _shrink_maker(self, maker: Order, qty: int, events: list[Event]) -> None:
        if qty == maker.leaves_qty:
            self.cancel(maker, _SELF_TRADE, events)
            return
        level, special = maker.level, maker.special
        assert level is not None, f"order {maker.terms[0]} does not rest"
        maker.leaves_qty = leaves = maker.leaves_qty - qty
        seen = int(not is_hidden(maker.terms))
        self.feed_seq += seen
        event: Event = (
            *(RESTATED, self.feed_seq * seen, maker.terms),
            *(maker.cum_qty, leaves, qty, seen),
        )
        if special is not None and special.display_qty:
            shown = min(special.shown_qty, leaves)  # what does not show shrinks first
            level.qty -= special.shown_qty - shown
            special.shown_qty = shown
            event = (*event, shown)
        elif seen:
            level.qty -= qty
        if self.ledger is not None:
            self.ledger.fit(maker)
        events.append(event)

    def _shrink_taker(self, taker: Order, qty: int, events: list[Event]) -> None:
        terms, cum = taker.terms, taker.cum_qty
        taker.leaves_qty -= qty
        if taker.leaves_qty:
            if self.ledger is not None:
                self.ledger.fit(taker)
            events.append((RESTATED, 0, terms, cum, taker.leaves_qty, qty, 0))
        else:
            events.append((CANCELED, 0, terms, cum, qty, 0, _SELF_TRADE))
            if taker.special is not None and taker.special.sibling is not None:
                self.end_sibling(taker.special, events)
            if taker.special is not None and taker.special.pending:
                fail_pending(self, taker.special, events)

    def _rest(self, order: Order, events: list[Event]) -> None:
        terms, special = order.terms, order.special
        if is_hidden(terms):
            event: Event = (RESTED, 0, terms, order.leaves_qty)
        else:
            self.feed_seq = seq = self.feed_seq + 1
            event = (RESTED, seq, terms, order.leaves_qty)
        if special is not None and special.display_qty:
            special.shown_qty = min(special.display_qty, order.leaves_qty)
            event = (*event, special.shown_qty)
        (self.bids if terms[4][0] == _BUY else self.asks).append(order, terms[6])
        self.resting_count += 1
        events.append(event)

    def _expire(self, order: Order, makers: Ladder, events: list[Event]) -> None:
        """End what is left of an order that may not rest, by its own rules."""
        terms = order.terms
        if terms[4][2] == _FOK:
            reason = _FOK_CANNOT_FILL
        elif terms[6] is not None:
            reason = 0
        else:
            reason = _NO_LIQUIDITY if makers.best is None else _PRICE_COLLAR
        self.end_rest(order, reason, events)

    def end_rest(self, order: Order, reason: int, events: list[Event]) -> None:
        """The rest of a taker expires; whoever entered it closes it."""
        canceled = order.leaves_qty
        order.leaves_qty = 0
        events.append((EXPIRED, 0, order.terms, order.cum_qty, canceled, 0, reason))
        if order.special is not None:
            part(order.special)
            if order.special.pending:
                fail_pending(self, order.special, events)

    # -- ends of orders ---------------------------------------------------------------------------

    def cancel(self, order: Order, reason: int, events: list[Event]) -> None:
        """Take an open order out, and with it the other one of a pair."""
        self._end(order, CANCELED, reason, events)
        if order.special is not None and order.special.sibling is not None:
            self.end_sibling(order.special, events)

    def expire(self, order: Order, reason: int, events: list[Event]) -> None:
        """End an open order whose time is up; the other one of a pair goes on alone."""
        self._end(order, EXPIRED, reason, events)
        if order.special is not None:
            part(order.special)

    def _end(self, order: Order, kind: int, reason: int, events: list[Event]) -> None:
        """Close an open order that stands in the book, waits, or gathers for an auction."""
        terms = order.terms
        canceled = order.leaves_qty
        special = order.special
        if special is None and order.level is not None and not self.at_auction:
            # most orders: what follows below, without the questions
            (self.bids if terms[4][0] == _BUY else self.asks).remove(order)
            order.leaves_qty = 0
            order.account.close(order)
            self.resting_count -= 1
            self.feed_seq = seq = self.feed_seq + 1
            events.append((kind, seq, terms, order.cum_qty, canceled, 1, reason))
            return
        shown = special.shown_qty if special is not None and special.display_qty else -1
        seq = self._leave(order)
        order.leaves_qty = 0
        order.account.close(order)
        event: Event = (kind, seq, terms, order.cum_qty, canceled, int(seq > 0), reason)
        if shown >= 0 and seq:
            event = (*event, shown)
        events.append(event)
        if special is not None and special.pending:
            fail_pending(self, special, events)

    def _leave(self, order: Order) -> int:
        """Take an open order from where it stands: its feed_seq, 0 where the market saw nothing."""
        gathers = self.at_auction.pop(order.terms[0], None) is not None
        special = order.special
        is_pegged = special is not None and special.is_pegged
        if is_pegged:
            self._forget_peg(order)
        if order.level is not None:
            (self.bids if order.terms[4][0] == _BUY else self.asks).remove(order)
            self.resting_count -= 1
            if special is not None and special.is_hidden:
                return 0
            self.feed_seq += 1
            return self.feed_seq
        if not gathers and not is_pegged:
            assert self.stops is not None and special is not None, (
                f"order {order.terms[0]} is open and stands nowhere"
            )
            self.stops.remove(order, special)
        return 0

    def _forget_peg(self, order: Order) -> None:
        assert self.pegs is not None, f"order {order.terms[0]} is pegged, its book is not"
        self.pegs.remove(order)

    def end_sibling(self, special: Special, events: list[Event]) -> None:
        """One of a pair traded, fired or was cancelled: the other one ends."""
        sibling = special.sibling
        assert sibling is not None and sibling.special is not None, "a pair of one"
        special.sibling = sibling.special.sibling = None
        self._end(sibling, CANCELED, _OCO_DONE, events)

    # -- auctions ---------------------------------------------------------------------------------

    def trade_at_auction(
        self, buy: Order, sell: Order, *, price: int, qty: int, events: list[Event]
    ) -> None:
        """Let two orders that both gathered in a call trade with each other."""
        self.feed_seq += 1
        self.trade_id += 1
        self.last_price = price
        for order in (buy, sell):
            self._reduce_at_auction(order, qty)
            order.cum_qty += qty
            order.cum_notional += price * qty
        event: Event = (AUCTION_TRADE, self.feed_seq, self.trade_id, price, qty)
        for order in (buy, sell):
            event = (*event, order.terms, order.cum_qty, order.leaves_qty, order.cum_notional)
        ledger, shown = self.ledger, (_shown_at_auction(buy), _shown_at_auction(sell))
        if ledger is not None:
            fee = ledger.maker_fee
            fees = ledger.settle(buy, sell, price=price, qty=qty, buy_fee=fee, sell_fee=fee)
            event = (*event, *fees, *shown)
        elif _is_iceberg(buy) or _is_iceberg(sell):
            event = (*event, 0, 0, *shown)
        events.append(event)
        self.tape.gathered.append((self.moment.time_ns, self.moment.index, event))
        for order in (buy, sell):
            if not order.leaves_qty:
                self.at_auction.pop(order.terms[0], None)
                order.account.close(order)
        if ledger is not None and buy.leaves_qty and buy.terms[6] is None:
            self._hold_less(buy, ledger)
        for order in (buy, sell):
            if order.special is not None:
                follow_trade(self, order, order.special, qty, events)

    def _hold_less(self, buy: Order, ledger: Ledger) -> None:
        """Give back what a buy without limit price holds too much, after it has traded."""
        leaves = buy.leaves_qty
        need = ledger.need(_BUY, self.gathering_price() * leaves, leaves, buy.fee_units)
        if need < buy.held:
            ledger.hold(buy, need)

    def _reduce_at_auction(self, order: Order, qty: int) -> None:
        level, special = order.level, order.special
        if level is None:
            order.leaves_qty -= qty
        elif qty == order.leaves_qty:
            (self.bids if order.terms[4][0] == _BUY else self.asks).remove(order)
            self.resting_count -= 1
            order.leaves_qty = 0
        else:
            order.leaves_qty -= qty
            if special is None or not (special.display_qty or special.is_hidden):
                level.qty -= qty
            elif not special.is_hidden:
                shown = min(special.display_qty, order.leaves_qty)
                level.qty += shown - special.shown_qty
                special.shown_qty = shown


def _is_iceberg(order: Order) -> bool:
    return order.special is not None and order.special.display_qty > 0


def _shown_at_auction(order: Order) -> int | None:
    """What an order shows after it traded in an auction; None if the market never saw it."""
    if order.terms[6] is None or is_hidden(order.terms):
        return None
    return order.shown_qty() if order.leaves_qty else 0
