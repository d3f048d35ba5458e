"""Transcripts: a market told line by line and what it answers, for a trader to check by hand.

A file is blocks parted by empty lines. Lines that start with # are talk. A block is one or more
input lines, `----`, and the answers, each input in a log entry of its own. Both the engine and its
twin are driven and must agree. Input lines:

    market [field=value ...]             before anything else: instrument terms and bounds
    buy|sell ID QTY @ PRICE [ioc|fok|post-only] [MODE] [by ACCOUNT]
    buy|sell ID QTY market [fok] [MODE] [by ACCOUNT]
    cancel ID [by ACCOUNT]
    amend ID [to QTY] [@ PRICE] [by ACCOUNT]
    phase PHASE
    book                                 every resting order, each side best first
    new|change|send FIELD=VALUE ...      a command given field by field, right or wrong
    place|replace FIELD=VALUE ...        the same of PLACE_ORDER and REPLACE_ORDER

MODE is cancel-newest, cancel-oldest, cancel-both or decrement; the account is anna unless said.

`market whole ...` is a market with the rules of engine version 2 in force, its clock and its
currencies: eur in cents, xyz in pieces, a tick is 1 eur and a lot 1 xyz. There, further:

    buy|sell ID for AMOUNT market        a quote amount, in tick-lots
    buy|sell ID QTY to-limit             market to limit
    buy|sell ID QTY peg primary|market|midpoint OFFSET [limit PRICE]
    ... [day|at-auction|until TIME] [stop PRICE|touch PRICE|trail N|trail Nbps]
        [by-the bid|ask|mid]             what stop and touch look at, if not at the last price
        [show QTY|hidden] [min QTY] [reprice]      TIME is since the market began: 10s, 200ms, 5m
    pair buy|sell ID/ID QTY @ PRICE stop PRICE [limit PRICE] ... [updates]   one cancels the other
    oto buy|sell ... then buy|sell|pair ...                        one triggers other
    swap ID for buy|sell ... [or-place]  cancel-replace
    amend ... [stop PRICE] [trail N] [show QTY] [until TIME]
    cancel-all [of ACCOUNT|*] [in SYMBOL] [buys|sells] [from PRICE] [to PRICE] [session N]
    kill-switch on|off [ACCOUNT]
    attach [off] [lease TIME]            the session's orders end with its connection
    lost|renew SESSION EPOCH             what a node says of a client's connection
    wait TIME                            the clock goes on, in an entry without requests
    call TIME [then PHASE] · roll · bust N · deposit|withdraw ACCOUNT AMOUNT CURRENCY TRANSFER_ID ·
    account NAME FIELD=VALUE ... · terms FIELD=VALUE ... · list SYMBOL FIELD=VALUE ... ·
    delete SYMBOL                        said by op
    stops · balance ACCOUNT · fees · indicative · candles     what stands in the state
"""

import os
from pathlib import Path
from typing import Any

from raftbook.core import commands as c
from raftbook.core.call import indicative
from raftbook.core.candles import MINUTE_NS
from raftbook.core.commands import Command, Entry
from raftbook.core.events import answers
from raftbook.core.exchange import Genesis
from raftbook.core.limits import Limits
from raftbook.core.types import OrderType, Phase, SelfTradePrevention, Side, TimeInForce
from tests.core.pair import Pair
from tests.golden.transcript_say import amount_of, say
from tests.golden.transcript_talk import (
    BY_OPERATOR,
    DECIMALS,
    MODES,
    START_NS,
    SYMBOL,
    TERMS,
    command_of,
    duration_ns,
    value_of,
)

ACCOUNTS = ("op", "anna", "ben", "cleo")


def check_or_rewrite(path: Path) -> None:
    """Assert that the file is what the market says; with REWRITE_GOLDEN=1, make it so."""
    written = path.read_text(encoding="utf-8")
    told = play(written)
    if os.environ.get("REWRITE_GOLDEN") == "1":
        path.write_text(told, encoding="utf-8")
        return
    assert told == written, f"{path.name}: read the diff, then REWRITE_GOLDEN=1 to accept it"


