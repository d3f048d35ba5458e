"""`/healthz`, `/readyz` and `/metrics`: a node as its operator's machines see it.

Owns the three answers. /healthz says that the loop turns: to be answered is the proof, and a fenced
node is alive, since it can be read. /readyz says whether it should be sent work, and why not. What
is measured is `ops`'s.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from raftbook.ops.loop_lag import LoopLag
from raftbook.ops.metrics import Sources, make_registry
from raftbook.ops.readiness import obstacles
from raftbook.ops.tally import Tally
from raftbook.web.asking import answer_in_turn
from raftbook.web.context import WebContext

_NO_STORE = {"cache-control": "no-store"}


def routes(context: WebContext) -> list[BaseRoute]:
    """Begins to count on this node, and gives the routes."""
    replica = context.replica
    age_max_s = context.config.timings.read_age_max_ms / 1_000
    tally, loop_lag = Tally(), LoopLag()
    replica.on_applied.append(tally.add)
    loop_lag.start()
    context.on_close.append(loop_lag.stop)
    registry = make_registry(
        Sources(
            replica,
            tally,
            loop_lag,
            describe=context.describe,
            connections=lambda: {
                "client": len(context.clients.connections),
                "http": context.http_connections(),
            },
            age_max_s=age_max_s,
        )
    )

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n", headers=_NO_STORE)

    async def readyz(request: Request) -> Response:
        found = obstacles(replica, age_max_s=age_max_s)
        document = {
            "schema": "raftbook/v1",
            "ready": not found,
            "node_id": replica.node_id,
            "reasons": [{"reason": each.name, "message": each.sentence} for each in found],
        }
        return JSONResponse(document, 503 if found else 200, headers=_NO_STORE)

    async def metrics(request: Request) -> Response:
        return await answer_in_turn(
            request,
            context.clients.pace,
            lambda: Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST),
        )

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]
