"""Every operation by name: what it proves, what it weighs, where it is found.

Owns the two tables, of REST paths and of ws-api methods, over the same operations.
"""

from __future__ import annotations

from typing import Final

from raftbook.web.binance import (
    accounts,
    listing,
    market_data,
    order_lists,
    pairs,
    trading,
    triggers,
)
from raftbook.web.binance.door import Operation, Security, in_pieces, in_turn

_KEY, _SIGNED = Security.KEY, Security.SIGNED

PING: Final = Operation(market_data.ping, is_read=False)
TIME: Final = Operation(market_data.time, is_read=False)
EXCHANGE_INFO: Final = Operation(in_pieces(listing.exchange_info), weight=20)
DEPTH: Final = Operation(in_pieces(market_data.depth), weight=5)
TRADES: Final = Operation(in_turn(market_data.trades), weight=25)
HISTORICAL_TRADES: Final = Operation(in_turn(market_data.historical_trades), weight=25)
AGG_TRADES: Final = Operation(in_turn(market_data.agg_trades), weight=4)
KLINES: Final = Operation(in_turn(market_data.klines), weight=2)
AVERAGE_PRICE: Final = Operation(market_data.average_price, weight=2)
DAY_TICKER: Final = Operation(in_pieces(market_data.day_ticker), weight=20)
BOOK_TICKER: Final = Operation(in_turn(market_data.book_ticker), weight=2)
PRICE_TICKER: Final = Operation(in_turn(market_data.price_ticker), weight=2)

PLACE: Final = Operation(trading.place, _SIGNED, is_read=False)
TRY: Final = Operation(trading.try_order, _SIGNED)
CANCEL: Final = Operation(trading.cancel, _SIGNED, is_read=False)
CANCEL_ALL: Final = Operation(trading.cancel_all, _SIGNED, is_read=False)
REPLACE: Final = Operation(trading.replace, _SIGNED, is_read=False)
AMEND: Final = Operation(trading.amend, _SIGNED, weight=4)
PLACE_PAIR: Final = Operation(pairs.place_pair, _SIGNED, is_read=False)
PLACE_OLD_PAIR: Final = Operation(pairs.place_old_pair, _SIGNED, is_read=False)
PLACE_ONE_BEHIND: Final = Operation(triggers.place_one, _SIGNED, is_read=False)
PLACE_TWO_BEHIND: Final = Operation(triggers.place_two, _SIGNED, is_read=False)
CANCEL_LIST: Final = Operation(order_lists.cancel_list, _SIGNED)
SHOW_LIST: Final = Operation(order_lists.show_list, _SIGNED, weight=4)
OPEN_LISTS: Final = Operation(in_turn(order_lists.open_lists), _SIGNED, weight=6)

ORDER: Final = Operation(accounts.order, _SIGNED, weight=4)
OPEN_ORDERS: Final = Operation(in_pieces(accounts.open_orders), _SIGNED, weight=6)
ALL_ORDERS: Final = Operation(in_pieces(accounts.all_orders), _SIGNED, weight=20)
MY_TRADES: Final = Operation(in_turn(accounts.my_trades), _SIGNED, weight=20)
ACCOUNT: Final = Operation(in_turn(accounts.account), _SIGNED, weight=20)
COMMISSIONS: Final = Operation(accounts.commissions, _SIGNED, weight=20)
ORDER_RATES: Final = Operation(accounts.order_rates, _SIGNED, weight=40, is_read=False)
TRADE_FEE: Final = Operation(in_turn(accounts.trade_fee), _SIGNED)
NEW_LISTEN_KEY: Final = Operation(accounts.new_listen_key, _KEY, weight=2, is_read=False)
KEEP_LISTEN_KEY: Final = Operation(accounts.keep_listen_key, _KEY, weight=2, is_read=False)
END_LISTEN_KEY: Final = Operation(accounts.end_listen_key, _KEY, weight=2, is_read=False)

