"""The rules that hold the tree together, read off the syntax tree of every file.

Owns: imports point down only, what the core may use, what nobody may use. Runs nothing of ours.
`rule_breaks` is tested too, on sources that break each rule: a checker that cannot fail proves
nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Which units of raftbook a unit may import besides itself. Rows of the layer drawing, bottom up;
# two units of one row never import each other. `config` stands for all of CONFIG_FILES.
BESIDE_CORE = {"errors", "config"}
BELOW = {
    "__init__": set(),
    "errors": set(),
    "config": {"errors"},
    "core": set(),
    "genesis": {"core", *BESIDE_CORE},
    "secret": {"storage", *BESIDE_CORE},
    "node_log": set(),
    "node_memory": set(),
    "node_settings": {"replica", "gateway", *BESIDE_CORE},
    "node_join": {"replica", "secret", "storage", "wire", *BESIDE_CORE},
    "node_members": {"core", "replica", "gateway", *BESIDE_CORE},
    "wire": {"core", *BESIDE_CORE},
    "storage": {"core", *BESIDE_CORE},
    "feed": {"core", "storage", "wire", *BESIDE_CORE},
    "replica": {"core", "storage", "wire", *BESIDE_CORE},
    "client": {"core", "wire", "errors"},
    "gateway": {"core", "storage", "wire", "feed", "replica", *BESIDE_CORE},
    "ops": {"core", "storage", "wire", "feed", "replica", *BESIDE_CORE},
    "web": {"core", "wire", "feed", "replica", "gateway", "ops", *BESIDE_CORE},
    "node_peers": {"client", "errors"},
    "node_web": {"gateway", "web", "node_peers", *BESIDE_CORE},
}
EVERYTHING = {*BELOW, "node"}  # what node.py and the command line may import
CONFIG_FILES = {
    "config",
    "config_limits",
    "config_market",
    "config_shapes",
    "config_template",
    "strict_toml",
}

# No clock, random, file, socket or thread: the core is a function of its input.
CORE_MAY_IMPORT = {
    "__future__",
    "abc",
    "array",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "operator",
    "sortedcontainers",
    "struct",
    "sys",  # for sys.byteorder only, which is checked
    "types",
    "typing",
}
# wire is sans-I/O and feed is pure: they return, and log nothing.
SANS_IO_MAY_NOT_IMPORT = {"asyncio", "logging", "select", "selectors", "socket", "threading"}
NOBODY_MAY_IMPORT = {"pickle", "marshal", "shelve"}

# Calls that hand on the order of their argument; over a set that order depends on the hash seed.
ORDER_KEEPING_CALLS = {"list", "tuple", "iter", "next", "enumerate", "zip", "map", "filter"}


def rule_breaks(source: str, path: str) -> list[str]:
    """What a file breaks, as `line: what`.

    Args:
        path: where it stands below the root, such as "raftbook/core/book.py".
    """
    parts = Path(path).with_suffix("").parts
    tree = ast.parse(source)
    breaks = [*_general_breaks(tree), *_import_breaks(tree, parts)]
    if parts[:2] == ("raftbook", "core"):
        breaks += _core_breaks(tree)
    return [f"{line}: {what}" for line, what in sorted(breaks)]


def _unit(name: str) -> str:
    return "config" if name in CONFIG_FILES else name


def _imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, int, str]]:
    """Every (line, level, absolute dotted name) imported, wherever it stands in the file.

    `from raftbook import errors` may name a module, so it is given as "raftbook.errors".
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, 0, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            if module and module != ["raftbook"]:
                yield node.lineno, node.level, ".".join(module)
            else:
                for alias in node.names:
                    yield node.lineno, node.level, ".".join([*module, alias.name])


