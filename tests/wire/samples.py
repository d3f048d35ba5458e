"""One sample of everything that crosses a wire or stands in a file, as readable values."""

from typing import Any

from raftbook.core import commands as c
from raftbook.core import events as e
from raftbook.core.conditions import OrderConditions, as_terms
from raftbook.core.instrument import PLAIN_TERMS, InstrumentTerms
from raftbook.core.types import (
    OrderType,
    PegReference,
    Phase,
    PostOnly,
    SelfTradePrevention,
    Side,
    TimeInForce,
    TrailUnit,
    TriggerBy,
)
from raftbook.storage.snapshot_header import SnapshotHeader
from raftbook.wire import client_messages as m

TERMS = InstrumentTerms(
    "BTC-USD", "BTC", "USD", "0.01", "0.001", 10**9, -(10**9), 10**9, 1, 2 * 10**7, None, 500, None
)
COMMANDS = {
    "NEW_ORDER": c.new_order(
        "BTC-USD",
        Side.SELL,
        70_000,
        -1,
        client_order_id="a17",
        post_only=True,
        self_trade_prevention=SelfTradePrevention.DECREMENT,
    ),
    "NEW_ORDER market": c.new_order(
        "BTC-USD",
        Side.BUY,
        1,
        None,
        ord_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
    ),
    "CANCEL_ORDER": c.cancel_order(order_id=2**40),
    "AMEND_ORDER": c.amend_order(client_order_id="a17", order_qty=5, price=None),
    "OPEN_SESSION": c.open_session("alice", "key-1"),
    "CLOSE_SESSION": c.close_session(),
    "CREATE_INSTRUMENT": c.create_instrument(TERMS),
    "SET_PHASE": c.set_phase("BTC-USD", Phase.HALTED),
}
# What no client says and no client hears.
LEADER_COMMANDS = {"SET_ENGINE_VERSION": c.set_engine_version(2, "0.2.0")}
LEADER_EVENTS = {"ENGINE_VERSION_SET": (e.ENGINE_VERSION_SET, 0, 2)}

_KIND = (2, 2, 1, 1, 4)
_MAKER = (3, "bob", "b1", "BTC-USD", _KIND, 7, 10_125)
_TAKER = (4, "", "", "BTC-USD", (1, 2, 1, 0, 0), 9, 10_125)
EVENTS = {
    "ACCEPTED": (e.ACCEPTED, 1, _MAKER),
    "RESTED": (e.RESTED, 3, _TAKER, 2),
    "TRADE": (e.TRADE, 2, 1, 10_125, 7, _MAKER, 7, 0, 70_875, _TAKER, 7, 2, 70_875),
    "CANCELED": (e.CANCELED, 4, _TAKER, 7, 2, 1, 0),
    "EXPIRED": (e.EXPIRED, 0, _TAKER, 0, 9, 0, 26),
    "REPLACED": (e.REPLACED, 5, _TAKER, _TAKER, 7, 1, 2, 1),
    "RESTATED": (e.RESTATED, 6, _MAKER, 0, 4, 3, 1),
    "REJECTED": (e.REJECTED, 0, 10, COMMANDS["NEW_ORDER"]),
    "CANCEL_REJECTED": (e.CANCEL_REJECTED, 0, 34, COMMANDS["CANCEL_ORDER"]),
    "SESSION_OPENED": (e.SESSION_OPENED, 0, 12, "alice", 41),
    "SESSION_CLOSED": (e.SESSION_CLOSED, 0, 12),
    "INSTRUMENT_CREATED": (e.INSTRUMENT_CREATED, 1, TERMS[:PLAIN_TERMS]),
    "PHASE_CHANGED": (e.PHASE_CHANGED, 2, "BTC-USD", 4),
}

