"""Binance's words for what an order is, and ours.

Owns the two-way tables, and what an order of ours is called that Binance has no word for: DAY, GTD
and AT_AUCTION are shown as GTC, since they stay.
"""

from __future__ import annotations

from typing import Any, Final

from raftbook.core.conditions import OrderConditions
from raftbook.core.types import OrderType, SelfTradePrevention, Side, TimeInForce

SIDES: Final = {"BUY": Side.BUY, "SELL": Side.SELL}
SIDE_WORDS: Final = {int(side): word for word, side in SIDES.items()}
TIMES: Final = {"GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "FOK": TimeInForce.FOK}
TIME_WORDS: Final = {int(time): "GTC" for time in TimeInForce} | {
    int(time): word for word, time in TIMES.items()
}
TYPES: Final = {
    "LIMIT": OrderType.LIMIT,
    "LIMIT_MAKER": OrderType.LIMIT,
    "MARKET": OrderType.MARKET,
    "STOP_LOSS": OrderType.STOP,
    "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
    "TAKE_PROFIT": OrderType.IF_TOUCHED,
    "TAKE_PROFIT_LIMIT": OrderType.LIMIT_IF_TOUCHED,
}
"""In the order in which `exchangeInfo` lists them."""
_TYPE_WORDS: Final = {
    int(OrderType.MARKET): "MARKET",
    int(OrderType.STOP): "STOP_LOSS",
    int(OrderType.STOP_LIMIT): "STOP_LOSS_LIMIT",
    int(OrderType.IF_TOUCHED): "TAKE_PROFIT",
    int(OrderType.LIMIT_IF_TOUCHED): "TAKE_PROFIT_LIMIT",
}
MODES: Final = {
    "NONE": SelfTradePrevention.NONE,
    "EXPIRE_TAKER": SelfTradePrevention.CANCEL_NEWEST,
    "EXPIRE_MAKER": SelfTradePrevention.CANCEL_OLDEST,
    "EXPIRE_BOTH": SelfTradePrevention.CANCEL_BOTH,
    "DECREMENT": SelfTradePrevention.DECREMENT,
}
MODE_WORDS: Final = {int(mode): word for word, mode in MODES.items()}
_MARKET: Final = int(OrderType.MARKET)
_LIMIT: Final = int(OrderType.LIMIT)
_FOK: Final = int(TimeInForce.FOK)


def type_word(kind: tuple[int, ...]) -> str:
    """What Binance calls such an order."""
    if kind[1] == _LIMIT:
        return "LIMIT_MAKER" if kind[3] else "LIMIT"
    word = _TYPE_WORDS.get(kind[1])
    return OrderType(kind[1]).name if word is None else word


def time_word(kind: tuple[int, ...]) -> str:
    """Its time in force; Binance says GTC of a market order, which is IOC."""
    if kind[1] == _MARKET and kind[2] != _FOK:
        return "GTC"
    return TIME_WORDS[kind[2]]


def conditions_of(terms: tuple[Any, ...]) -> OrderConditions | None:
    """The conditions in an order's terms, None for a plain order."""
    return OrderConditions(*terms[7]) if len(terms) > 7 else None


def list_id(terms: tuple[Any, ...]) -> int:
    """The number of the list an order was entered with, which is that of its first order; -1 for an
    order alone."""
    conditions = conditions_of(terms)
    if conditions is None:
        return -1
    other = conditions.oto_order_id or conditions.oco_order_id
    return int(min(terms[0], other)) if other else -1


def contingency(terms: tuple[Any, ...]) -> str:
    """The sort of list that an order belongs to."""
    conditions = conditions_of(terms)
    return "OTO" if conditions is not None and conditions.oto_order_id else "OCO"


def was_pending(terms: tuple[Any, ...]) -> bool:
    """Whether an order was entered to be released by another one."""
    conditions = conditions_of(terms)
    return conditions is not None and 0 < conditions.oto_order_id < terms[0]
