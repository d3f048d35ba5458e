"""Where a demo's page is, and whether anybody would see a browser that it opens."""

from pathlib import Path

import pytest

from cli.demo_page import VISITOR, has_screen, page_url
from raftbook import node_web
from raftbook.config import NodeAddress, parse_config, render_config


def _config(http_port: int | None) -> str:
    return render_config(nodes=[NodeAddress(1, "127.0.0.1", 7001, 7101, http_port)])


def test_the_address_names_the_visitor() -> None:
    config = parse_config(_config(8001), Path("cluster.toml"))
    assert page_url(config, 1) == f"http://127.0.0.1:8001/#account={VISITOR}"


def test_without_a_port_or_a_package_there_is_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    assert page_url(parse_config(_config(None), Path("cluster.toml")), 1) is None
    monkeypatch.setattr(node_web, "NEEDED", ("no_such_package",))
    assert page_url(parse_config(_config(8001), Path("cluster.toml")), 1) is None


@pytest.mark.parametrize(
    ("environment", "is_seen"),
    [
        ({}, False),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"DISPLAY": ":0", "CI": "true"}, False),
        ({"DISPLAY": "localhost:10.0", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, False),
    ],
)
def test_a_browser_is_opened_where_it_is_seen(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], is_seen: bool
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "CI", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert has_screen() is is_seen
