"""The lines of a transcript about a whole venue, as commands. `transcript.py` says what they mean.

Owns the grammar. A line is words; what is not understood is an error, never passed over.
"""

import re
from typing import Any, Final

from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import (
    OrderType,
    PegReference,
    Phase,
    PostOnly,
    SelfTradePrevention,
    Settlement,
    Side,
    TimeInForce,
    TrailUnit,
    TriggerBy,
)

SYMBOL: Final = "XYZ"
TERMS: Final = InstrumentTerms(SYMBOL, "xyz", "eur", "1", "1", 1_000, -1_000, 1_000)
START_NS: Final = 1_000_000_020 * 10**9
"""When a whole market begins: at a full minute."""
MODES: Final = {
    "cancel-newest": SelfTradePrevention.CANCEL_NEWEST,
    "cancel-oldest": SelfTradePrevention.CANCEL_OLDEST,
    "cancel-both": SelfTradePrevention.CANCEL_BOTH,
    "decrement": SelfTradePrevention.DECREMENT,
}
_TIMES: Final = {
    "ioc": TimeInForce.IOC,
    "fok": TimeInForce.FOK,
    "day": TimeInForce.DAY,
    "at-auction": TimeInForce.AT_AUCTION,
}
_UNITS_NS: Final = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3_600 * 10**9}
_TRIGGERS: Final = {
    ("stop", False): OrderType.STOP,
    ("stop", True): OrderType.STOP_LIMIT,
    ("touch", False): OrderType.IF_TOUCHED,
    ("touch", True): OrderType.LIMIT_IF_TOUCHED,
}
BY_OPERATOR: Final = frozenset(
    ("phase", "call", "roll", "bust", "deposit", "withdraw", "account", "terms", "list", "delete")
)
"""First words of lines that op says unless another is named."""


