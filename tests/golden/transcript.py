"""Transcripts: a market told line by line and what it answers, for a trader to check by hand.

A file is blocks parted by empty lines. Lines that start with # are talk. A block is one or more
input lines, `----`, and the answers, each input in a log entry of its own. Both the engine and its
twin are driven and must agree. Input lines:

    market [engine=2] [field=value ...]  before anything else: instrument terms and bounds
    buy|sell ID QTY @ PRICE [ioc|fok|post-only] [MODE] [by ACCOUNT]
    buy|sell ID QTY market [fok|auction] [MODE] [by ACCOUNT]
    buy|sell ID QTY to-limit [MODE] [by ACCOUNT]      engine 2, as all below it and "auction"
    cancel ID [by ACCOUNT]
    amend ID [to QTY] [@ PRICE] [by ACCOUNT]
    phase PHASE
    book                                 every resting order, each side best first
    new|change|send FIELD=VALUE ...      a command given field by field, right or wrong

MODE is cancel-newest, cancel-oldest, cancel-both or decrement; the account is anna unless said.
"""

import os
from pathlib import Path
from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.commands import Command, Entry
from raftbook.core.exchange import Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.limits import Limits
from raftbook.core.types import (
    OrderType,
    Phase,
    Reject,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from tests.core.pair import Pair

ACCOUNTS = ("op", "anna", "ben")
SYMBOL = "XYZ"
TERMS = InstrumentTerms(SYMBOL, "xyz", "eur", "1", "1", 1_000, -1_000, 1_000)
MODES = {
    "cancel-newest": SelfTradePrevention.CANCEL_NEWEST,
    "cancel-oldest": SelfTradePrevention.CANCEL_OLDEST,
    "cancel-both": SelfTradePrevention.CANCEL_BOTH,
    "decrement": SelfTradePrevention.DECREMENT,
}


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
        fields: dict[str, Any] = {k: int(v) for k, v in _pairs(line.split()[1:]).items()}
        engine = fields.pop("engine", 1)
        bounds = {k: fields.pop(k) for k in list(fields) if k in Limits._fields}
        accounts = tuple((name, name == "op") for name in ACCOUNTS)
        self.pair = Pair(Genesis((TERMS._replace(**fields),), accounts, Limits(**bounds)))
        self.index = 0
        self.request_seqs = dict.fromkeys(range(1, len(ACCOUNTS) + 1), 0)
        for name in ACCOUNTS:
            self._apply(c.NO_SESSION, 0, c.open_session(name, "k"))
        if engine > 1:
            self._apply(c.NO_SESSION, 0, c.set_engine_version(engine, "x"))

    def tell(self, line: str) -> list[str]:
        words = line.split()
        if words == ["book"]:
            return self._book()
        account = "anna"
        if len(words) > 2 and words[-2] == "by":
            account = words[-1]
            words = words[:-2]
        if words[0] == "phase":
            account = "op"
        session_id = ACCOUNTS.index(account) + 1
        self.request_seqs[session_id] += 1
        request_seq = self.request_seqs[session_id]
        if words[0] in ("new", "change", "send"):
            fields = _pairs(words[1:])
            session_id = int(fields.pop("session", session_id))
            request_seq = int(fields.pop("seq", request_seq))
            command = _field_by_field(words[0], fields)
        else:
            command = _command(words)
        events = self._apply(session_id, request_seq, command)
        return [said for event in events if (said := _say(event))]

    def _apply(self, session_id: int, request_seq: int, command: Command) -> list[Any]:
        self.index += 1
        replies = self.pair.apply(
            Entry(self.index, 10**18, ((session_id, request_seq, (command,)),))
        )
        self.pair.check()
        return list(replies[0][4])

    def _book(self) -> list[str]:
        """The resting orders as the engine holds them, after asking whether the twin agrees."""
        lines = []
        book = self.pair.engine.books[SYMBOL]
        for name, side, ladder in (("ask", Side.SELL, book.asks), ("bid", Side.BUY, book.bids)):
            ours = [(order.terms, order.leaves_qty) for level in ladder for order in level]
            assert ours == [(o.terms, o.leaves) for o in self.pair.twin.queue(SYMBOL, side)]
            lines += [f"{name} {terms[2]} {leaves} @ {terms[6]}" for terms, leaves in ours]
        return lines or ["empty"]


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
    if "to-limit" in rest or "auction" in rest:
        return _placed(verb, name, rest)
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


def _placed(verb: str, name: str, rest: list[str]) -> Command:
    """An order of engine version 2."""
    modes = [mode for word, mode in MODES.items() if word in rest]
    ord_type = OrderType.LIMIT if "@" in rest else OrderType.MARKET
    return c.place_order(
        SYMBOL,
        Side[verb.upper()],
        int(rest[0]),
        int(rest[2]) if "@" in rest else None,
        client_order_id=name,
        ord_type=OrderType.MARKET_TO_LIMIT if "to-limit" in rest else ord_type,
        time_in_force=TimeInForce.AT_AUCTION if "auction" in rest else TimeInForce.GTC,
        self_trade_prevention=modes[0] if modes else SelfTradePrevention.NONE,
    )


def _field_by_field(verb: str, fields: dict[str, str]) -> Command:
    """A raw command: `new` an order, `change` one, or `send` bare values to show bad form."""
    values: dict[str, Any] = {
        name: None if value == "none" else int(value) if value.lstrip("-").isdigit() else value
        for name, value in fields.items()
    }
    if verb == "new":
        order = {"symbol": SYMBOL, "side": 1, "type": 2, "tif": 1, "qty": 1, "price": 1, "id": ""}
        order |= {"post": 0, "mode": 0} | values
        assert len(order) == 9, f"unknown field among {sorted(values)}"
        return (c.NEW_ORDER, *order.values())
    if verb == "change":
        change = {"order_id": 0, "id": "", "qty": None, "price": None} | values
        assert len(change) == 4, f"unknown field among {sorted(values)}"
        return (c.AMEND_ORDER, *change.values())
    return tuple(values.values())


def _say(event: Any) -> str:
    """One event in a trader's words; nothing for an ACCEPTED whose order goes on to something."""
    kind = event[0]
    if kind in (e.REJECTED, e.CANCEL_REJECTED):
        return f"{'rejected' if kind == e.REJECTED else 'refused'} {Reject(event[2]).name}"
    if kind == e.PHASE_CHANGED:
        return f"phase {Phase(event[3]).name}"
    if kind in (e.TRADE, e.AUCTION_TRADE):
        return f"{event[5][2]} x {event[9][2]}  {event[4]} @ {event[3]}"
    if kind == e.UNCROSSED:
        return "no auction price" if event[3] is None else f"auction price {event[3]}"
    name, price = event[2][2], event[2][6]
    if kind == e.ACCEPTED:
        return f"{name} rests {event[2][5]} @ {price}" if event[1] else ""
    if kind == e.RESTED:
        return f"{name} rests {event[3]} @ {price}"
    if kind == e.REPRICED:
        return f"{name} is limited @ {price}"
    if kind == e.REPLACED:
        place = "keeps its place" if event[7] else "leaves its place"
        return f"{name} replaced: open {event[6]} -> {event[5]} @ {price}, {place}"
    if kind == e.RESTATED:
        return f"{name} restated: {event[5]} prevented, open {event[4]}"
    word = {e.CANCELED: "cancelled", e.EXPIRED: "expires"}[kind]
    reason = f" {Reject(event[6]).name}" if event[6] else ""
    return f"{name} {word} {event[4]}{reason}"
