"""Orders that release others once they are filled (OTO, OTOCO).

Owns which of Binance's are ours: a LIMIT or LIMIT_MAKER that works, and behind it any order, or any
pair, that is ours by itself.
"""

from __future__ import annotations

from typing import Final

from raftbook.core.commands import Command, place_oto
from raftbook.web.binance.door import Call
from raftbook.web.binance.faults import Fault
from raftbook.web.binance.markets import Json, Market
from raftbook.web.binance.order_lists import place_list
from raftbook.web.binance.pairs import read_pair
from raftbook.web.binance.tickets import named, read_ticket

_WORKING, _PENDING = "working", "pending"
_WORKING_TYPES: Final = frozenset(("LIMIT", "LIMIT_MAKER"))


async def place_one(call: Call) -> Json:
    """POST /orderList/oto."""
    market, _ = call.door.markets.find(call.params.symbol())
    working = _working(call, market)
    pending = read_ticket(call.params, market, call.door.desk, prefix=_PENDING)
    return await place_list(call, market, place_oto(working, pending.command))


async def place_two(call: Call) -> Json:
    """POST /orderList/otoco."""
    market, _ = call.door.markets.find(call.params.symbol())
    working = _working(call, market)
    return await place_list(call, market, place_oto(working, read_pair(call, market, _PENDING)))


def _working(call: Call, market: Market) -> Command:
    if call.params.needed(named(_WORKING, "type")) not in _WORKING_TYPES:
        raise Fault(400, -1116, "Invalid orderType.")
    return read_ticket(call.params, market, call.door.desk, prefix=_WORKING).command
