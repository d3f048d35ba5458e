"""pyproject.toml says each thing once, except where two standards need it twice."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_extra_and_group_dev_are_equal() -> None:
    extra = PYPROJECT["project"]["optional-dependencies"]["dev"]
    assert PYPROJECT["dependency-groups"]["dev"] == extra


def test_development_has_what_the_other_extras_have() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert set(extras["gateway"]) | set(extras["clients"]) <= set(extras["dev"])


def test_development_has_what_the_terminal_screen_needs() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert set(extras["top"]) <= set(extras["dev"])


def test_every_file_of_the_page_is_in_the_package() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["raftbook.web.page"]
    folder = ROOT / "raftbook" / "web" / "page"
    shipped = {path for pattern in patterns for path in folder.glob(pattern)}
    there = {path for path in folder.iterdir() if path.is_file() and path.suffix != ".py"}
    assert shipped == there


def test_version_is_only_in_the_package() -> None:
    assert "version" not in PYPROJECT["project"]
    assert PYPROJECT["project"]["dynamic"] == ["version"]
