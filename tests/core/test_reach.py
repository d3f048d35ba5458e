"""A generator that always bounces off the same refusal tests nothing: count what happens."""

from collections import Counter

from raftbook.core import events as e
from raftbook.core.commands import Entry
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.types import Reject
from tests.core import venue_flow, venue_market, venue_profiles
from tests.core.flow import GENESIS, PROFILES, random_entries

NEVER_SAID = {
    Reject.NONE,
    Reject.LOT_SIZE,  # said by the edges that turn decimals into lots and ticks
    Reject.TICK_SIZE,
    Reject.NOT_OWNER,  # shown as UNKNOWN_ORDER
    Reject.VERSION_MISMATCH,  # kept for a log from the future
    Reject.UNSUPPORTED_VERSION,
    *(reason for reason in Reject if reason >= 900),  # said by gateways
}
ENDS_ONLY = {
    Reject.FOK_CANNOT_FILL,
    Reject.MIN_QTY_NOT_MET,
    Reject.NO_LIQUIDITY,
    Reject.PRICE_COLLAR,
    Reject.SELF_TRADE,
    Reject.FILL_LIMIT,
    Reject.OCO_DONE,
    Reject.OTO_FAILED,
    Reject.MASS_CANCEL,
    Reject.DISCONNECTED,
    Reject.TIME_IS_UP,
}
"""Why the exchange ended an order; nothing is refused for these."""


def told_by(genesis: Genesis, runs: list[list[Entry]]) -> Counter[tuple[int, int]]:
    """How often every (kind, reason) of event is told; the reason is 0 where there is none."""
    told: Counter[tuple[int, int]] = Counter()
    for entries in runs:
        exchange = Exchange(genesis)
        for entry in entries:
            for reply in exchange.apply(entry):
                for event in reply[4]:
                    place = {e.REJECTED: 2, e.CANCEL_REJECTED: 2, e.CANCELED: 6, e.EXPIRED: 6}
                    reason = event[place[event[0]]] if event[0] in place else 0
                    told[event[0], reason] += 1
    return told


def test_the_long_runs_reach_what_they_are_for() -> None:
    runs = [random_entries(seed, 250, p) for p in PROFILES.values() for seed in range(8)]
    told = told_by(GENESIS, runs)
    assert {kind for kind, _ in told} == set(range(1, 14)), "some event never happens"
    refused = {reason for kind, reason in told if kind == e.REJECTED}
    by_new = {1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 18, 19, 20, 21, 25, 39, 41, 46, 47, 48}
    assert refused >= by_new, by_new - refused
    refused = {reason for kind, reason in told if kind == e.CANCEL_REJECTED}
    by_change = {3, 4, 8, 9, 12, 15, 16, 18, 19, 25, 34, 35, 37, 48}
    assert refused >= by_change, by_change - refused


def test_the_runs_of_a_whole_venue_reach_every_event_and_every_reason() -> None:
    runs = [
        venue_flow.random_entries(seed, 200, profile)
        for profile in venue_profiles.PROFILES.values()
        for seed in range(8)
    ]
    told = told_by(venue_market.GENESIS, runs)
    kinds = {kind for kind, _ in told}
    due_kinds = set(range(e.ACCEPTED, e.API_KEY_SET + 1))
    assert kinds == due_kinds, "some event never happens"
    refusing = (e.REJECTED, e.CANCEL_REJECTED)
    refused = {reason for kind, reason in told if kind in refusing}
    due = set(Reject) - NEVER_SAID - ENDS_ONLY
    assert due <= refused, f"never refused for: {due - refused}"
    ended = {reason for kind, reason in told if kind in (e.CANCELED, e.EXPIRED)}
    due = ENDS_ONLY | {
        Reject.NONE,
        Reject.INSUFFICIENT_FUNDS,
        Reject.POST_ONLY_WOULD_CROSS,  # of a pending order that is released
    }
    assert due <= ended, f"never ended for: {due - ended}"
    changed = {reason for kind, reason in told if kind == e.CANCEL_REJECTED}
    due = {
        Reject.UNKNOWN_ORDER,
        Reject.TOO_LATE,
        Reject.AMEND_NOT_ALLOWED,
        Reject.BAD_STOP_PRICE,
        Reject.BAD_DISPLAY_QTY,
        Reject.BAD_EXPIRE_TIME,
        Reject.INSUFFICIENT_FUNDS,
        Reject.INSUFFICIENT_POSITION,
        Reject.RATE_LIMIT,
        Reject.KILL_SWITCH,
        Reject.ACCOUNT_SUSPENDED,
        Reject.POST_ONLY_WOULD_CROSS,
    }
    assert due <= changed, f"no change was ever refused for: {due - changed}"