def _import_breaks(tree: ast.AST, parts: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    for line, level, name in _imports(tree, parts[:-1]):
        top = name.partition(".")[0]
        if top in NOBODY_MAY_IMPORT:
            yield line, f"nobody imports {top}"
        if top == "pysyncobj" and parts[:2] != ("raftbook", "replica"):
            yield line, "only raftbook/replica imports pysyncobj"
        if parts[0] == "cli":
            yield from _cli_import_breaks(line, level, name, parts)
        else:
            yield from _layer_breaks(line, name, parts)


def _cli_import_breaks(
    line: int, level: int, name: str, parts: tuple[str, ...]
) -> Iterator[tuple[int, str]]:
    """The folder ships under another name, so only a relative import finds it in both places."""
    if level > len(parts) - 1:
        yield line, "a relative import leaves cli"
    elif level == 0 and name.partition(".")[0] in {"cli", "raftbook_cli"}:
        yield line, f"cli imports itself as {name}, not relatively"


def _layer_breaks(line: int, name: str, parts: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    unit = _unit(parts[1])
    if unit not in EVERYTHING:
        yield line, f"raftbook/{parts[1]} has no layer: give it one in BELOW"
        return
    top, _, rest = name.partition(".")
    if top in {"cli", "raftbook_cli"}:
        yield line, f"{unit} imports the command line"
    elif top == "raftbook":
        imported = _unit(rest.partition(".")[0])
        allowed = EVERYTHING if unit == "node" else {unit, *BELOW[unit]}
        # The package itself holds the version, which anybody but the core may show.
        is_version = imported in {"", "__version__"} and unit != "core"
        if not is_version and imported not in allowed:
            yield line, f"{unit} may not import {name}"
    elif unit == "core" and name not in CORE_MAY_IMPORT:
        yield line, f"core may not import {name}"
    elif unit in {"wire", "feed"} and top in SANS_IO_MAY_NOT_IMPORT:
        yield line, f"{unit} may not import {name}"


def _general_breaks(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "bare except"
        elif isinstance(node, ast.Call) and _called(node) == "__import__":
            yield node.lineno, "__import__ hides an import"


def _core_breaks(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex()):
                yield node.lineno, f"float literal {node.value}"
            case ast.Call() if _called(node) in {"hash", "id", "float"}:
                yield node.lineno, f"core calls {_called(node)}()"
            case ast.Attribute(value=ast.Name(id="sys"), attr=attribute) if (
                attribute != "byteorder"
            ):
                yield node.lineno, f"core uses sys.{attribute}"
            case ast.ImportFrom(module="sys", names=names):
                for alias in names:
                    if alias.name != "byteorder":
                        yield node.lineno, f"core uses sys.{alias.name}"
            case ast.ClassDef(name=name) if {"__len__"} == _methods(node) & {"__len__", "__bool__"}:
                yield node.lineno, f"{name} has a length: compiled, it needs __bool__ too"
            case ast.For(iter=iterated) | ast.comprehension(iter=iterated) if _is_set(iterated):
                yield iterated.lineno, "iteration over a set"
            case ast.Starred(value=starred) if _is_set(starred):
                yield starred.lineno, "iteration over a set"
            case ast.Call(args=arguments) if _called(node) in ORDER_KEEPING_CALLS:
                if any(_is_set(argument) for argument in arguments):
                    yield node.lineno, "iteration over a set"


def _methods(node: ast.ClassDef) -> set[str]:
    return {each.name for each in node.body if isinstance(each, ast.FunctionDef)}


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _is_set(node: ast.expr) -> bool:
    """A set that can be seen to be one: a literal, a comprehension, set(...), frozenset(...)."""
    if isinstance(node, ast.Call):
        return _called(node) in {"set", "frozenset"}
    return isinstance(node, ast.Set | ast.SetComp)


def source_files() -> list[Path]:
    return sorted([*ROOT.glob("raftbook/**/*.py"), *ROOT.glob("cli/**/*.py")])


def test_the_tree_is_found() -> None:
    assert ROOT / "raftbook" / "errors.py" in source_files()


@pytest.mark.parametrize("file", source_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_file_keeps_every_rule(file: Path) -> None:
    path = file.relative_to(ROOT).as_posix()
    assert rule_breaks(file.read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        # Imports point down only.
        ("raftbook/core/book.py", "import raftbook.wire.entry", "core may not import {}"),
        (
            "raftbook/core/book.py",
            "from raftbook.errors import NotAccepted",
            "core may not import {}",
        ),
        ("raftbook/core/book.py", "from raftbook import wire", "core may not import {}"),
        ("raftbook/core/book.py", "from raftbook import __version__", "core may not import {}"),
        ("raftbook/core/book.py", "from ..wire import entry", "core may not import {}"),
        ("raftbook/core/book.py", "from .. import wire", "core may not import {}"),
        ("raftbook/errors.py", "import raftbook.core", "errors may not import {}"),
        ("raftbook/config.py", "from raftbook.core import types", "config may not import {}"),
        ("raftbook/config_shapes.py", "import raftbook.core", "config may not import {}"),
        ("raftbook/wire/entry.py", "import raftbook.storage.journal", "wire may not import {}"),
        ("raftbook/storage/journal.py", "import raftbook.wire", "storage may not import {}"),
        ("raftbook/replica/driver.py", "import raftbook.feed.depth", "replica may not import {}"),
        ("raftbook/replica/driver.py", "import raftbook.node", "replica may not import {}"),
        ("raftbook/client/aio.py", "import raftbook.config", "client may not import {}"),
        ("raftbook/client/aio.py", "import raftbook.replica", "client may not import {}"),
        ("raftbook/gateway/http.py", "import raftbook.client", "gateway may not import {}"),
        ("raftbook/gateway/http.py", "import raftbook.ops", "gateway may not import {}"),
        ("raftbook/ops/metrics.py", "import raftbook.gateway", "ops may not import {}"),
        ("raftbook/client/aio.py", "import raftbook.gateway", "client may not import {}"),
        ("raftbook/__init__.py", "import raftbook.client", "__init__ may not import {}"),
        ("raftbook/node.py", "import raftbook_cli", "node imports the command line"),
        ("raftbook/node.py", "import cli.main", "node imports the command line"),
        ("raftbook/misc.py", "import os", "raftbook/misc has no layer: give it one in BELOW"),
        # The core is pure.
        *[
            ("raftbook/core/book.py", f"import {module}", f"core may not import {module}")
            for module in ("os", "io", "time", "random", "socket", "asyncio", "threading")
        ],
        ("raftbook/core/book.py", "import logging", "core may not import logging"),
        ("raftbook/core/book.py", "import json", "core may not import json"),
        ("raftbook/core/book.py", "import datetime", "core may not import datetime"),
        ("raftbook/core/book.py", "def f():\n import time", "core may not import time"),
        ("raftbook/core/book.py", "import sys\nsys.path", "core uses sys.path"),
        ("raftbook/core/book.py", "from sys import argv", "core uses sys.argv"),
        ("raftbook/core/book.py", "half = 0.5", "float literal 0.5"),
        ("raftbook/core/book.py", "float('1')", "core calls float()"),
        ("raftbook/core/book.py", "hash(order)", "core calls hash()"),
        ("raftbook/core/book.py", "id(order)", "core calls id()"),
        ("raftbook/core/book.py", "for x in {1, 2}: pass", "iteration over a set"),
        ("raftbook/core/book.py", "[x for x in set(orders)]", "iteration over a set"),
        ("raftbook/core/book.py", "list({x for x in orders})", "iteration over a set"),
        ("raftbook/core/book.py", "[*frozenset(orders)]", "iteration over a set"),
        (
            "raftbook/core/book.py",
            "class Stops:\n def __len__(self): return 0",
            "Stops has a length: compiled, it needs __bool__ too",
        ),
        # The rest.
        ("raftbook/wire/session.py", "import logging", "wire may not import logging"),
        ("raftbook/wire/session.py", "import asyncio", "wire may not import asyncio"),
        ("raftbook/feed/depth.py", "from logging import info", "feed may not import logging"),
        ("raftbook/node.py", "import pysyncobj", "only raftbook/replica imports pysyncobj"),
        ("cli/main.py", "from pysyncobj import S", "only raftbook/replica imports pysyncobj"),
        ("raftbook/replica/seams.py", "import pickle", "nobody imports pickle"),
        ("raftbook/storage/journal.py", "from marshal import loads", "nobody imports marshal"),
        ("cli/main.py", "import shelve", "nobody imports shelve"),
        (
            "cli/main.py",
            "from raftbook_cli import order",
            "cli imports itself as {}, not relatively",
        ),
        ("cli/main.py", "import cli.order", "cli imports itself as {}, not relatively"),
        ("cli/main.py", "from ..raftbook import node", "a relative import leaves cli"),
        ("cli/main.py", "try: pass\nexcept: pass", "bare except"),
        ("raftbook/node.py", "__import__('pickle')", "__import__ hides an import"),
    ],
)
def test_checker_sees_the_break(path: str, source: str, expected: str) -> None:
    (only,) = rule_breaks(source, path)
    what = only.partition(": ")[2]
    assert what == expected or ("{}" in expected and _same_around_name(what, expected))


def _same_around_name(what: str, expected: str) -> bool:
    before, _, after = expected.partition("{}")
    return what.startswith(before) and what.endswith(after)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("raftbook/core/book.py", "from raftbook.core.ladder import Ladder"),
        ("raftbook/core/book.py", "from .ladder import Ladder"),
        ("raftbook/core/book.py", "from collections.abc import Iterator\nimport hashlib"),
        ("raftbook/core/book.py", "from sortedcontainers import SortedDict"),
        ("raftbook/core/book.py", "import sys\nsys.byteorder"),
        ("raftbook/core/book.py", "x in {1, 2}\nsorted({2, 1})\n7 // 2"),
        ("raftbook/config.py", "from raftbook.errors import ConfigError"),
        ("raftbook/config.py", "from raftbook.strict_toml import Table"),
        ("raftbook/client/aio.py", "import asyncio, logging\nfrom raftbook.wire import entry"),
        ("raftbook/client/aio.py", "from raftbook import __version__, errors"),
        ("raftbook/replica/seams.py", "import pysyncobj.syncobj"),
        ("raftbook/gateway/http.py", "from raftbook.feed.depth import Depth"),
        ("raftbook/node.py", "from raftbook import gateway, ops, replica"),
        ("cli/main.py", "import raftbook.node\nfrom . import order\nfrom .order import buy"),
        ("cli/commands/order.py", "from ..main import main"),
    ],
)
def test_checker_lets_the_rule_keeper_pass(path: str, source: str) -> None:
    assert rule_breaks(source, path) == []
