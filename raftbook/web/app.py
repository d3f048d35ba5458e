"""The application behind the HTTP port: the parts, and what is said with every answer.

Owns which parts there are and the headers of each answer. A part exports a function that makes its
routes, and is named in PARTS; what it answers is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raftbook.replica.replica import Replica
from raftbook.web import cluster, health, live, market_view, page
from raftbook.web.binance import front
from raftbook.web.context import WebContext
from raftbook.web.headers import Direct, node_headers
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
    direct = {route.path.strip("/"): route.app for route in routes if isinstance(route, Direct)}
    app = NodeHeaders(Starlette(routes=routes), direct, context.replica)
    return MemberOrigins(app, context)


class NodeHeaders:
    """Says with every HTTP answer which node gave it, and how much that node knew."""

    def __init__(self, app: ASGIApp, direct: Mapping[str, ASGIApp], replica: Replica) -> None:
        self._app, self._direct, self._replica = app, direct, replica

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        app = self._direct.get(scope["path"].split("/", 2)[1] if "/" in scope["path"] else "")
        if app is not None:
            await app(scope, receive, send)
            return

        shown_index = self._replica.raft.applied_index

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = node_headers(self._replica, shown_index)
                message["headers"] = [*message.get("headers", ()), *told]
            await send(message)

        await self._app(scope, receive, send_with_headers)