def play(text: str) -> str:
    """The same transcript with the answers the market gives now."""
    market: _Market | None = None
    blocks = []
    for block in text.strip().split("\n\n"):
        inputs = block.split("\n----")[0].split("\n")
        answers: list[str] = []
        has_answer = False
        for line in inputs:
            if line.startswith("#"):
                continue
            if market is None:
                market = _Market(line if line.startswith("market") else "market")
            if not line.startswith("market"):
                answers += market.tell(line)
                has_answer = True
        blocks.append("\n".join([*inputs, "----", *answers] if has_answer else inputs))
    return "\n\n".join(blocks) + "\n"


class _Market:
    def __init__(self, line: str) -> None:
        words = line.split()[1:]
        self.is_whole = words[:1] == ["whole"]
        fields = {k: value_of(v) for k, v in _pairs(words[self.is_whole :]).items()}
        bounds = {k: fields.pop(k) for k in list(fields) if k in Limits._fields}
        if fields.get("settlement"):
            fields = {"price_min": 0, **fields}
        accounts = tuple((name, name == "op") for name in ACCOUNTS)
        currencies = tuple(DECIMALS.items()) if self.is_whole else ()
        terms = TERMS._replace(**fields)
        self.pair = Pair(Genesis((terms,), accounts, Limits(**bounds), currencies))
        self.index = 0
        self.now_ns = START_NS if self.is_whole else 10**18
        self.request_seqs = dict.fromkeys(range(1, len(ACCOUNTS) + 1), 0)
        for name in ACCOUNTS:
            self._apply((c.NO_SESSION, 0, (c.open_session(name, "k"),)))

    def tell(self, line: str) -> list[str]:
        words = line.split()
        look = self._looks().get(words[0])
        if look is not None:
            return look(*words[1:])
        if words[0] == "wait":
            return self._wait(words[1])
        is_by = len(words) > 2 and words[-2] == "by"
        account = words[-1] if is_by else "op" if words[0] in BY_OPERATOR else "anna"
        words = words[:-2] if is_by else words
        session_id = ACCOUNTS.index(account) + 1
        self.request_seqs[session_id] += 1
        request_seq = self.request_seqs[session_id]
        if words[0] in (*_FIELDS, "send"):
            fields = _pairs(words[1:])
            session_id = int(fields.pop("session", session_id))
            request_seq = int(fields.pop("seq", request_seq))
            command = _field_by_field(words[0], fields)
        elif not self.is_whole:
            command = _command(words)
        else:
            book = self.pair.engine.books.get(SYMBOL)
            command = command_of(words, None if book is None else book.terms, self.now_ns)
        if command[:1] in ((c.SESSION_LOST,), (c.RENEW_LEASE,)):
            session_id = c.NO_SESSION
        return self._apply((session_id, request_seq, (command,)))

    def _looks(self) -> dict[str, Any]:
        """Lines that ask and change nothing."""
        whole = {
            "stops": self._stops,
            "balance": self._balance,
            "fees": self._fees,
            "indicative": self._indicative,
            "candles": self._candles,
        }
        return {"book": self._book} | (whole if self.is_whole else {})

    def _apply(self, *requests: c.Request) -> list[str]:
        self.index += 1
        replies = self.pair.apply(Entry(self.index, self.now_ns, requests))
        self.pair.check()
        assert len(answers(replies, requests)) == len(requests)
        return [said for reply in replies for event in reply[4] if (said := say(event))]

    def _wait(self, duration: str) -> list[str]:
        """Logical time moves a minute an entry at most."""
        said: list[str] = []
        until_ns = self.now_ns + duration_ns(duration)
        while self.now_ns < until_ns:
            self.now_ns = min(until_ns, self.now_ns + MINUTE_NS)
            said += self._apply()
        return said

    # -- what stands in the state -------------------------------------------------------------

    def _book(self) -> list[str]:
        """The resting orders as the engine holds them, after asking whether the twin agrees."""
        lines = []
        book = self.pair.engine.books[SYMBOL]
        for name, side, ladder in (("ask", Side.SELL, book.asks), ("bid", Side.BUY, book.bids)):
            ours = [(order.terms, order.leaves_qty) for level in ladder for order in level]
            assert ours == [(o.terms, o.leaves) for o in self.pair.twin.queue(SYMBOL, side)]
            for order in (order for level in ladder for order in level):
                terms, shown, leaves = order.terms, order.shown_qty(), order.leaves_qty
                hidden = f" of {leaves}" if shown != leaves else ""
                lines.append(f"{name} {terms[2]} {shown}{hidden} @ {terms[6]}")
        return lines or ["empty"]

    def _stops(self) -> list[str]:
        """What waits, in order of arrival."""
        book = self.pair.engine.books[SYMBOL]
        waiting = book.stops
        orders = sorted(waiting or (), key=lambda order: order.special.arrival)
        told = [f"{order.terms[2]} at {book.stop_price(order)}" for order in orders]
        for order_id, order in () if waiting is None else waiting.pending.items():
            told.append(f"{order.terms[2]} is {'due' if order_id in waiting.due else 'pending'}")
        return told or ["none"]

    def _balance(self, account: str) -> list[str]:
        balances = self.pair.engine.accounts[account].balances
        return [
            f"{account} {currency} {amount_of(balance.available, currency)} available, "
            f"{amount_of(balance.held, currency)} held"
            for currency, balance in sorted(balances.items())
        ] or ["nothing"]

    def _fees(self) -> list[str]:
        return [f"eur {amount_of(self.pair.engine.money.fees['eur'], 'eur')}"]

    def _indicative(self) -> list[str]:
        found = indicative(self.pair.engine.books[SYMBOL])
        if found is None:
            return ["nothing would trade"]
        return [f"would be {found.price}, volume {found.volume}, imbalance {found.imbalance}"]

    def _candles(self) -> list[str]:
        """Minutes since the market began: open, high, low, close, volume, trades, taker bought."""
        lines = []
        for candle in self.pair.engine.books[SYMBOL].tape.candles(MINUTE_NS):
            minute = (candle.open_ns - START_NS) // MINUTE_NS
            prices = f"{candle.open} {candle.high} {candle.low} {candle.close}"
            lines.append(
                f"minute {minute}: {prices}, volume {candle.qty} in {candle.count}, "
                f"bought {candle.taker_qty}"
            )
        return lines or ["none"]