PATHS: Final[dict[str, dict[str, Operation]]] = {
    "/api/v3/order": {"POST": PLACE, "GET": ORDER, "DELETE": CANCEL},
    "/api/v3/order/test": {"POST": TRY},
    "/api/v3/order/cancelReplace": {"POST": REPLACE},
    "/api/v3/order/amend/keepPriority": {"PUT": AMEND},
    "/api/v3/order/oco": {"POST": PLACE_OLD_PAIR},
    "/api/v3/orderList/oco": {"POST": PLACE_PAIR},
    "/api/v3/orderList/oto": {"POST": PLACE_ONE_BEHIND},
    "/api/v3/orderList/otoco": {"POST": PLACE_TWO_BEHIND},
    "/api/v3/orderList": {"GET": SHOW_LIST, "DELETE": CANCEL_LIST},
    "/api/v3/openOrderList": {"GET": OPEN_LISTS},
    "/api/v3/openOrders": {"GET": OPEN_ORDERS, "DELETE": CANCEL_ALL},
    "/api/v3/allOrders": {"GET": ALL_ORDERS},
    "/api/v3/myTrades": {"GET": MY_TRADES},
    "/api/v3/account": {"GET": ACCOUNT},
    "/api/v3/account/commission": {"GET": COMMISSIONS},
    "/api/v3/rateLimit/order": {"GET": ORDER_RATES},
    "/api/v3/userDataStream": {
        "POST": NEW_LISTEN_KEY,
        "PUT": KEEP_LISTEN_KEY,
        "DELETE": END_LISTEN_KEY,
    },
    "/api/v3/ping": {"GET": PING},
    "/api/v3/time": {"GET": TIME},
    "/api/v3/exchangeInfo": {"GET": EXCHANGE_INFO},
    "/api/v3/depth": {"GET": DEPTH},
    "/api/v3/trades": {"GET": TRADES},
    "/api/v3/historicalTrades": {"GET": HISTORICAL_TRADES},
    "/api/v3/aggTrades": {"GET": AGG_TRADES},
    "/api/v3/klines": {"GET": KLINES},
    "/api/v3/uiKlines": {"GET": KLINES},
    "/api/v3/avgPrice": {"GET": AVERAGE_PRICE},
    "/api/v3/ticker/24hr": {"GET": DAY_TICKER},
    "/api/v3/ticker/bookTicker": {"GET": BOOK_TICKER},
    "/api/v3/ticker/price": {"GET": PRICE_TICKER},
    "/sapi/v1/asset/tradeFee": {"GET": TRADE_FEE},
}

METHODS: Final[dict[str, Operation]] = {
    "ping": PING,
    "time": TIME,
    "exchangeInfo": EXCHANGE_INFO,
    "depth": DEPTH,
    "trades.recent": TRADES,
    "trades.historical": HISTORICAL_TRADES,
    "trades.aggregate": AGG_TRADES,
    "klines": KLINES,
    "uiKlines": KLINES,
    "avgPrice": AVERAGE_PRICE,
    "ticker.24hr": DAY_TICKER,
    "ticker.book": BOOK_TICKER,
    "ticker.price": PRICE_TICKER,
    "order.place": PLACE,
    "order.test": TRY,
    "order.status": ORDER,
    "order.cancel": CANCEL,
    "order.cancelReplace": REPLACE,
    "order.amend.keepPriority": AMEND,
    "orderList.place": PLACE_OLD_PAIR,
    "orderList.place.oco": PLACE_PAIR,
    "orderList.place.oto": PLACE_ONE_BEHIND,
    "orderList.place.otoco": PLACE_TWO_BEHIND,
    "orderList.cancel": CANCEL_LIST,
    "orderList.status": SHOW_LIST,
    "openOrderLists.status": OPEN_LISTS,
    "openOrders.status": OPEN_ORDERS,
    "openOrders.cancelAll": CANCEL_ALL,
    "allOrders": ALL_ORDERS,
    "myTrades": MY_TRADES,
    "account.status": ACCOUNT,
    "account.commission": COMMISSIONS,
    "account.rateLimits.orders": ORDER_RATES,
    "userDataStream.start": NEW_LISTEN_KEY,
    "userDataStream.ping": KEEP_LISTEN_KEY,
    "userDataStream.stop": END_LISTEN_KEY,
}
