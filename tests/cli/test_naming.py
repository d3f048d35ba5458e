"""Every command, event and reason has a name, and its fields have theirs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.naming import command_document, event_document, event_symbol, fields_text
from raftbook.client import InstrumentSpec
from raftbook.core import commands as c
from raftbook.core.exchange import Exchange
from raftbook.core.form import field_names
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import OrderType, Phase, Side, TimeInForce, TrailUnit
from tests.core.venue_flow import random_entries
from tests.core.venue_market import GENESIS
from tests.core.venue_profiles import PROFILES

TERMS = InstrumentTerms("X", "A", "B", "0.01", "0.5", 9, 1, 9, maker_fee=-5, taker_fee=100)
SPEC = {"X": InstrumentSpec.from_wire({**TERMS._asdict(), "phase": "CONTINUOUS"})}
KINDS = {
    value
    for name, value in vars(c).items()
    if name.isupper() and isinstance(value, int) and name not in ("PLAIN_TERMS", "NO_SESSION")
}


def test_every_kind_of_command_has_a_name() -> None:
    from cli.naming import _COMMAND_NAMES

    assert set(_COMMAND_NAMES) == KINDS
    assert len(set(_COMMAND_NAMES.values())) == len(KINDS)


@pytest.mark.parametrize("profile", PROFILES)
def test_whatever_a_venue_hears_and_says_can_be_written_down(profile: str) -> None:
    exchange = Exchange(GENESIS)
    specs: dict[str, InstrumentSpec] = {}
    names: set[str] = set()
    for entry in random_entries(5, 120, PROFILES[profile]):
        for _, _, commands in entry.requests:
            for command in commands:
                document = command_document(command, specs)
                if document["command"] != "malformed":
                    due = {"secret" if name == "secret" else name for name in field_names(command)}
                    assert due - set(_plain(document)) <= {"phase", "post_only"}, document
                _written(document)
        for reply in exchange.apply(entry):
            specs |= {
                symbol: InstrumentSpec.from_wire({**book.terms._asdict(), "phase": book.phase})
                for symbol, book in exchange.books.items()
            }
            for event in reply[4]:
                document = event_document(event, specs)
                names.add(document["event"])
                assert not document["event"].isdigit()
                assert event_symbol(event) is None or isinstance(event_symbol(event), str)
                _written(document)
    assert len(names) > 10


def _plain(document: dict[str, Any]) -> set[str]:
    """Names of fields, without the unit that stands behind those of unknown instruments."""
    return {name.removesuffix("_ticks").removesuffix("_lots") for name in document}


def _written(document: dict[str, Any]) -> None:
    assert json.loads(json.dumps(document)) == document
    assert "\n" not in fields_text(document, ())


def test_conditions_are_told_in_decimals() -> None:
    order = c.place_order("X", Side.SELL, 4, 3, display_qty=2, min_qty=1, expire_time_ns=7)
    document = command_document(order, SPEC)
    assert document["display_qty"] == "1.0"
    assert (document["min_qty"], document["expire_time_ns"]) == ("0.5", 7)
    two = {"trail_unit": TrailUnit.TICKS, "trail_offset": 2}
    trail = c.place_oco("X", Side.SELL, 4, price=9, stop_price=None, **two)
    document = command_document(trail, SPEC)
    assert (document["trail_unit"], document["trail_offset"]) == ("TICKS", "0.02")
    pending = c.place_oto(c.new_order("X", Side.BUY, 4, 3), c.place_ouo(trail))
    document = command_document(pending, SPEC)
    assert (document["command"], document["updates"]) == ("place_otoco", True)
    assert (document["price"], document["pending_price"]) == ("0.03", "0.09")
    assert (document["pending_side"], document["pending_trail_offset"]) == ("SELL", "0.02")
    assert document["pending_stop_ord_type"] == "STOP"
    market = {"ord_type": OrderType.MARKET, "time_in_force": TimeInForce.IOC}
    spend = c.place_order("X", Side.BUY, 0, None, **market, quote_qty=30)
    assert command_document(spend, SPEC)["quote_qty"] == "0.150"


def test_terms_are_told_as_people_write_them() -> None:
    document = command_document(c.list_instrument(TERMS, Phase.PRE_OPEN), {})
    assert (document["maker_fee"], document["taker_fee"]) == ("-0.5bp", "10bp")
    assert (document["settlement"], document["phase"]) == ("NONE", "PRE_OPEN")
    plain = command_document(c.create_instrument(TERMS), {})
    assert "settlement" not in plain, "a command of the first engine version says no more"


def test_a_secret_is_never_written_down() -> None:
    key = c.set_api_key("alice", "k", "s3cret")
    assert "s3cret" not in json.dumps(command_document(key, {}))
    malformed = (c.SET_API_KEY, "alice", 5, "s3cret")
    assert "s3cret" not in json.dumps(command_document(malformed, {}))


def test_what_a_node_says_of_its_clients_is_named() -> None:
    assert command_document(c.session_lost(7, 2), {}) == {
        "command": "session_lost",
        "session_id": 7,
        "epoch": 2,
    }