def _pairs(words: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _command(words: list[str]) -> Command:
    verb, name, rest = words[0], words[1], words[2:]
    if verb == "phase":
        return c.set_phase(SYMBOL, Phase[name])
    if verb == "cancel":
        return c.cancel_order(client_order_id=name)
    if verb == "amend":
        qty = int(rest[rest.index("to") + 1]) if "to" in rest else None
        price = int(rest[rest.index("@") + 1]) if "@" in rest else None
        return c.amend_order(client_order_id=name, order_qty=qty, price=price)
    assert verb in ("buy", "sell"), f"unknown line: {words}"
    is_market = "market" in rest
    time_in_force = TimeInForce.IOC if is_market or "ioc" in rest else TimeInForce.GTC
    modes = [mode for word, mode in MODES.items() if word in rest]
    return c.new_order(
        SYMBOL,
        Side[verb.upper()],
        int(rest[0]),
        None if is_market else int(rest[2]),
        client_order_id=name,
        ord_type=OrderType.MARKET if is_market else OrderType.LIMIT,
        time_in_force=TimeInForce.FOK if "fok" in rest else time_in_force,
        post_only="post-only" in rest,
        self_trade_prevention=modes[0] if modes else SelfTradePrevention.NONE,
    )


_ORDER = {"symbol": SYMBOL, "side": 1, "type": 2, "tif": 1, "qty": 1, "price": 1, "id": ""}
_WAITING = {"stop": None, "unit": 0, "offset": 0, "show": 0, "min": 0, "until": 0, "quote": 0}
_CHANGE = {"order_id": 0, "id": "", "qty": None, "price": None}
_FIELDS: dict[str, tuple[int, dict[str, Any]]] = {
    "new": (c.NEW_ORDER, _ORDER | {"post": 0, "mode": 0}),
    "place": (c.PLACE_ORDER, _ORDER | {"post": 0, "mode": 0} | _WAITING),
    "change": (c.AMEND_ORDER, _CHANGE),
    "replace": (c.REPLACE_ORDER, _CHANGE | dict.fromkeys(("stop", "offset", "show", "until"))),
}
"""Commands that can be given field by field, and what their fields are unless said."""


def _field_by_field(verb: str, fields: dict[str, str]) -> Command:
    """A raw command: one of `_FIELDS`, or `send` with bare values to show bad form."""
    values = {name: value_of(value) for name, value in fields.items()}
    if verb == "send":
        return tuple(values.values())
    kind, defaults = _FIELDS[verb]
    assert set(values) <= set(defaults), f"unknown field among {sorted(values)}"
    return (kind, *(defaults | values).values())
