"""Names of the kinds of events, as metrics, JSON and the command line show them.

Owns the words; the numbers are `core/events.py`'s.
"""

from __future__ import annotations

from typing import Final

from raftbook.core import events as e

EVENT_NAMES: Final = {
    getattr(e, name): name.lower()
    for name in (
        "ACCEPTED", "RESTED", "TRADE", "CANCELED", "EXPIRED", "REPLACED", "RESTATED", "REJECTED",
        "CANCEL_REJECTED", "SESSION_OPENED", "SESSION_CLOSED", "INSTRUMENT_CREATED",
        "PHASE_CHANGED", "ENGINE_VERSION_SET", "TRIGGERED", "REFILLED", "REPRICED",
        "AUCTION_TRADE", "UNCROSSED", "TRADE_BUSTED", "INSTRUMENT_AMENDED", "INSTRUMENT_DELETED",
        "CURRENCY_CREATED", "ACCOUNT_CHANGED", "BALANCE_CHANGED", "KILL_SWITCH_SET",
        "MASS_CANCELED", "DAY_ROLLED", "SESSION_ATTACHED", "SESSION_LAPSED", "DROP_COPY_SET",
        "API_KEY_SET",
    )
}  # fmt: skip
