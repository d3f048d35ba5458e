"""Which pages of other origins may talk to this node: those that members of its cluster serve.

Owns the list and the headers (CORS). A page goes on at another node when its own is gone; any other
site that a trader has open may read nothing here and place no order, even where accounts have no
secret. A WebSocket asks nobody's leave, so one that a page of another site opens is refused.
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raftbook.web.context import WebContext

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_ALLOWED: Final = (
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE"),
    (b"access-control-allow-headers", b"x-mbx-apikey, content-type"),
    (b"access-control-max-age", b"600"),
)
_EXPOSED: Final = (
    b"access-control-expose-headers",
    b"x-raftbook-node, x-raftbook-leader, x-raftbook-term, x-raftbook-applied, x-raftbook-entry",
)


def member_origins(context: WebContext) -> set[str]:
    """The origins of all members' pages."""
    found: set[str] = set()
    for member in context.replica.raft.membership.members:
        if member.http_port:
            found |= origins_of(member.host, member.http_port)
    return found


def origins_of(host: str, port: int) -> set[str]:
    """What a page of this address may be called; what is this machine has three names."""
    host = f"[{host}]" if ":" in host else host
    hosts = _LOOPBACK if host in _LOOPBACK or host.startswith("127.") else (host,)
    return {f"http://{each}:{port}" for each in hosts}


class MemberOrigins:
    """Lets the pages of other members in, and pages of other sites not."""

    def __init__(self, app: ASGIApp, context: WebContext) -> None:
        self._app, self._context = app, context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        origin = _header(scope, b"origin")  # a bot sends none: every order of one comes by here
        if not origin or _is_own(origin, _header(scope, b"host")):
            await self._app(scope, receive, send)
            return
        is_member = origin in member_origins(self._context)
        if scope["type"] == "websocket":
            if is_member:
                await self._app(scope, receive, send)
            else:
                await receive()  # "websocket.connect"; a close before it is accepted is a 403
                await send({"type": "websocket.close", "code": 1008})
            return
        if not is_member:
            await self._app(scope, receive, send)  # the browser keeps the answer from the page
            return
        if scope["method"] == "OPTIONS":
            await _allow(origin, send)
            return
        await self._app(scope, receive, _telling(origin, send))


def _header(scope: Scope, wanted: bytes) -> str:
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value.decode("latin-1"))
    return ""


def _is_own(origin: str, host: str) -> bool:
    return origin in (f"http://{host}", f"https://{host}")


async def _allow(origin: str, send: Send) -> None:
    """Answer a browser that asks before it sends what needs asking."""
    headers = [(b"access-control-allow-origin", origin.encode()), (b"vary", b"origin"), *_ALLOWED]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _telling(origin: str, send: Send) -> Send:
    async def send_with_origin(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message.get("headers", ()),
                (b"access-control-allow-origin", origin.encode()),
                (b"vary", b"origin"),
                _EXPOSED,
            ]
        await send(message)

    return send_with_origin
