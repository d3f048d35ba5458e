"""The page as it is served: all of its files, from here alone, for this cluster's members alone."""

import re
from pathlib import Path

import pytest

from raftbook.web import origins
from tests.gateway.door import Door, at_the_door
from tests.web.asgi import app_of, call, get

PAGE = Path(__file__).parents[2] / "raftbook" / "web" / "page"
MEMBER = "http://127.0.0.1:8001"


def test_every_file_that_a_file_names_is_served(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        app = app_of(door, tmp_path)
        index = await get(app, "/")
        assert index.headers["content-type"] == "text/html; charset=utf-8"
        named = set(re.findall(r'(?:href|src)="page/([^"]+)"', index.body.decode()))
        assert "main.js" in named
        for file in PAGE.glob("*.js"):
            named |= set(re.findall(r'from "\./([^"]+)"', file.read_text()))
        for name in sorted(named):
            assert (await get(app, f"/page/{name}")).status == 200, name
        assert {path.name for path in PAGE.glob("*.*s*") if path.suffix != ".py"} <= named | {
            "index.html"
        }

    at_the_door(tmp_path, scene)


def test_nothing_else_is_served(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        app = app_of(door, tmp_path)
        for path in ("/page/__init__.py", "/page/../app.py", "/page/%2e%2e/app.py", "/page/"):
            assert (await get(app, path)).status == 404, path

    at_the_door(tmp_path, scene)


def test_an_unchanged_file_is_not_sent_again(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        app = app_of(door, tmp_path)
        first = await get(app, "/page/main.js")
        again = await call(
            app, "GET", "/page/main.js", headers={"if-none-match": first.headers["etag"]}
        )
        assert (again.status, again.body) == (304, b"")

    at_the_door(tmp_path, scene)


def test_no_file_names_another_host() -> None:
    for file in PAGE.iterdir():
        if file.suffix in (".html", ".css", ".js"):
            text = file.read_text()
            assert not re.search(r"(?:src|href|import|url)\W+https?://", text), file.name


def _luminance(colour: str) -> float:
    """WCAG 2: relative luminance."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_can_be_read_in_both_themes() -> None:
    text = (PAGE / "page.css").read_text()
    themes = [block for block in re.findall(r"\{([^{}]*)\}", text) if "--ground:" in block]
    assert len(themes) == 3
    assert themes[1].split() == themes[2].split(), "light is light, whoever chose it"
    for block in themes:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block.replace("#fff;", "#ffffff;")))
        for name in ("text", "dim", "faint", "buy", "sell", "accent", "warn"):
            for ground in ("panel", "raised"):
                pair = sorted((_luminance(colours[name]), _luminance(colours[ground])))
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (name, ground, block)


def test_the_policy_knows_this_node_and_the_members_only(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        policy = (await get(app_of(door, tmp_path), "/")).headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; connect-src 'self' ")
        assert "unsafe" not in policy
        assert "*" not in policy

    at_the_door(tmp_path, scene)


def test_this_machine_has_three_names() -> None:
    assert origins.origins_of("127.0.0.1", 8001) == {
        "http://127.0.0.1:8001",
        "http://localhost:8001",
        "http://[::1]:8001",
    }
    assert origins.origins_of("10.0.0.7", 8001) == {"http://10.0.0.7:8001"}
    assert origins.origins_of("fd00::1", 8001) == {"http://[fd00::1]:8001"}


def test_pages_of_members_may_talk_to_this_node_and_others_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origins, "member_origins", lambda context: {MEMBER})

    async def scene(door: Door) -> None:
        app = app_of(door, tmp_path)
        member = {"origin": MEMBER, "host": "127.0.0.1:8002"}
        answer = await call(app, "GET", "/v1/cluster", headers=member)
        assert answer.headers["access-control-allow-origin"] == MEMBER
        asked = await call(app, "OPTIONS", "/api/v3/order", headers=member)
        assert asked.status == 204
        assert "x-mbx-apikey" in asked.headers["access-control-allow-headers"]
        stranger = {"origin": "http://elsewhere.example", "host": "127.0.0.1:8002"}
        for method, path in (("GET", "/v1/cluster"), ("OPTIONS", "/api/v3/order")):
            answer = await call(app, method, path, headers=stranger)
            assert "access-control-allow-origin" not in answer.headers

    at_the_door(tmp_path, scene)
