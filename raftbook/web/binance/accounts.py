"""What an account may ask about itself: orders, trades, balances, fees, listen keys.

Owns the operations that read an account. All is read from the state of this node between two
turns.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from raftbook.core.events import Event
from raftbook.core.types import Side
from raftbook.web.binance.door import Call
from raftbook.web.binance.faults import Fault, no_order
from raftbook.web.binance.figures import ZERO
from raftbook.web.binance.market_data import time_range
from raftbook.web.binance.markets import Json, Market, balance_scale, milliseconds
from raftbook.web.binance.reports import commission, order_document
from raftbook.web.binance.trading import (
    commission_rates,
    fee_rate,
    is_elsewhere,
    no_discount,
    own_order,
    target_of,
)
from raftbook.web.binance.words import list_id
from raftbook.web.binance.written import Written, write_rows

OPEN_ROWS_MAX: Final = 5_000
"""Orders in one answer to openOrders; who has more asks by symbol, or for allOrders in pages."""
ROWS: Final = 500
ROWS_MAX: Final = 1_000
_BUY: Final = int(Side.BUY)
_FEE_PER_BPS: Final = 10


async def order(call: Call) -> Json:
    """GET /order."""
    market, _ = call.door.markets.find(call.params.symbol())
    found = await own_order(call, *await target_of(call))
    if found is None or is_elsewhere(market, found):
        raise no_order()
    return order_document(market, found)


async def open_orders(call: Call) -> Written:
    """GET /openOrders."""
    name = call.params.optional_symbol()
    symbol = None if name is None else call.door.markets.find(name)[0].symbol

    def look(now: Call) -> list[int]:
        own = (
            order.terms[0]
            for order in now.account.orders.values()
            if order.leaves_qty and (symbol is None or order.terms[3] == symbol)
        )
        return list(islice(own, OPEN_ROWS_MAX + 1))

    found = await call.make(look)
    if len(found) > OPEN_ROWS_MAX:
        msg = f"More than {OPEN_ROWS_MAX} open orders; ask by symbol, or for allOrders in pages."
        raise Fault(400, -1130, msg)
    return await _written(call, found)


async def _written(call: Call, order_ids: list[int]) -> Written:
    """Those orders that are still known, and whose instruments have a name at this door."""
    door, name = call.door, call.account.name

    def document(order_id: int) -> Json | None:
        own = door.exchange.accounts.get(name)
        order = None if own is None else own.orders.get(order_id)
        market = None if order is None else door.markets.of_symbol(order.terms[3])
        return None if order is None or market is None else order_document(market, order)

    return await write_rows(call, order_ids, document)


async def all_orders(call: Call) -> Written:
    """GET /allOrders: open ones, and those closed ones that the account remembers."""
    params = call.params
    market, _ = call.door.markets.find(params.symbol())
    limit = params.limit(ROWS, ROWS_MAX)
    from_id = params.integer("orderId")
    first_ns, last_ns = time_range(params)
    newest_first = from_id is None and params.integer("startTime") is None

    def look(now: Call) -> list[int]:
        own = now.account.orders.values()
        wanted = (
            each.terms[0]
            for each in (reversed(own) if newest_first else own)
            if each.terms[3] == market.symbol
            and first_ns <= each.entered_ns <= last_ns
            and (from_id is None or each.terms[0] >= from_id)
        )
        return list(islice(wanted, limit))

    rows = await call.make(look)
    return await _written(call, rows[::-1] if newest_first else rows)


def my_trades(call: Call) -> list[Json]:
    """GET /myTrades: own sides of the trades that are kept."""
    params, name = call.params, call.account.name
    market, book = call.door.markets.find(params.symbol())
    limit = params.limit(ROWS, ROWS_MAX)
    from_id, order_id = params.integer("fromId"), params.integer("orderId")
    first_ns, last_ns = time_range(params)
    rows: list[Json] = []
    for time_ns, _, event in book.tape.trades():
        if not first_ns <= time_ns <= last_ns or (from_id is not None and event[2] < from_id):
            continue
        for place in (5, 9):
            terms = event[place]
            if terms[1] == name and order_id in (None, terms[0]):
                rows.append(fill_document(market, time_ns, event, place))
    return rows[:limit] if from_id is not None else rows[max(0, len(rows) - limit) :]


def fill_document(market: Market, time_ns: int, event: Event, place: int) -> Json:
    """One side of a trade.

    Args:
        place: where its terms stand in the event: 5 for the maker's, 9 for the taker's.
    """
    terms = event[place]
    return {
        "symbol": market.name,
        "id": event[2],
        "orderId": terms[0],
        "orderListId": list_id(terms),
        "price": market.price.text(event[3]),
        "qty": market.qty.text(event[4]),
        "quoteQty": market.amount.text(event[3] * event[4]),
        "commission": commission(market, event, is_taker=place == 9),
        "commissionAsset": market.terms.quote,
        "time": milliseconds(time_ns),
        "isBuyer": terms[4][0] == _BUY,
        "isMaker": place == 5,
        "isBestMatch": True,
    }


def account(call: Call) -> Json:
    """GET /account; the rates are the highest of all instruments."""
    own, exchange = call.account, call.door.exchange
    markets = [market.terms for market, _ in call.door.markets.all()]
    maker = max((terms.maker_fee for terms in markets), default=0)
    taker = max((terms.taker_fee for terms in markets), default=0)
    skips_empty = call.params.flag("omitZeroBalances", default=False)
    return {
        "makerCommission": maker // _FEE_PER_BPS,
        "takerCommission": taker // _FEE_PER_BPS,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": fee_rate(maker),
            "taker": fee_rate(taker),
            "buyer": ZERO,
            "seller": ZERO,
        },
        "canTrade": not own.blocked,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": milliseconds(exchange.now_ns),
        "accountType": "SPOT",
        "balances": balances(call, skips_empty=skips_empty),
        "permissions": ["SPOT"],
    }


def balances(call: Call, *, skips_empty: bool) -> list[Json]:
    """What the account has of each currency that it ever had."""
    exchange, rows = call.door.exchange, []
    for currency in exchange.money.decimals:
        balance = call.account.balances.get(currency)
        if balance is None or (skips_empty and not balance.available and not balance.held):
            if skips_empty:
                continue
            rows.append({"asset": currency, "free": ZERO, "locked": ZERO})
            continue
        scale = balance_scale(exchange.money.decimals, currency)
        free, locked = scale.text(balance.available), scale.text(balance.held)
        rows.append({"asset": currency, "free": free, "locked": locked})
    return rows


def trade_fee(call: Call) -> list[Json]:
    """GET /sapi/v1/asset/tradeFee."""
    name = call.params.optional_symbol()
    markets = call.door.markets
    some = markets.all() if name is None else [markets.find(name)]
    rows = []
    for market, _ in some:
        rates = commission_rates(market)
        rows.append(
            {
                "symbol": market.name,
                "makerCommission": rates["maker"],
                "takerCommission": rates["taker"],
            }
        )
    return rows


async def commissions(call: Call) -> Json:
    """GET /account/commission."""
    market, _ = call.door.markets.find(call.params.symbol())
    none = {"maker": ZERO, "taker": ZERO, "buyer": ZERO, "seller": ZERO}
    return {
        "symbol": market.name,
        "standardCommission": commission_rates(market),
        "specialCommission": none,
        "taxCommission": none,
        "discount": no_discount(market),
    }


async def order_rates(call: Call) -> list[Any]:
    """GET /rateLimit/order: the engine's own limits are an operator's to set, and not counted
    here."""
    return []


# -- listen keys ---------------------------------------------------------------------------------


async def new_listen_key(call: Call) -> Json:
    """POST /userDataStream."""
    door = call.door
    return {"listenKey": door.listen_keys.key_for(call.account.name, door.now_ms())}


async def keep_listen_key(call: Call) -> Json:
    """PUT /userDataStream."""
    door = call.door
    key = call.params.needed("listenKey")
    door.listen_keys.keep(key, call.account.name, door.now_ms())
    return {}


async def end_listen_key(call: Call) -> Json:
    """DELETE /userDataStream."""
    door = call.door
    key = call.params.needed("listenKey")
    door.listen_keys.end(key, call.account.name, door.now_ms())
    return {}
