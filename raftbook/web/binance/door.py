"""The door itself: who may ask what, how often, and of how new a state.

Owns the way of a call from its parameters to its answer, the same for REST and ws-api: key and
signature, weight, freshness, then the operation. An operation is one function, whichever way the
call came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final, TypeVar

from raftbook.core.accounts import Account
from raftbook.core.exchange import Exchange
from raftbook.gateway.pace import Asker, Ended
from raftbook.web.binance.desk import Desk
from raftbook.web.binance.faults import bad_key, crowded, invalid, stopping
from raftbook.web.binance.history import Tickers
from raftbook.web.binance.keys import bearer, signer
from raftbook.web.binance.listen_keys import ListenKeys
from raftbook.web.binance.markets import Markets
from raftbook.web.binance.params import Params
from raftbook.web.binance.written import Written, encode
from raftbook.web.context import WebContext
from raftbook.web.marks import SHOWN_INDEX

Made = TypeVar("Made")

MINUTE_NS: Final = 60_000_000_000
ADDRESSES_MAX: Final = 10_000
"""Addresses whose weight is counted apart in one minute; all others share one count."""

HALF_WRITTEN_MAX: Final = 8
"""Long answers of all clients under way at once; each may be a megabyte."""


class Security(IntEnum):
    """What a call must prove."""

    NONE = 0
    KEY = 1
    """It names an API key; the name of an account must be signed for where it has a secret."""
    SIGNED = 2


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation.

    Attributes:
        caller: the account that signed it, or whose key it names; None where none is asked for.
        asker: the connection that it came over.
    """

    door: Door
    params: Params
    caller: Account | None
    asker: Asker

    @property
    def account(self) -> Account:
        """The caller of an operation that has one."""
        assert self.caller is not None, "an operation for accounts was called by nobody"
        return self.caller

    async def make(self, piece: Callable[[Call], Made]) -> Made:
        """Make a piece of the answer in its turn, of what is then: `piece` is given this call as
        it is then.

        Raises:
            Fault: what is then is too old to be shown, or the caller is gone.
        """
        return await self.asker.make(lambda: piece(self.door.look_again(self)))


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked for.

    Attributes:
        act: gives what is written as JSON.
        is_read: it shows the market or an account, and so must not be stale.
    """

    act: Callable[[Call], Awaitable[Any]]
    security: Security = Security.NONE
    weight: int = 1
    is_read: bool = True


def in_turn(show: Callable[[Call], Any]) -> Callable[[Call], Awaitable[Written]]:
    """What an operation does that only reads, and perhaps much: it is written in its turn, as of
    then."""

    async def act(call: Call) -> Written:
        return await call.make(lambda now: Written(encode(show(now))))

    return act


def in_pieces(show: Callable[[Call], Awaitable[Any]]) -> Callable[[Call], Awaitable[Any]]:
    """What an operation does that writes a long answer piece by piece: not all that are asked for
    are begun at once, as what is half written is kept, and of one connection only one is."""

    async def act(call: Call) -> Any:
        async with call.asker.long_answer, call.door.half_written:
            return await show(call)

    return act


class Door:
    """What all calls at one node share."""

    def __init__(self, context: WebContext) -> None:
        self.context = context
        self.half_written = asyncio.Semaphore(HALF_WRITTEN_MAX)
        self.desk = Desk(context)
        self.markets = Markets(context.queries)
        self.listen_keys = ListenKeys(context.cluster_secret)
        self.tickers = Tickers()
        self.weights = Weights(context.config.bounds.http_weight_per_minute_max)

    @property
    def exchange(self) -> Exchange:
        """The live exchange."""
        return self.context.queries.exchange

    def now_ms(self) -> int:
        """The node's wall clock."""
        return self.context.wall_ns() // 1_000_000

    async def perform(
        self,
        operation: Operation,
        params: Params,
        *,
        asker: Asker,
        key: str | None,
        payload: Callable[[], bytes],
    ) -> Any:
        """Do what is asked for.

        Args:
            asker: the connection that it came over.
            key: as the client named it.
            payload: what it signed, asked for only if that matters.

        Raises:
            Fault: the answer is an error.
        """
        call = Call(self, params, self._caller(operation, params, key, payload), asker)
        if operation.is_read:
            if _wants_barrier(params):
                await self.desk.barrier()
            call = self.look_again(call)
            SHOWN_INDEX.set(self.context.replica.raft.applied_index)
        try:
            return await operation.act(call)
        except Ended:
            raise stopping() from None

    def look_again(self, call: Call) -> Call:
        """A call that waited, and reads what is now.

        Raises:
            Fault: this state is too old to be shown, or the caller is gone.
        """
        self.desk.check_age()
        if call.caller is None:
            return call
        caller = self.exchange.accounts.get(call.caller.name)
        if caller is None:
            raise bad_key()
        return call if caller is call.caller else replace(call, caller=caller)

    def _caller(
        self, operation: Operation, params: Params, key: str | None, payload: Callable[[], bytes]
    ) -> Account | None:
        """Who asks, proved as far as the operation needs it; None where anybody may ask."""
        exchange, secrets = self.exchange, self.context.secrets
        if operation.security == Security.SIGNED:
            return signer(exchange, secrets, key, params, payload(), self.now_ms())
        # A barrier is an entry in the log: strangers write none.
        if operation.security == Security.KEY or (operation.is_read and _wants_barrier(params)):
            return bearer(exchange, secrets, key, params, payload, self.now_ms())
        return None


def _wants_barrier(params: Params) -> bool:
    """Whether what is read must be as new as anything that was acknowledged before."""
    wish = params.values.get("consistency", "local")
    if wish not in ("local", "linearizable"):
        raise invalid("consistency")
    return wish == "linearizable"


class Weights:
    """How much each address has asked for in this minute of the node's clock."""

    def __init__(self, weight_max: int) -> None:
        self.weight_max = weight_max
        self._minute = -1
        self._used: dict[str, int] = {}

    def take(self, address: str, weight: int, now_ns: int) -> int:
        """Count a call; what the address has used of this minute.

        Raises:
            Fault: more than it may.
        """
        minute = now_ns // MINUTE_NS
        if minute != self._minute:
            self._minute = minute
            self._used.clear()
        used = self._used
        if address not in used and len(used) >= ADDRESSES_MAX:
            address = ""
        used[address] = total = used.get(address, 0) + weight
        if total > self.weight_max:
            raise crowded(
                f"Too much request weight used; current limit is {self.weight_max} request weight "
                "per 1 MINUTE. Please use WebSocket Streams for live updates to avoid polling "
                "the API.",
                retry_after_s=int(60 - now_ns % MINUTE_NS // 1_000_000_000),
            )
        return total

    def used(self, address: str) -> int:
        """What an address has used of this minute."""
        return self._used.get(address, 0)
