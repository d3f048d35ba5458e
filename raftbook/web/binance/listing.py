"""`exchangeInfo`: what is traded, in which steps and within which bounds.

Owns the long form of a symbol, which some clients need, and the filters that clients round by.
"""

from __future__ import annotations

from typing import Any, Final

from raftbook.core.book import Book
from raftbook.core.types import Phase
from raftbook.web.binance.door import Call
from raftbook.web.binance.faults import Fault
from raftbook.web.binance.market_data import chosen
from raftbook.web.binance.markets import Json, Market
from raftbook.web.binance.words import MODES, TYPES
from raftbook.web.binance.written import Written, encode, write_rows

_PERMISSIONS: Final = "SPOT"
_OPEN_PHASES: Final = frozenset(map(int, (Phase.CONTINUOUS, Phase.PRE_OPEN, Phase.AUCTION)))


async def exchange_info(call: Call) -> Written:
    """GET /exchangeInfo."""
    door = call.door
    some, _ = chosen(call)

    def document(name: str) -> Json | None:
        try:
            return symbol_document(*door.markets.find(name))
        except Fault:
            return None  # deleted since the list was made

    symbols = await write_rows(call, [market.name for market, _ in some], document)
    head = {
        "timezone": "UTC",
        "serverTime": door.now_ms(),
        "rateLimits": rate_limits(door.weights.weight_max),
        "exchangeFilters": [],
    }
    return Written(f'{encode(head)[:-1]},"symbols":{symbols.text}}}')


def rate_limits(weight_max: int) -> list[Json]:
    """What clients slow down by: the weight of an address, as nothing else is counted here."""
    return [
        {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": weight_max,
        },
    ]


def symbol_document(market: Market, book: Book) -> Json:
    """One instrument, long form."""
    terms = market.terms
    return {
        "symbol": market.name,
        "status": market.status(book),
        "baseAsset": terms.base,
        "baseAssetPrecision": market.qty.places,
        "quoteAsset": terms.quote,
        "quotePrecision": market.price.places,
        "quoteAssetPrecision": market.price.places,
        "baseCommissionPrecision": market.qty.places,
        "quoteCommissionPrecision": market.fee.places,
        "orderTypes": list(TYPES),
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": terms.price_min >= 1,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": book.phase in _OPEN_PHASES,
        "isMarginTradingAllowed": False,
        "filters": filters(market),
        "permissions": [],
        "permissionSets": [[_PERMISSIONS]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": list(MODES),
    }


def filters(market: Market) -> list[dict[str, Any]]:
    """The steps and bounds of an instrument, which the engine keeps to exactly."""
    terms, price, qty, amount = market.terms, market.price, market.qty, market.amount
    low = terms.price_min if terms.band_low is None else max(terms.price_min, terms.band_low)
    high = terms.price_max if terms.band_high is None else min(terms.price_max, terms.band_high)
    notional_max = terms.notional_max
    if notional_max is None:
        notional_max = terms.qty_max * max(abs(terms.price_min), abs(terms.price_max))
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": price.text(max(low, 0)),
            "maxPrice": price.text(max(high, 0)),
            "tickSize": price.text(1),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": qty.text(terms.qty_min),
            "maxQty": qty.text(terms.qty_max),
            "stepSize": qty.text(1),
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": amount.text(terms.notional_min),
            "applyMinToMarket": False,
            "maxNotional": amount.text(notional_max),
            "applyMaxToMarket": False,
            "avgPriceMins": 0,
        },
    ]
