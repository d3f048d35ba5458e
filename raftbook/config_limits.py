"""[timings] and [bounds]: each number in its range, and the rules that hold between two of them.

Owns those rules, why they hold, and what to write where they do not. The numbers themselves,
with defaults and ranges, are in `config_shapes.py`. Imports only that and the strict reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, TypeVar

from raftbook.config_shapes import Bounds, Timings
from raftbook.strict_toml import Table, single_table


@dataclass(frozen=True, slots=True)
class LimitRule:
    """`smaller` x `smaller_times` must be below `larger` x `larger_times`, or equal at most."""

    smaller: str
    larger: str
    why: str
    smaller_times: int = 1
    larger_times: int = 1
    may_equal: bool = False


TIMING_RULES: Final = (
    LimitRule("step_interval_ms", "heartbeat_interval_ms", "heartbeats leave in a step"),
    LimitRule(
        "heartbeat_interval_ms",
        "election_timeout_min_ms",
        "three heartbeats must fit into the silence before an election",
        smaller_times=3,
    ),
    LimitRule(
        "election_timeout_min_ms",
        "election_timeout_max_ms",
        "only a spread keeps two nodes from standing at the same moment",
    ),
    LimitRule(
        "heartbeat_interval_ms",
        "leader_fallback_ms",
        "a leader must not give up over one lost heartbeat",
        smaller_times=3,
    ),
    LimitRule(
        "leader_fallback_ms",
        "election_timeout_max_ms",
        "a leader that is cut off must give up soon after the others have elected another",
        larger_times=2,
        may_equal=True,
    ),
    LimitRule(
        "election_timeout_max_ms",
        "request_deadline_ms",
        "a request should outlive an election",
    ),
    LimitRule("request_deadline_ms", "idle_timeout_ms", "a client that waits is not idle"),
    LimitRule(
        "handshake_timeout_ms", "idle_timeout_ms", "a handshake is no idling", may_equal=True
    ),
    LimitRule("reconnect_min_ms", "reconnect_max_ms", "the wait grows", may_equal=True),
    LimitRule(
        "election_timeout_max_ms", "read_age_max_ms", "reads should go on during an election"
    ),
)

BOUND_RULES: Final = (
    LimitRule("entry_bytes_max", "frame_bytes_max", "an entry travels in a frame", smaller_times=2),
    LimitRule("frame_bytes_max", "peer_buffer_bytes_max", "a frame is buffered", may_equal=True),
    LimitRule("frame_bytes_max", "client_buffer_bytes_max", "a frame is buffered", may_equal=True),
    LimitRule("entry_bytes_max", "pending_bytes_max", "one request may fill it", may_equal=True),
    LimitRule("entry_bytes_max", "snapshot_every_bytes", "one entry is written", may_equal=True),
    LimitRule(
        "entry_requests_max", "requests_pending_max", "an entry is made of these", may_equal=True
    ),
    LimitRule(
        "sessions_per_account_max", "sessions_max", "one account is part of all", may_equal=True
    ),
    LimitRule("open_orders_max", "book_orders_max", "one account is part of all", may_equal=True),
)

_Limits = TypeVar("_Limits", Timings, Bounds)


def read_limits(
    shape: type[_Limits],
    name: str,
    rules: Sequence[LimitRule],
    *,
    document: Mapping[str, object],
    file: str,
) -> _Limits:
    """Read [timings] or [bounds], each key in its range and all of them together."""
    table = single_table(document, name, file=file) or Table(file, name, "", {})
    table.refuse_unknown([limit.name for limit in fields(shape)])
    defaults = shape()
    for limit in fields(shape):
        _check_floor(table, limit.name, limit.metadata["low"], limit.metadata["why_low"])
    values: dict[str, int] = {
        limit.name: table.integer(
            limit.name,
            low=limit.metadata["low"],
            high=limit.metadata["high"],
            example=getattr(defaults, limit.name),
            default=getattr(defaults, limit.name),
        )
        for limit in fields(shape)
    }
    for rule in rules:
        _check_rule(shape, table, rule, values)
    return shape(**values)


def _check_floor(table: Table, key: str, low: int, why: str) -> None:
    """Says why a number is too small, where the range alone would not tell."""
    value = table.values.get(key)
    if why and type(value) is int and value < low:
        problem = f"{key} = {value} is too small: {why}"
        raise table.error(key, problem, hint=f"write {key} = {low} or more")


def _check_rule(
    shape: type[Timings] | type[Bounds], table: Table, rule: LimitRule, values: Mapping[str, int]
) -> None:
    smaller, larger = values[rule.smaller], values[rule.larger]
    gap = 0 if rule.may_equal else 1
    if smaller * rule.smaller_times + gap <= larger * rule.larger_times:
        return
    smaller_max = (larger * rule.larger_times - gap) // rule.smaller_times
    larger_min = -(-(smaller * rule.smaller_times + gap) // rule.larger_times)
    low = {limit.name: limit.metadata["low"] for limit in fields(shape)}[rule.smaller]
    # Raising the larger one is always possible: a test holds the ranges to that.
    ways = [f"{rule.larger} = {larger_min} or more"]
    if smaller_max >= low:
        ways.insert(0, f"{rule.smaller} = {smaller_max} or less")
    shown = [
        f"{key} = {values[key]}" + ("" if key in table.values else " (the default)")
        for key in (rule.smaller, rule.larger)
    ]
    problem = f"{shown[0]} and {shown[1]} clash: {rule.why}"
    raise table.error(rule.smaller, problem, hint="write " + ", or ".join(ways))