# What engine version 2 added. The messages below hold what version 1 had.
_ALL_TERMS = TERMS._replace(
    price_min=0, settlement=2, maker_fee=-5, taker_fee=20, volatility_band=50, volatility_call_ms=1
)
NEW_COMMANDS = {
    "PLACE_ORDER": c.place_order(
        "BTC-USD",
        Side.BUY,
        70_000,
        10_125,
        client_order_id="a18",
        time_in_force=TimeInForce.GTD,
        post_only=PostOnly.REPRICE,
        display_qty=500,
        expire_time_ns=1_767_225_700_000_000_000,
    ),
    "PLACE_ORDER by the bid": c.place_order(
        "BTC-USD",
        Side.SELL,
        3,
        None,
        ord_type=OrderType.STOP,
        stop_price=10_050,
        trigger_by=TriggerBy.BID,
    ),
    "PLACE_ORDER hidden": c.place_order("BTC-USD", Side.SELL, 3, 10_050, hidden=True),
    "PLACE_OCO hidden": c.place_oco(
        "BTC-USD", Side.SELL, 5, price=10_500, stop_price=9_900, hidden=True
    ),
    "REPLACE_ORDER": c.replace_order(order_id=7, order_qty=5, display_qty=2),
    "MASS_CANCEL": c.mass_cancel(symbol="BTC-USD", side=Side.SELL, price_low=-3, price_high=9),
    "CANCEL_REPLACE": c.cancel_replace(
        c.new_order("BTC-USD", Side.BUY, 2, 3), client_order_id="a18", or_place=True
    ),
    "PLACE_OCO": c.place_oco(
        "BTC-USD",
        Side.SELL,
        5,
        price=10_500,
        stop_price=None,
        trail_unit=TrailUnit.BASIS_POINTS,
        trail_offset=150,
        stop_client_order_id="s1",
    ),
    "PLACE_PEG": c.place_peg(
        "BTC-USD", Side.SELL, 5, PegReference.MIDPOINT, offset=-2, limit_price=10_100
    ),
    "ATTACH_SESSION": c.attach_session(cancel_on_disconnect=True, lease_ms=5_000),
    "SESSION_LOST": c.session_lost(12, 3),
    "RENEW_LEASE": c.renew_lease(12, 3),
    "LIST_INSTRUMENT": c.list_instrument(_ALL_TERMS, Phase.PRE_OPEN),
    "AMEND_INSTRUMENT": c.amend_instrument(_ALL_TERMS),
    "DELETE_INSTRUMENT": c.delete_instrument("BTC-USD"),
    "CALL_AUCTION": c.call_auction("BTC-USD", until_ns=1_767_225_700_000_000_000),
    "CREATE_CURRENCY": c.create_currency("USD", 2),
    "CREATE_ACCOUNT": c.create_account("carol", group="desk"),
    "SET_ACCOUNT": c.set_account("carol", enabled=False, orders_per_s=10),
    "DEPOSIT": c.deposit("carol", "USD", 10**12, "wire-1"),
    "WITHDRAW": c.withdraw("carol", "USD", 5, "wire-2"),
    "SET_KILL_SWITCH": c.set_kill_switch(account="carol", on=True),
    "BUST_TRADE": c.bust_trade("BTC-USD", 17),
    "ROLL_DAY": c.roll_day(),
    "SET_DROP_COPY": c.set_drop_copy("bob", on=True),
    "SET_API_KEY": c.set_api_key("carol", "key-1", "s3cret"),
}
_ICEBERG = (*_MAKER, as_terms(OrderConditions(display_qty=2, oco_order_id=6)))
_HIDDEN = (*_MAKER, as_terms(OrderConditions(hidden=1)))
_PEGGED = (*_MAKER[:6], None, as_terms(OrderConditions()), (3, -2, 10_100))
NEW_EVENTS = {
    "TRIGGERED": (e.TRIGGERED, 0, _ICEBERG, 10_120),
    "RESTED hidden": (e.RESTED, 0, _HIDDEN, 5),
    "REFILLED": (e.REFILLED, 7, _ICEBERG, 2, 5),
    "REPRICED": (e.REPRICED, 0, _MAKER, 10_130),
    "REPRICED pegged": (e.REPRICED, 7, _PEGGED, 10_131, 5),
    "AUCTION_TRADE": (
        *(e.AUCTION_TRADE, 8, 2, 10_125, 7, _TAKER, 7, 2, 70_875, _ICEBERG, 7, 0, 70_875),
        *(-3, 12, 2, 0),
    ),
    "UNCROSSED": (e.UNCROSSED, 9, "BTC-USD", None, 0, 0),
    "TRADE_BUSTED": (e.TRADE_BUSTED, 10, "BTC-USD", 2, 10_125, 7, _MAKER, _TAKER),
    "INSTRUMENT_AMENDED": (e.INSTRUMENT_AMENDED, 11, tuple(_ALL_TERMS)),
    "INSTRUMENT_DELETED": (e.INSTRUMENT_DELETED, 12, "BTC-USD"),
    "CURRENCY_CREATED": (e.CURRENCY_CREATED, 0, "USD", 2),
    "ACCOUNT_CHANGED": (e.ACCOUNT_CHANGED, 0, "carol", 0, 1, "desk", 0, 0, 0, 10, 0),
    "BALANCE_CHANGED": (e.BALANCE_CHANGED, 0, "carol", "USD", -5, 10**12 - 5, "wire-2", 0),
    "KILL_SWITCH_SET": (e.KILL_SWITCH_SET, 0, "", 1),
    "MASS_CANCELED": (e.MASS_CANCELED, 0, "*", 1_000, 1),
    "DAY_ROLLED": (e.DAY_ROLLED, 0, 1),
    "SESSION_ATTACHED": (e.SESSION_ATTACHED, 0, 12, 3),
    "SESSION_LAPSED": (e.SESSION_LAPSED, 0, 12, 3),
    "DROP_COPY_SET": (e.DROP_COPY_SET, 0, "alice", "bob", 1),
    "API_KEY_SET": (e.API_KEY_SET, 0, "carol", "key-1", 1),
}