def duration_ns(text: str) -> int:
    """10s, 200ms, 5m or 1h."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h)", text)
    assert found, f"no duration: {text}"
    return int(found[1]) * _UNITS_NS[found[2]]


class Words:
    """The words of a line that are not read yet."""

    def __init__(self, words: list[str]) -> None:
        self.left = list(words)

    def next(self) -> str:
        """The next word."""
        assert self.left, "the line is too short"
        return self.left.pop(0)

    def flag(self, word: str) -> bool:
        """Take a word out if it stands anywhere."""
        if word in self.left:
            self.left.remove(word)
            return True
        return False

    def after(self, word: str) -> str | None:
        """Take out a word and the one behind it, which is the answer."""
        if word not in self.left:
            return None
        at = self.left.index(word)
        value = self.left[at + 1]
        del self.left[at : at + 2]
        return value

    def number(self, word: str) -> int | None:
        """The number behind a word."""
        value = self.after(word)
        return None if value is None else int(value)

    def pairs(self) -> dict[str, Any]:
        """All that is left, each of it NAME=VALUE; numbers where they look like some."""
        found = {}
        for word in self.left:
            name, equals, value = word.partition("=")
            assert equals, f"not NAME=VALUE: {word}"
            found[name] = value_of(value)
        self.left.clear()
        return found

    def end(self) -> None:
        """Everything must have been read."""
        assert not self.left, f"not understood: {self.left}"


def value_of(text: str) -> Any:
    """none, a number, a settlement, or text."""
    if text == "none":
        return None
    if text.upper() in Settlement.__members__:
        return int(Settlement[text.upper()])
    return int(text) if text.lstrip("-").isdigit() else text


def command_of(words: list[str], terms: InstrumentTerms | None, now_ns: int) -> Command:
    """One line.

    Args:
        terms: of the instrument as they are now.
    """
    rest = Words(words)
    verb = rest.next()
    if verb in ("buy", "sell"):
        command = _order(verb, rest)
    elif verb == "pair":
        command = _pair(rest)
    elif verb == "swap":
        command = _swap(rest)
    elif verb == "amend":
        command = _amend(rest)
    elif verb == "cancel":
        command = c.cancel_order(client_order_id=rest.next())
    elif verb == "cancel-all":
        command = _mass_cancel(rest)
    elif verb == "kill-switch":
        is_on = {"on": True, "off": False}[rest.next()]
        command = c.set_kill_switch(account=rest.next() if rest.left else "", on=is_on)
    elif verb == "attach":
        lease = rest.after("lease")
        lease_ms = 0 if lease is None else duration_ns(lease) // 10**6
        command = c.attach_session(cancel_on_disconnect=not rest.flag("off"), lease_ms=lease_ms)
    elif verb in ("lost", "renew"):
        say = c.session_lost if verb == "lost" else c.renew_lease
        command = say(int(rest.next()), int(rest.next()))
    else:
        command = _venue(verb, rest, terms, now_ns)
    rest.end()
    return command


def _venue(verb: str, rest: Words, terms: InstrumentTerms | None, now_ns: int) -> Command:
    """What operators say."""
    if verb == "phase":
        return c.set_phase(SYMBOL, Phase[rest.next()])
    if verb == "call":
        until_ns, then = now_ns + duration_ns(rest.next()), rest.after("then") or "CONTINUOUS"
        return c.call_auction(SYMBOL, until_ns=until_ns, then=Phase[then])
    if verb == "roll":
        return c.roll_day()
    if verb == "bust":
        return c.bust_trade(SYMBOL, int(rest.next()))
    if verb in ("deposit", "withdraw"):
        say = c.deposit if verb == "deposit" else c.withdraw
        account, amount, currency = rest.next(), rest.next(), rest.next()
        return say(account, currency, minor_units(amount, currency), rest.next())
    if verb == "account":
        name, fields = rest.next(), rest.pairs()
        if "enabled" in fields:
            fields["enabled"] = bool(fields["enabled"])
        return c.set_account(name, **fields)
    if verb == "list":
        return c.list_instrument(TERMS._replace(symbol=rest.next(), **rest.pairs()))
    if verb == "delete":
        return c.delete_instrument(rest.next())
    assert verb == "terms" and terms is not None, f"unknown line: {verb}"
    return c.amend_instrument(terms._replace(**rest.pairs()))


DECIMALS: Final = {"eur": 2, "xyz": 0}


def minor_units(amount: str, currency: str) -> int:
    """An amount as people write it."""
    whole, _, part = amount.partition(".")
    decimals = DECIMALS[currency]
    assert len(part) <= decimals, f"{amount} is finer than {currency}"
    return int(whole + part.ljust(decimals, "0"))


def _order(verb: str, rest: Words) -> Command:
    side, name = Side[verb.upper()], rest.next()
    quote_qty = rest.number("for")
    qty = 0 if quote_qty is not None else int(rest.next())
    if rest.left[:1] == ["peg"]:
        return _peg(side, name, qty, rest)
    price = _price(rest)
    return c.place_order(
        SYMBOL,
        side,
        qty,
        price,
        client_order_id=name,
        quote_qty=quote_qty or 0,
        **_conditions(rest, has_limit=price is not None),
    )


def _peg(side: Side, name: str, qty: int, rest: Words) -> Command:
    reference = rest.after("peg")
    assert reference is not None
    return c.place_peg(
        SYMBOL,
        side,
        qty,
        PegReference[reference.upper()],
        offset=int(rest.next()),
        limit_price=rest.number("limit"),
        client_order_id=name,
    )


def _price(rest: Words) -> int | None:
    if rest.left[:1] == ["market"]:
        rest.next()
        return None
    if rest.left[:1] == ["to-limit"]:
        return None  # `_conditions` takes the word out
    assert rest.next() == "@", f"a price is missing: {rest.left}"
    return int(rest.next())


def _conditions(rest: Words, *, has_limit: bool) -> dict[str, Any]:
    """The options of an order, which stand behind its price in any order."""
    ord_type = OrderType.LIMIT if has_limit else OrderType.MARKET
    fields: dict[str, Any] = {}
    for word in ("stop", "touch"):
        price = rest.number(word)
        if price is not None:
            ord_type, fields["stop_price"] = _TRIGGERS[word, has_limit], price
    trigger_by = rest.after("by-the")
    if trigger_by is not None:
        fields["trigger_by"] = TriggerBy[trigger_by.upper()]
    trail = rest.after("trail")
    if trail is not None:
        ord_type = _TRIGGERS["stop", has_limit]
        fields |= _trail(trail)
    if rest.flag("to-limit"):
        ord_type = OrderType.MARKET_TO_LIMIT
    time_in_force = TimeInForce.IOC if ord_type == OrderType.MARKET else TimeInForce.GTC
    until = rest.after("until")
    if until is not None:
        time_in_force, fields["expire_time_ns"] = TimeInForce.GTD, START_NS + duration_ns(until)
    for word, time in _TIMES.items():
        time_in_force = time if rest.flag(word) else time_in_force
    post_only = PostOnly.REJECT if rest.flag("post-only") else PostOnly.NO
    return fields | {
        "ord_type": ord_type,
        "time_in_force": time_in_force,
        "post_only": PostOnly.REPRICE if rest.flag("reprice") else post_only,
        "display_qty": rest.number("show") or 0,
        "hidden": rest.flag("hidden"),
        "min_qty": rest.number("min") or 0,
        "self_trade_prevention": _mode(rest),
    }


def _trail(text: str) -> dict[str, Any]:
    is_bps = text.endswith("bps")
    unit = TrailUnit.BASIS_POINTS if is_bps else TrailUnit.TICKS
    return {"trail_unit": unit, "trail_offset": int(text.removesuffix("bps"))}


def _mode(rest: Words) -> SelfTradePrevention:
    modes = [mode for word, mode in MODES.items() if rest.flag(word)]
    return modes[0] if modes else SelfTradePrevention.NONE


def _pair(rest: Words) -> Command:
    """buy|sell ID/STOP_ID QTY @ PRICE, then the stop."""
    side, names = Side[rest.next().upper()], rest.next().partition("/")
    qty, price = int(rest.next()), _price(rest)
    assert price is not None, "the first of a pair has a limit price"
    limit = rest.number("limit")
    options = _conditions(rest, has_limit=True)
    del options["ord_type"], options["min_qty"]
    return c.place_oco(
        SYMBOL,
        side,
        qty,
        price=price,
        stop_price=options.pop("stop_price", None),
        stop_limit_price=limit,
        client_order_id=names[0],
        stop_client_order_id=names[2],
        **options,
    )


def _swap(rest: Words) -> Command:
    """ID for buy|sell ..., perhaps or-place."""
    old, or_place = rest.next(), rest.flag("or-place")
    assert rest.next() == "for", "swap ID for buy|sell ..."
    return c.cancel_replace(_order(rest.next(), rest), client_order_id=old, or_place=or_place)


def _amend(rest: Words) -> Command:
    name = rest.next()
    until, trail = rest.after("until"), rest.after("trail")
    return c.replace_order(
        client_order_id=name,
        order_qty=rest.number("to"),
        price=rest.number("@"),
        stop_price=rest.number("stop"),
        trail_offset=None if trail is None else int(trail.removesuffix("bps")),
        display_qty=rest.number("show"),
        expire_time_ns=None if until is None else START_NS + duration_ns(until),
    )


def _mass_cancel(rest: Words) -> Command:
    side = Side.BUY if rest.flag("buys") else None
    side = Side.SELL if rest.flag("sells") else side
    return c.mass_cancel(
        account=rest.after("of") or "",
        session_id=rest.number("session") or 0,
        symbol=rest.after("in") or "",
        side=side,
        price_low=rest.number("from"),
        price_high=rest.number("to"),
    )
