"""What is well formed, and which terms of an instrument are sound."""

from decimal import Decimal, InvalidOperation
from typing import Any

from raftbook.core import commands as c
from raftbook.core.instrument import InstrumentTerms
from tests.core.twin.state import BIG, FEE_UNIT

_NEW = "siiiiosii"
_PLACE = _NEW + "oiiiiii"
_MORE = "if"  # what an order may say beyond that, all of it or nothing
_PLAIN_TERMS = "sssssiiiooooo"
_TERMS = _PLAIN_TERMS + "iiiiioi"

# s: an id, t: an id or None, i: an integer, o: an integer or None, f: 0 or 1, g: 0, 1 or None
FIRST_FORMS = {
    c.NEW_ORDER: _NEW,
    c.CANCEL_ORDER: "is",
    c.AMEND_ORDER: "isoo",
    c.OPEN_SESSION: "ss",
    c.CLOSE_SESSION: "",
    c.CREATE_INSTRUMENT: _PLAIN_TERMS,
    c.SET_PHASE: "si",
}
FORMS = {
    **FIRST_FORMS,
    c.PLACE_ORDER: _PLACE,
    c.REPLACE_ORDER: "isoooooo",
    c.MASS_CANCEL: "sisioo",
    c.CANCEL_REPLACE: "isf" + _PLACE,
    c.PLACE_OCO: "siiiiiisiiiooiis",
    c.PLACE_PEG: "siiiosiii",
    c.ATTACH_SESSION: "fi",
    c.LIST_INSTRUMENT: _TERMS + "i",
    c.AMEND_INSTRUMENT: _TERMS,
    c.DELETE_INSTRUMENT: "s",
    c.CALL_AUCTION: "sii",
    c.CREATE_CURRENCY: "si",
    c.CREATE_ACCOUNT: "sfs",
    c.SET_ACCOUNT: "sgtooooo",
    c.DEPOSIT: "ssis",
    c.WITHDRAW: "ssis",
    c.SET_KILL_SWITCH: "sf",
    c.BUST_TRADE: "si",
    c.ROLL_DAY: "",
    c.SET_DROP_COPY: "sf",
    c.SET_API_KEY: "sss",
}
_SAY_MORE = (c.PLACE_ORDER, c.CANCEL_REPLACE, c.PLACE_OCO)
NOTICES = {c.SESSION_LOST: "ii", c.RENEW_LEASE: "ii"}


def well_formed(command: Any, forms: dict[int, str]) -> bool:
    if type(command) is not tuple or not command or type(command[0]) is not int:
        return False
    form = forms.get(command[0])
    if form is None:
        return False
    if command[0] in _SAY_MORE and len(command) > len(form) + 1:
        form += _MORE
    if len(form) != len(command) - 1:
        return False
    return all(fits(letter, value) for letter, value in zip(form, command[1:], strict=True))


def fits(letter: str, value: Any) -> bool:
    if letter in "otg" and value is None:
        return True
    if letter in "st":
        if type(value) is not str or len(value) > 64:
            return False
        return all(33 <= ord(char) <= 126 for char in value)
    if letter in "fg":
        return type(value) is int and value in (0, 1)
    return type(value) is int and abs(value) <= BIG


def sound(terms: InstrumentTerms) -> bool:
    try:
        units = [Decimal(terms.tick_size), Decimal(terms.lot_size)]
    except InvalidOperation:
        return False
    low, high = terms.band_low, terms.band_high
    fees = (terms.maker_fee, terms.taker_fee)
    return (
        all(terms[:3])
        and all(unit.is_finite() and unit > 0 for unit in units)
        and terms.qty_max >= 1
        and terms.price_min <= terms.price_max
        and terms.qty_max * max(abs(terms.price_min), abs(terms.price_max)) <= BIG
        and (low is None or high is None or low <= high)
        and (terms.notional_max is None or terms.notional_max > 0)
        and (terms.collar is None or terms.collar >= 0)
        and 1 <= terms.qty_min <= terms.qty_max
        and terms.notional_min >= 0
        and terms.settlement in (0, 1, 2)
        and all(abs(fee) <= FEE_UNIT // 2 for fee in fees)
        and (not terms.settlement or terms.price_min >= 0)
        and (terms.volatility_band is None or terms.volatility_band >= 0)
        and (terms.volatility_band is None) == (terms.volatility_call_ms == 0)
        and 0 <= terms.volatility_call_ms <= 86_400_000
    )
