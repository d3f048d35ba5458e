"""All of this door in one list of routes.

Owns what the parts share: one `Door` for all of them.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from raftbook.web.binance import rest, streams, ws_api
from raftbook.web.binance.door import Door
from raftbook.web.context import WebContext


def routes(context: WebContext) -> list[BaseRoute]:
    """REST, ws-api and streams."""
    door = Door(context)
    return [*rest.routes(door), *ws_api.routes(door), *streams.routes(door)]
