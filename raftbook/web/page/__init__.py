"""The page: `/` and the files under `/page/`, served by every node from the installed package.

Owns the files, which are read once and kept, and what a browser is told about them. Nothing is
fetched from elsewhere: the policy allows this node and the other members of the cluster, so that a
page may go on at another node when this one is gone.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from raftbook.web.context import WebContext
from raftbook.web.origins import member_origins

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_INDEX: Final = "index.html"


def routes(context: WebContext) -> list[BaseRoute]:
    """The page and its files."""
    kept = _read_files()

    async def index(request: Request) -> Response:
        answer = _answer(request, kept[_INDEX])
        answer.headers["content-security-policy"] = _policy(context)
        return answer

    async def file(request: Request) -> Response:
        found = kept.get(request.path_params["name"])
        return Response("no such file\n", 404) if found is None else _answer(request, found)

    return [Route("/", index), Route("/page/{name}", file)]


def _read_files() -> dict[str, tuple[bytes, str, str]]:
    """(content, type, tag) by name."""
    found = {}
    for each in files(__name__).iterdir():
        kind = _TYPES.get(each.name[each.name.rfind(".") :])
        if kind is not None:
            content = each.read_bytes()
            found[each.name] = (content, kind, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return found


def _answer(request: Request, file: tuple[bytes, str, str]) -> Response:
    content, kind, tag = file
    headers = {
        "etag": tag,
        "cache-control": "no-cache",  # asked each time, answered 304: an upgrade shows at once
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=kind)


def _policy(context: WebContext) -> str:
    # A policy knows no addresses in brackets; whoever looks at such a node is its own 'self'.
    origins = sorted(each for each in member_origins(context) if "[" not in each)
    sockets = [origin.replace("http", "ws", 1) for origin in origins]
    return "; ".join(
        (
            "default-src 'self'",
            f"connect-src 'self' {' '.join([*origins, *sockets])}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
