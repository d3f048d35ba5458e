"""The small venue of `venue_market.py`, open for trade, and one request at a time to it."""

from typing import Any

from raftbook.core import commands as c
from raftbook.core.commands import Entry
from raftbook.core.exchange import Genesis
from raftbook.core.versions import ENGINE_VERSION
from tests.core.pair import Pair
from tests.core.venue_market import GENESIS, START_NS, first_entries

OPERATOR, ANNA, BEN, POOR = 1, 2, 4, 7
"""Sessions. Whose is the last one owns nothing."""


def say(pair: Pair, session_id: int, *commands: c.Command) -> list[Any]:
    index = pair.engine.applied_index + 1
    reply = pair.apply(Entry(index, START_NS, ((session_id, index, commands),)))[-1]
    pair.check()
    return list(reply[4])


def market(genesis: Genesis = GENESIS, *, engine_version: int = ENGINE_VERSION) -> Pair:
    pair = Pair(genesis)
    for entry in first_entries(engine_version):
        pair.apply(entry)
    return pair
