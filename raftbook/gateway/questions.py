"""What one client asks and listens to: its queries and its subscriptions.

Owns how many of them there may be, what they wait for, and that none is looked at before its turn
(`pace.py`), nor before the client has read what it got. What they answer is `queries.py`'s and
`subscriptions.py`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from raftbook.core.accounts import Account
from raftbook.core.types import Reject
from raftbook.gateway.caller import Caller
from raftbook.gateway.outbox import Outbox, nobody
from raftbook.gateway.queries import (
    ABOUT_THE_NODE,
    INDEX_MAX,
    Arguments,
    QueryError,
    natural,
)
from raftbook.gateway.subscriptions import Subscription, make_subscription
from raftbook.replica.machine import Applied
from raftbook.wire.client_messages import PUSH, RESULT
from raftbook.wire.framing import frame
from raftbook.wire.packing import pack, pack_array

if TYPE_CHECKING:
    from raftbook.gateway.native import ClientServer

_log = logging.getLogger(__name__)

SUBSCRIPTIONS_MAX: Final = 64
"""Subscriptions of one connection."""
QUERIES_MAX: Final = 256
"""Queries of one connection that wait for their answer."""
WAIT_MS_MAX: Final = 600_000
"""Longest time a `digest` query may wait for its index."""
_AWAITED: Final = frozenset(("at_least", "linearizable"))
"""Arguments for which this node may have to come further first."""

_Question = tuple[int, str, Arguments, str | None]
"""(ref, name, arguments, account of the login that came before it)"""


class Questions:
    """The questions of one connection.

    Attributes:
        subscriptions: what it listens to, by number.
    """

    def __init__(self, server: ClientServer, caller: Caller, outbox: Outbox) -> None:
        self.subscriptions: dict[int, Subscription] = {}
        self._server, self._caller, self._outbox = server, caller, outbox
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready: deque[_Question] = deque()  # wait for nothing but their turn
        self._last_subscription = 0
        outbox.on_room = self._go_on

    def give_up(self) -> None:
        """Nobody waits for an answer any more."""
        for task in self._tasks:
            task.cancel()
        self._ready.clear()
        self._server.pace.forget(self)
        self._outbox.on_room = nobody  # it holds this object: without it both go at once

    def _account(self, name: str | None) -> Account | None:
        return None if name is None else self._server.queries.exchange.accounts.get(name)

    # -- QUERY --------------------------------------------------------------------------------

    def on_query(self, ref: int, name: str, arguments: Arguments) -> None:
        """Answer a question, in its turn or when this node has come far enough."""
        if len(self._tasks) + len(self._ready) >= QUERIES_MAX:
            message = f"at most {QUERIES_MAX} queries at once"
            self._outbox.fail(ref, Reject.OVERLOADED, message)
            return
        question = (ref, name, arguments, self._caller.account_name)
        if name in self._server.admin:
            self._begin(self._act(question))
        elif name == "digest" or not _AWAITED.isdisjoint(arguments):
            self._begin(self._prepare(question))
        else:
            self._line_up(question)

    def hand_on(self) -> bool:
        """Answer the next question, if the client reads; whether there is another one."""
        if self._ready and self._outbox.has_room():
            self._answer(self._ready.popleft())
        return bool(self._ready) and self._outbox.has_room()

    def _line_up(self, question: _Question) -> None:
        self._ready.append(question)
        self._go_on()

    def _go_on(self) -> None:
        if self._ready and self._outbox.has_room():
            self._server.pace.want(self)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _act(self, question: _Question) -> None:
        with self._failing(question):
            self._outbox.send(RESULT, question[0], await self._administer(question))

    async def _prepare(self, question: _Question) -> None:
        with self._failing(question):
            await self._reach(question)
            self._line_up(question)

    def _answer(self, question: _Question) -> None:
        ref, name, arguments, account_name = question
        with self._failing(question):
            self._check_current(name, arguments)
            value = self._server.queries.answer(name, arguments, self._account(account_name))
            self._outbox.send(RESULT, ref, value)

    @contextmanager
    def _failing(self, question: _Question) -> Iterator[None]:
        """Whatever goes wrong with a question is its answer."""
        ref, name, *_ = question
        try:
            yield
        except QueryError as error:
            self._outbox.fail(ref, error.code, error.message)
        except Exception:
            _log.exception("client %s: query %s failed", self._caller.address, name)
            self._outbox.fail(ref, Reject.NOT_READY, "this node cannot answer that; see its log")

    async def _administer(self, question: _Question) -> Any:
        _, name, arguments, account_name = question
        account = self._account(account_name)
        if account is None or not account.is_operator:
            raise QueryError(Reject.NOT_AUTHORIZED, f"{name!r} needs the login of an operator")
        return await self._server.admin[name](arguments)

    async def _reach(self, question: _Question) -> None:
        """Wait until the local state is as new as the question asks."""
        _, name, arguments, account_name = question
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._server.bounds.deadline_s
        index = natural(arguments, "at_least", 0, high=INDEX_MAX)
        if name == "digest":
            index = natural(arguments, "index", index, high=INDEX_MAX)
            deadline = loop.time() + natural(arguments, "wait_ms", 1_000, high=WAIT_MS_MAX) / 1_000
        if arguments.get("linearizable"):
            if account_name is None:  # a barrier is an entry in the log
                raise QueryError(Reject.NOT_AUTHORIZED, "linearizable reads need a login")
            await self._server.barrier()
        is_anonymous = account_name is None
        if not await self._server.wait_applied(index, deadline, is_anonymous=is_anonymous):
            applied = self._server.replica.raft.applied_index
            message = f"this node has applied {applied}, not yet {index}; ask again"
            raise QueryError(Reject.TOO_STALE, message)

    def _check_current(self, name: str, arguments: Arguments) -> None:
        """Refuse what this node cannot vouch for at the moment of the answer, however long ago it
        had come far enough: a slow reader lets it wait.
        """
        if arguments.get("linearizable"):
            self._check_takes_part()
        self._check_age(name, arguments)

    def _check_takes_part(self) -> None:
        replica = self._server.replica
        if replica.fence is not None:
            message = f"node {replica.node_id} is fenced: {replica.fenced}; ask another"
            raise QueryError(Reject.TOO_STALE, message)

    def _check_age(self, name: str, arguments: Arguments) -> None:
        """Refuse to show a market that this node has had no word of for long."""
        default_ms = round(self._server.bounds.read_age_max_s * 1_000)
        age_max_ms = natural(arguments, "max_age_ms", default_ms, high=INDEX_MAX)
        age_ms = self._server.replica.age_ms()
        if age_ms > age_max_ms and name not in ABOUT_THE_NODE:
            replica = self._server.replica
            message = replica.last_word()
            if replica.raft.membership.is_founded:
                message += f", more than {age_max_ms / 1_000:g} s; ask another, "
                message += "or take it as it is: max_age_ms"
            raise QueryError(Reject.TOO_STALE, message)

    # -- SUBSCRIBE ----------------------------------------------------------------------------

    def on_subscribe(self, ref: int, name: str, arguments: Arguments) -> None:
        """Begin a stream: what it begins with is made page by page, as it is read."""
        if len(self.subscriptions) >= SUBSCRIPTIONS_MAX:
            message = f"at most {SUBSCRIPTIONS_MAX} subscriptions"
            self._outbox.fail(ref, Reject.OVERLOADED, message)
            return
        server = self._server
        try:
            self._check_takes_part()
            subscription = make_subscription(
                name,
                arguments,
                self._account(self._caller.account_name),
                server.queries,
                server.feed,
                server.kept_from,
            )
        except QueryError as error:
            self._outbox.fail(ref, error.code, error.message)
            return
        self._last_subscription = number = self._last_subscription + 1
        self.subscriptions[number] = subscription
        self._outbox.send(RESULT, ref, {"subscription": number, **subscription.result})
        self._outbox.put_pages(_pushes(number, subscription.first()), is_paced=True)

    def check_streams(self) -> None:
        """Refuse to be whom a client waits for in vain, when another node may know more.

        To begin a stream is allowed all the same: while nobody leads, no node is any newer, and who
        listens must not be turned away by all of them.

        Raises:
            QueryError: this node is fenced, or has had no word of a market for long.
        """
        self._check_takes_part()
        self._check_age("streams", {})

    def publish(self, applied: Applied) -> None:
        """Push what an applied entry means for this client's subscriptions."""
        for number, subscription in self.subscriptions.items():
            values = subscription.next(applied)
            if isinstance(values, list):
                for value in values:
                    self._outbox.put(_push(number, value))
            else:
                self._outbox.put_pages(_pushes(number, values), is_paced=True)


def _pushes(number: int, values: Iterable[bytes]) -> Iterator[bytes]:
    return (_push(number, value) for value in values)


def _push(number: int, packed: bytes) -> bytes:
    """The frame of a PUSH whose value is packed already."""
    return frame(pack_array((pack(PUSH), pack(number), packed)))
