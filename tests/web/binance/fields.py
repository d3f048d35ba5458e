"""What Binance calls the fields of each answer, stream and event, and which of them we leave out.

Each list names the page of the published documents that it was read from, in the
repository binance/binance-spot-api-docs (as of 2026) unless it is an address. An item of a list
stands under the name of the list: `GET /account balances`. Nothing here is made of our own code.
"""

from dataclasses import dataclass, field

REST, STREAMS, USER = "rest-api.md", "web-socket-streams.md", "user-data-stream.md"
WS_API = "web-socket-api.md"


@dataclass(frozen=True)
class Fields:
    """The keys of one object.

    Attributes:
        page: where they are written down.
        names: all that Binance names, in this case.
        left_out: those that are not told here, each with why.
    """

    page: str
    names: str
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def told(self) -> set[str]:
        """What an answer of ours must have, no more and no less."""
        names = set(self.names.split())
        assert self.left_out.keys() <= names, f"left out, but not Binance's: {self}"
        return names - self.left_out.keys()


_TRADE = "id price qty quoteQty time isBuyerMaker isBestMatch"
_MINI = (
    "symbol openPrice highPrice lowPrice lastPrice volume quoteVolume openTime closeTime "
    "firstId lastId count"
)
_FULL = (
    _MINI + " priceChange priceChangePercent weightedAvgPrice prevClosePrice lastQty bidPrice "
    "bidQty askPrice askQty"
)
_ACK = "symbol orderId orderListId clientOrderId transactTime"
_TERMS = (
    "price origQty executedQty origQuoteOrderQty cummulativeQuoteQty status timeInForce type side "
    "selfTradePreventionMode"
)
_RESULT = f"{_ACK} {_TERMS} workingTime"
_CANCELED = f"{_ACK} {_TERMS} origClientOrderId"
_ORDER = (
    f"symbol orderId orderListId clientOrderId {_TERMS} stopPrice icebergQty time updateTime "
    "isWorking workingTime"
)
_LIST = (
    "orderListId contingencyType listStatusType listOrderStatus listClientOrderId transactionTime "
    "symbol orders"
)
_LEG = "symbol orderId clientOrderId"
_RATES = "maker taker buyer seller"
_DISCOUNT = "enabledForAccount enabledForSymbol discountAsset discount"
_REPORT = "e E s c S o f q p P F g C x X r i l z L n N T t I w m M O Z Y Q W V"

_NO_TRAIL_TIME = "an order trails from when it was entered, which its time says"
_NO_MATCH_ID = "what was prevented has no number in the log, and cannot be asked for"
_WHY_IN_R = "r says why it ended, in the engine's word"
_WAITS = "it is in no book yet"
_ONE_BOOK = "an order trades in one book: there is no other symbol, group or allocation"

