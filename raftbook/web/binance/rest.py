"""REST: one HTTP request, one operation.

Owns the way from bytes to parameters and from an answer to bytes. Written against ASGI itself, as
every order passes here: what a framework reads for comfort is read once or not at all.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from raftbook.web.asking import asker_of
from raftbook.web.binance.door import Door, Operation
from raftbook.web.binance.faults import Fault, stopping, unknown_outcome
from raftbook.web.binance.keys import signed_bytes
from raftbook.web.binance.operations import PATHS
from raftbook.web.binance.params import read_params
from raftbook.web.binance.written import encode
from raftbook.web.headers import Direct, node_headers
from raftbook.web.marks import ENTRY_INDEX, SHOWN_INDEX

_log = logging.getLogger("raftbook.web")

BODY_BYTES_MAX: Final = 16 << 10
"""A form: no operation has parameters of a tenth of it."""
_JSON: Final = (b"content-type", b"application/json;charset=UTF-8")


def routes(door: Door) -> list[BaseRoute]:
    """What REST answers to."""
    rest = Rest(door)
    return [Direct("/api", app=rest), Direct("/sapi", app=rest)]


class Rest:
    """The application behind /api and /sapi."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        address = scope["client"][0] if scope.get("client") else ""
        extra: list[tuple[bytes, bytes]] = []
        ENTRY_INDEX.set(0)
        SHOWN_INDEX.set(0)
        try:
            body = await self._answer(scope, receive, address)
            status = 200
        except Fault as fault:
            status, body = fault.status, encode(fault.document())
            extra = _when_refused(fault)
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            status, body = 500, encode({"code": -1000, "msg": "This node failed; see its log."})
        entry_index = ENTRY_INDEX.get()
        if entry_index:
            extra.append((b"x-raftbook-entry", b"%d" % entry_index))
        used = self._door.weights.used(address)
        text = body.encode()
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    _JSON,
                    (b"content-length", b"%d" % len(text)),
                    (b"x-mbx-used-weight-1m", b"%d" % used),
                    (b"x-mbx-used-weight", b"%d" % used),
                    *node_headers(self._door.context.replica, SHOWN_INDEX.get()),
                    *extra,
                ],
            }
        )
        await send({"type": "http.response.body", "body": text})

    async def _answer(self, scope: Scope, receive: Receive, address: str) -> str:
        operation = _operation(scope["path"], scope["method"])
        try:
            return await self._perform(operation, scope, receive, address)
        except asyncio.CancelledError:
            # The node stops, and waits for nobody any more; this answer is the end of the task.
            raise (stopping() if operation.is_read else unknown_outcome()) from None

    async def _perform(
        self, operation: Operation, scope: Scope, receive: Receive, address: str
    ) -> str:
        self._door.weights.take(address, operation.weight, self._door.context.wall_ns())
        key: str | None = None
        has_body = False
        for name, value in scope["headers"]:
            if name == b"x-mbx-apikey":
                key = value.decode("latin-1")
            elif name in (b"content-length", b"transfer-encoding"):
                has_body = value != b"0"
        body = await _body(receive) if has_body and scope["method"] != "GET" else b""
        query = scope["query_string"]
        params = read_params(query, body)
        result = await self._door.perform(
            operation,
            params,
            asker=asker_of(scope, self._door.context.clients.pace),
            key=key,
            payload=lambda: signed_bytes(query, body),
        )
        return encode(result)


def _when_refused(fault: Fault) -> list[tuple[bytes, bytes]]:
    return [(b"retry-after", b"%d" % fault.retry_after_s)] if fault.status == 429 else []


def _operation(path: str, method: str) -> Operation:
    methods = PATHS.get(path)
    if methods is None:
        raise Fault(404, -1000, "No such endpoint.")
    operation = methods.get(method)
    if operation is None:
        allowed = ", ".join(methods)
        raise Fault(405, -1000, f"This endpoint is for {allowed}.")
    return operation


async def _body(receive: Receive) -> bytes:
    """The whole body.

    Raises:
        Fault: it is too long, or the client went away.
    """
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Fault(400, -1000, "The request was not sent to its end.")
        piece = message.get("body", b"")
        size += len(piece)
        if size > BODY_BYTES_MAX:
            raise Fault(413, -1101, "Too many parameters sent for this endpoint.")
        pieces.append(piece)
        if not message.get("more_body"):
            return b"".join(pieces)