_NONCE = bytes(range(32))
_TIME_NS = 1_767_225_600_000_000_000
CLIENT_MESSAGES: dict[str, tuple[Any, ...]] = {
    "HELLO": (m.HELLO, m.PROTOCOL_VERSION, "python"),
    "WELCOME": (m.WELCOME, m.PROTOCOL_VERSION, "demo", "demo-1", 2, _NONCE),
    "LOGIN": (m.LOGIN, 1, "alice", m.login_proof("s3cret", "alice", _NONCE)),
    "OPEN": (m.OPEN, 2, "key-1"),
    "REQUEST": (m.REQUEST, 12, 41, tuple(COMMANDS.values())),
    "REPLY": (m.REPLY, 12, 41, 12_874, 4, _TIME_NS, 0, tuple(EVENTS.values()), 0, 2),
    "REFUSED": (m.REFUSED, 12, 41, 902, "no commit in time; it may still take effect"),
    "QUERY": (m.QUERY, 3, "book", {"symbol": "BTC-USD", "depth": 10, "orders": True}),
    "SUBSCRIBE": (m.SUBSCRIBE, 4, "feed", {"symbol": "BTC-USD", "from_seq": None}),
    "RESULT": (m.RESULT, 4, {"subscription": 1}),
    "FAILURE": (m.FAILURE, 0, 48, "unknown message kind 99"),
    "PUSH": (m.PUSH, 1, (8_841, 12_874, _TIME_NS, "add", 3, 2, 10_125, 7)),
    "PING": (m.PING, 5),
    "PONG": (m.PONG, 5),
    "REPLY_PAGE": (m.REPLY_PAGE, 12, 41, tuple(EVENTS.values())),
}

_FOUNDING, _JOURNAL = "0f" * 16, "1e" * 16
_INTRODUCTION = {"is_founded": True, "founding": _FOUNDING, "incarnation": _JOURNAL}
_ENTRIES = ((b"\x00payload", 12_874, 4), (b"\x01", 12_875, 4))
PEER_MESSAGES: dict[str, dict[str, Any]] = {
    "append": {
        "type": "append",
        "term": 4,
        "founding": _FOUNDING,
        "commit_index": 12_870,
        "prev_index": 12_873,
        "prev_term": 3,
        "entries": _ENTRIES,
    },
    "append_reply": {
        "type": "append_reply",
        "term": 4,
        "success": True,
        "index": 12_875,
        "incarnation": _JOURNAL,
    },
    "request_vote": {
        "type": "request_vote",
        "term": 5,
        "last_log_index": 12_875,
        "last_log_term": 4,
        **_INTRODUCTION,
        "is_asked": False,
    },
    "response_vote": {"type": "response_vote", "term": 5, "incarnation": _JOURNAL},
    "pre_vote": {
        "type": "pre_vote",
        "term": 5,
        "last_log_index": 12_875,
        "last_log_term": 4,
        **_INTRODUCTION,
    },
    "pre_vote_reply": {
        "type": "pre_vote_reply",
        "term": 4,
        "asked": 5,
        "granted": True,
        **_INTRODUCTION,
    },
    "timeout_now": {"type": "timeout_now", "term": 4},
    "install": {
        "type": "install",
        "term": 4,
        "founding": _FOUNDING,
        "header": b"header",
        "offset": 262_144,
        "chunk": b"chunk",
        "last": False,
    },
    "install_reply": {
        "type": "install_reply",
        "term": 4,
        "received": 262_149,
        "incarnation": _JOURNAL,
    },
    "forward": {"type": "forward", "requests": (b"request",)},
    "attest": {
        "type": "attest",
        "index": 12_875,
        "digest": "9f3a61c2e07b9f3a61c2e07b9f3a61c2",
    },
}

SNAPSHOT_HEADER = SnapshotHeader(
    index=12_000,
    term=4,
    members=(1, 2, 3),
    cluster_id="demo-1",
    genesis_digest="00112233445566778899aabbccddeeff",
    state_digest="ffeeddccbbaa99887766554433221100",
    size=262_149,
    sha256="9f" * 32,
    created_by="0.1.0",
    engine_version=1,
)
