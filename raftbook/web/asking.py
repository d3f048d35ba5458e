"""Who asks at the HTTP port: a connection, which has one turn however much it asks for.

Owns how an application finds it, and the answer to whoever waits for a turn when the node stops.
What has a turn is `gateway/pace.py`'s to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from raftbook.gateway.pace import Asker, Ended, Pace

EXTENSION: Final = "raftbook.asker"


def asker_of(scope: Scope, pace: Pace) -> Asker:
    """The connection of a scope; what came over none asks for itself."""
    asker: Asker | None = scope.get("extensions", {}).get(EXTENSION)
    return Asker(pace) if asker is None else asker


async def answer_in_turn(request: Request, pace: Pace, piece: Callable[[], Response]) -> Response:
    """The response that `piece` makes when it has its turn."""
    try:
        return await asker_of(request.scope, pace).make(piece)
    except Ended:
        message = "this node stops; ask another"
        document = {"schema": "raftbook/v1", "error": "stopping", "message": message}
        return JSONResponse(document, 503, headers={"cache-control": "no-store"})