# One object each; "" as a path is a WebSocket's.
FIELDS: dict[str, Fields] = {
    "GET /ping": Fields(REST, ""),
    "GET /time": Fields(REST, "serverTime"),
    "GET /exchangeInfo": Fields(
        REST,
        "timezone serverTime rateLimits exchangeFilters symbols sors",
        {"sors": "optional, and there is no routing between books"},
    ),
    "GET /exchangeInfo rateLimits": Fields(REST, "rateLimitType interval intervalNum limit"),
    "GET /exchangeInfo symbols": Fields(
        REST,
        "symbol status baseAsset baseAssetPrecision quoteAsset quotePrecision quoteAssetPrecision "
        "baseCommissionPrecision quoteCommissionPrecision orderTypes icebergAllowed ocoAllowed "
        "otoAllowed opoAllowed quoteOrderQtyMarketAllowed allowTrailingStop cancelReplaceAllowed "
        "amendAllowed pegInstructionsAllowed isSpotTradingAllowed isMarginTradingAllowed filters "
        "permissions permissionSets defaultSelfTradePreventionMode allowedSelfTradePreventionModes",
    ),
    "GET /exchangeInfo PRICE_FILTER": Fields("filters.md", "filterType minPrice maxPrice tickSize"),
    "GET /exchangeInfo LOT_SIZE": Fields("filters.md", "filterType minQty maxQty stepSize"),
    "GET /exchangeInfo NOTIONAL": Fields(
        "filters.md",
        "filterType minNotional applyMinToMarket maxNotional applyMaxToMarket avgPriceMins",
    ),
    "GET /depth": Fields(REST, "lastUpdateId bids asks"),
    "GET /trades": Fields(REST, _TRADE),
    "GET /historicalTrades": Fields(REST, _TRADE),
    "GET /aggTrades": Fields(REST, "a p q f l T m M"),
    "GET /avgPrice": Fields(REST, "mins price closeTime"),
    "GET /ticker/24hr FULL": Fields(REST, _FULL),
    "GET /ticker/24hr MINI": Fields(REST, _MINI),
    "GET /ticker/bookTicker": Fields(REST, "symbol bidPrice bidQty askPrice askQty"),
    "GET /ticker/price": Fields(REST, "symbol price"),
    "POST /order ACK": Fields(REST, _ACK),
    "POST /order RESULT": Fields(REST, _RESULT),
    "POST /order FULL": Fields(REST, f"{_RESULT} fills"),
    "POST /order fills": Fields(REST, "price qty commission commissionAsset tradeId"),
    "POST /order stop": Fields(REST, f"{_RESULT} stopPrice"),
    "POST /order iceberg": Fields(REST, f"{_RESULT} icebergQty"),
    "POST /order trailing": Fields(
        REST, f"{_RESULT} trailingDelta trailingTime", {"trailingTime": _NO_TRAIL_TIME}
    ),
    "POST /order prevented": Fields(
        REST,
        f"{_RESULT} preventedMatchId preventedQuantity expiryReason",
        {"preventedMatchId": _NO_MATCH_ID, "expiryReason": "the status says it"},
    ),
    "POST /order expired": Fields(
        REST,
        f"{_RESULT} expiryReason",
        {"expiryReason": "type and timeInForce say it: nothing else expires an order at once"},
    ),
    "POST /order/test": Fields(REST, ""),
    "POST /order/test rates": Fields(
        REST,
        "standardCommissionForOrder specialCommissionForOrder taxCommissionForOrder discount",
    ),
    "POST /order/test standardCommissionForOrder": Fields(REST, "maker taker"),
    "POST /order/test specialCommissionForOrder": Fields(REST, "maker taker"),
    "POST /order/test taxCommissionForOrder": Fields(REST, "maker taker"),
    "POST /order/test discount": Fields(REST, _DISCOUNT),
    "GET /order": Fields(REST, _ORDER),
    "GET /order trailing": Fields(
        REST, f"{_ORDER} trailingDelta trailingTime", {"trailingTime": _NO_TRAIL_TIME}
    ),
    "DELETE /order": Fields(REST, _CANCELED),
    "GET /openOrders": Fields(REST, _ORDER),
    "DELETE /openOrders": Fields(REST, _CANCELED),
    "GET /allOrders": Fields(REST, _ORDER),
    "POST /order/cancelReplace": Fields(
        REST, "cancelResult newOrderResult cancelResponse newOrderResponse"
    ),
    "POST /order/cancelReplace cancelResponse": Fields(REST, _CANCELED),
    "POST /order/cancelReplace newOrderResponse": Fields(REST, f"{_RESULT} fills"),
    "PUT /order/amend/keepPriority": Fields(REST, "transactTime executionId amendedOrder"),
    "PUT /order/amend/keepPriority amendedOrder": Fields(
        REST,
        "symbol orderId orderListId origClientOrderId clientOrderId price qty executedQty "
        "preventedQty quoteOrderQty cumulativeQuoteQty status timeInForce type side workingTime "
        "selfTradePreventionMode",
    ),
    "POST /orderList/oco": Fields(REST, f"{_LIST} orderReports"),
    "POST /orderList/oco orders": Fields(REST, _LEG),
    "POST /orderList/oco limit": Fields(REST, _RESULT),
    "POST /orderList/oco stop": Fields(REST, f"{_RESULT} stopPrice"),
    "POST /order/oco": Fields(REST, f"{_LIST} orderReports"),
    "POST /orderList/oto": Fields(REST, f"{_LIST} orderReports"),
    "POST /orderList/oto orders": Fields(REST, _LEG),
    "POST /orderList/oto working": Fields(REST, _RESULT),
    "POST /orderList/oto pending": Fields(REST, _RESULT),
    "POST /orderList/otoco": Fields(REST, f"{_LIST} orderReports"),
    "POST /orderList/otoco orders": Fields(REST, _LEG),
    "POST /orderList/otoco working": Fields(REST, _RESULT),
    "POST /orderList/otoco limit": Fields(REST, _RESULT),
    "POST /orderList/otoco stop": Fields(REST, f"{_RESULT} stopPrice"),
    "GET /orderList": Fields(REST, _LIST),
    "GET /orderList orders": Fields(REST, _LEG),
    "GET /openOrderList": Fields(REST, _LIST),
    "DELETE /orderList": Fields(REST, f"{_LIST} orderReports"),
    "DELETE /orderList triggering": Fields(REST, f"{_LIST} orderReports"),
    "DELETE /orderList limit": Fields(REST, _CANCELED),
    "DELETE /orderList stop": Fields(REST, f"{_CANCELED} stopPrice"),
    "GET /myTrades": Fields(
        REST,
        "symbol id orderId orderListId price qty quoteQty commission commissionAsset time isBuyer "
        "isMaker isBestMatch",
    ),
    "GET /account": Fields(
        REST,
        "makerCommission takerCommission buyerCommission sellerCommission commissionRates canTrade "
        "canWithdraw canDeposit brokered requireSelfTradePrevention preventSor updateTime "
        "accountType balances permissions uid",
        {"uid": "accounts have names, and no numbers"},
    ),
    "GET /account commissionRates": Fields(REST, _RATES),
    "GET /account balances": Fields(REST, "asset free locked"),
    "GET /account/commission": Fields(
        REST, "symbol standardCommission specialCommission taxCommission discount"
    ),
    "GET /account/commission standardCommission": Fields(REST, _RATES),
    "GET /account/commission specialCommission": Fields(REST, _RATES),
    "GET /account/commission taxCommission": Fields(REST, _RATES),
    "GET /account/commission discount": Fields(REST, _DISCOUNT),
    "POST /userDataStream": Fields("CHANGELOG.md (retired since)", "listenKey"),
    "PUT /userDataStream": Fields("CHANGELOG.md (retired since)", ""),
    "DELETE /userDataStream": Fields("CHANGELOG.md (retired since)", ""),
    "GET /sapi/v1/asset/tradeFee": Fields(
        "https://developers.binance.com/docs/wallet/asset/trade-fee",
        "symbol makerCommission takerCommission",
    ),
    "ws-api answer": Fields(WS_API, "id status result rateLimits"),
    "ws-api error": Fields(WS_API, "id status error rateLimits"),
    "ws-api error error": Fields(WS_API, "code msg"),
    "ws-api userDataStream.subscribe.signature": Fields(WS_API, "subscriptionId"),
    "ws-api session.subscriptions": Fields(WS_API, "subscriptionId"),
    "ws-api event": Fields(USER, "subscriptionId event"),
    "stream control": Fields(STREAMS, "result id"),
    "stream combined": Fields(STREAMS, "stream data"),
    "stream trade": Fields(STREAMS, "e E s t p q T m M"),
    "stream aggTrade": Fields(STREAMS, "e E s a p q f l T m M"),
    "stream bookTicker": Fields(STREAMS, "u s b B a A"),
    "stream ticker": Fields(STREAMS, "e E s p P w x c Q b B a A o h l v q O C F L n"),
    "stream miniTicker": Fields(STREAMS, "e E s c o h l v q"),
    "stream !ticker@arr": Fields(STREAMS, "e E s p P w x c Q b B a A o h l v q O C F L n"),
    "stream !miniTicker@arr": Fields(STREAMS, "e E s c o h l v q"),
    "stream kline": Fields(STREAMS, "e E s k"),
    "stream kline k": Fields(STREAMS, "t T s i f L o c h l v n x q V Q B"),
    "stream depth": Fields(STREAMS, "e E s U u b a"),
    "stream partial": Fields(STREAMS, "lastUpdateId bids asks"),
    "event executionReport": Fields(USER, _REPORT),
    "event executionReport trade": Fields(USER, _REPORT),
    "event executionReport canceled": Fields(USER, _REPORT),
    "event executionReport of what waited": Fields(
        USER, _REPORT, {"W": "it was in no book before its end"}
    ),
    "event executionReport trailing of what waited": Fields(
        USER,
        f"{_REPORT} d D",
        {"W": "it was in no book before its end", "D": _NO_TRAIL_TIME},
    ),
    "event executionReport stop": Fields(USER, _REPORT, {"W": _WAITS}),
    "event executionReport trailing": Fields(
        USER, f"{_REPORT} d D", {"W": _WAITS, "D": _NO_TRAIL_TIME}
    ),
    "event executionReport expired": Fields(USER, f"{_REPORT} eR", {"eR": _WHY_IN_R}),
    "event executionReport prevented": Fields(
        USER,
        f"{_REPORT} v A B u U Cs pl pL pY eR",
        {
            "v": _NO_MATCH_ID,
            "u": _ONE_BOOK,
            "U": _ONE_BOOK,
            "Cs": _ONE_BOOK,
            "pl": "B says as much",
            "pL": "nothing was to trade: the log knows no price of it",
            "pY": "nothing was to trade: the log knows no amount of it",
            "eR": _WHY_IN_R,
        },
    ),
    "event outboundAccountPosition": Fields(USER, "e E u B"),
    "event outboundAccountPosition B": Fields(USER, "a f l"),
    "event balanceUpdate": Fields(USER, "e E a d T"),
    "event listStatus": Fields(USER, "e E s g c l L r C T O"),
    "event listStatus O": Fields(USER, "s i c"),
}

ROWS: dict[str, Fields] = {
    name: Fields(
        REST,
        "open_time open high low close volume close_time quote_volume count taker_base taker_quote "
        "unused",
    )
    for name in ("GET /klines", "GET /uiKlines")
}
"""Rows without keys: what stands at each place of them."""

EMPTY = {
    "GET /rateLimit/order": "limits of orders are an operator's to set, and not counted here",
}
"""Lists that have no items at this door, each with why."""

NOT_SENT = {
    "eventStreamTerminated": "who ends one has its answer; a node that ends it hangs up",
    "externalLockUpdate": "nothing outside holds a balance",
}
"""Events of an account that are never told, each with why (user-data-stream.md)."""
