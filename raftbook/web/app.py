"""The application behind the HTTP port: the parts, and what is said with every answer.

Owns which parts there are and the headers of each answer. A part exports a function that makes its
routes, and is named in PARTS; what it answers is its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raftbook.web import cluster, health, live, market_view, page
from raftbook.web.binance import front
from raftbook.web.context import WebContext
from raftbook.web.entry_mark import ENTRY_INDEX
from raftbook.web.origins import MemberOrigins

Part = Callable[[WebContext], list[BaseRoute]]

PARTS: Final[tuple[Part, ...]] = (
    front.routes,
    health.routes,
    cluster.routes,
    market_view.routes,
    live.routes,
    page.routes,
)
"""Asked in order: a route of an earlier part hides an equal one of a later part."""


def make_app(context: WebContext) -> ASGIApp:
    """The whole application of one node."""
    routes = [route for part in PARTS for route in part(context)]
    return MemberOrigins(NodeHeaders(Starlette(routes=routes), context), context)


class NodeHeaders:
    """Says with every HTTP answer which node gave it, and how much that node knew.

    X-Raftbook-Leader is empty while no leader is known. What took effect in the log says in which
    entry: X-Raftbook-Entry.
    """

    def __init__(self, app: ASGIApp, context: WebContext) -> None:
        self._app = app
        self._replica = context.replica
        self._node = (b"x-raftbook-node", str(context.replica.node_id).encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ENTRY_INDEX.set(0)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                raft = self._replica.raft
                message["headers"] = [
                    *message.get("headers", ()),
                    self._node,
                    (b"x-raftbook-leader", b"%d" % raft.leader_id if raft.leader_id else b""),
                    (b"x-raftbook-term", b"%d" % raft.term),
                    (b"x-raftbook-applied", b"%d" % raft.applied_index),
                ]
                entry_index = ENTRY_INDEX.get()
                if entry_index:
                    message["headers"].append((b"x-raftbook-entry", b"%d" % entry_index))
            await send(message)

        await self._app(scope, receive, send_with_headers)
