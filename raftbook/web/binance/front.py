"""All of this door in one list of routes.

Owns what the parts share: one `Door` for all of them.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from raftbook.web.binance import rest, streams, user_streams, ws_api
from raftbook.web.binance.door import Door
from raftbook.web.binance.stream_watch import StreamWatch
from raftbook.web.binance.user_hub import UserHub
from raftbook.web.context import WebContext


def routes(context: WebContext) -> list[BaseRoute]:
    """REST, ws-api and streams."""
    door = Door(context)
    watch = StreamWatch(context.replica, context.clients.bounds.read_age_max_s)
    users = UserHub(context.replica, door.markets, watch.begin)
    return [
        *rest.routes(door),
        *ws_api.routes(door, user_streams.methods(door, users, watch)),
        *streams.routes(door, users, watch),
    ]
