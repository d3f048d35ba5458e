"""Mutants of the core: `python -m tests.mutants`, or `make mutants`. Do the tests notice?

Draws a seeded sample of small changes (`cosmic-ray` makes them: another comparison, a number one
off, a negated condition, `and` for `or`, a loop that never runs), spread over the files of
`raftbook/core` by their length, puts one at a time into a copy of the checkout, and runs there the
tests that know the file best, until one fails. What no test notices is printed, and has its line in
`known.txt`, which says why it changes nothing that anybody can see; else the run fails. Not drawn
from: `invariants.py` and methods called `check`, which are themselves a test, annotations, and what
an assertion says.

Each mutant is a fork of one process that has loaded everything but the core. One at a time, and at
the lowest priority: it takes as long as it takes.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from tests.mutants.selected import LEFT_OUT, all_tests, tests_of

ROOT = Path(__file__).parents[2]
CORE = Path("raftbook") / "core"
WHOLE_TIMEOUT_S = 900
MEMORY_BYTES_MAX = 2 * 1024**3  # some mutants never stop growing
KNOWN = Path(__file__).parent / "known.txt"
OPERATORS = (
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Gt_GtE", "GtE_Gt", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_GtE", "LtE_Gt", "Gt_LtE", "GtE_Lt")),
    *(
        f"ReplaceBinaryOperator_{pair}"
        for pair in ("Add_Sub", "Sub_Add", "Mul_Add", "FloorDiv_Mul")
    ),
    *("ReplaceBinaryOperator_Mod_Add", "ReplaceUnaryOperator_Delete_USub"),
    *("ReplaceUnaryOperator_Delete_Not", "AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceBreakWithContinue"),
    *("ReplaceContinueWithBreak", "NumberReplacer", "ZeroIterationForLoop"),
)
"""Those whose mutants may go unnoticed: what would only raise a TypeError proves nothing."""


_PYTEST = (
    *("-x", "-q", "-p", "no:cacheprovider"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # its plugins are loaded before it is
)


class Mutant(NamedTuple):
    """One small change of one file."""

    file: str
    operator: str
    occurrence: int
    line: int
    before: str
    after: str

    def title(self) -> str:
        """What `known.txt` calls it, whatever line it stands in."""
        return f"{self.file}: {self.before} -> {self.after}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=320)
    parser.add_argument("--only", nargs="*", help="files of the core, such as walks.py")
    parser.add_argument("--since", metavar="COMMIT", help="only lines that changed since then")
    parser.add_argument("--begin", type=int, default=1, help="the first of the sample to be tried")
    parser.add_argument("--again", type=Path, help="only those that this log has as unnoticed")
    parser.add_argument("--timeout", type=float, default=60, help="seconds of one mutant")
    options = parser.parse_args()
    os.nice(19)
    sample = drawn(options.seed, options.count, options.only or (), options.since)
    sample = sample[options.begin - 1 :]
    if options.again:
        lines = [line for line in options.again.read_text().split("\n") if "/" in line]
        failed = [line for line in lines if " unnoticed " in line or " timed out " in line]
        sample = [each for each in sample if any(line.endswith(each.title()) for line in failed)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        place = Path(name) / "checkout"
        copy_checkout(place)
        os.chdir(place)
        sys.path.insert(0, str(place))
        warm_up()
        return judge(sample, options.timeout)


# -- drawing -------------------------------------------------------------------------------------


def drawn(seed: int, count: int, only: Collection[str], since: str | None) -> list[Mutant]:
    """The sample: from each file as many as its lines are of all lines, three at least."""
    chooser = random.Random(seed)
    files = [path for path in sorted((ROOT / CORE).glob("*.py")) if path.name not in LEFT_OUT]
    files = [path for path in files if not only or path.name in only]
    lines = {path: lines_of(path, since) for path in files}
    every = sum(map(len, lines.values()))
    sample: list[Mutant] = []
    for path in files:
        places = [place for place in places_of(path) if place[2] in lines[path]]
        share = max(3, -(-count * len(lines[path]) // every))
        chosen = chooser.sample(places, min(share, len(places)))
        sample += [made(path, place) for place in chosen]
    chooser.shuffle(sample)  # so that a run that is cut short has looked everywhere
    return sample


def lines_of(path: Path, since: str | None) -> Collection[int]:
    """The numbers of a file's lines that are drawn from: all, or what changed since a commit."""
    if since is None:
        return range(1, path.read_text().count("\n") + 1)
    diff = subprocess.run(
        ["git", "diff", "-U0", since, "--", path], cwd=ROOT, capture_output=True, check=True
    )
    hunks = re.findall(r"^@@ \S+ \+(\d+)(?:,(\d+))? @@", diff.stdout.decode(), re.MULTILINE)
    spans = [(int(first), int(count or 1)) for first, count in hunks]
    return {line for first, count in spans for line in range(first, first + count)}


def places_of(path: Path) -> list[tuple[str, int, int]]:
    """(operator, occurrence, line) of every change of one file that may be drawn."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator

    source = path.read_text()
    hidden = hidden_spans(ast.parse(source))
    places: list[tuple[str, int, int]] = []
    nodes = list(ast_nodes(get_ast(source)))
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        spans = [span for node in nodes for span in operator.mutation_positions(node)]
        for occurrence, (start, end) in enumerate(spans):
            if not any(first <= start and end <= last for first, last in hidden):
                places.append((name, occurrence, start[0]))
    return places


def made(path: Path, place: tuple[str, int, int]) -> Mutant:
    """The mutant of one place."""
    operator, occurrence, line = place
    source = path.read_text()
    before, after = changed_lines(source, mutated(source, operator, occurrence))
    return Mutant(path.name, operator, occurrence, line, before, after)


def mutated(source: str, operator: str, occurrence: int) -> str:
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    found = mutate_code(source, get_operator(f"core/{operator}")(), occurrence)
    assert found is not None, f"{operator} has no place {occurrence}"
    return str(found)


def hidden_spans(tree: ast.Module) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The spans that no mutant is drawn from: annotations, what assertions say, checks."""
    spans: list[ast.AST] = []
    for node in ast.walk(tree):
        annotation = getattr(node, "annotation", None)
        if isinstance(annotation, ast.AST):
            spans.append(annotation)
        elif isinstance(node, ast.FunctionDef):
            if node.returns is not None:
                spans.append(node.returns)
            if node.name == "check":
                spans.append(node)
        elif isinstance(node, ast.Assert) and node.msg is not None:
            spans.append(node.msg)
    return [
        ((span.lineno, span.col_offset), (span.end_lineno, span.end_col_offset))  # type: ignore[attr-defined]
        for span in spans
    ]


def changed_lines(source: str, mutated: str) -> tuple[str, str]:
    """The first line that differs, before and after."""
    pairs = zip(source.split("\n"), mutated.split("\n"), strict=False)
    return next((a.strip(), b.strip()) for a, b in pairs if a != b)


# -- judging -------------------------------------------------------------------------------------


def copy_checkout(place: Path) -> None:
    """What git knows of, as it stands now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)


def warm_up() -> None:
    """Load what is not the core, and see that the tests hold without a mutant."""
    import hypothesis.stateful  # noqa: F401
    import msgpack  # noqa: F401
    import pytest  # noqa: F401
    import sortedcontainers  # noqa: F401

    assert not any(name.partition(".")[0] == "raftbook" for name in sys.modules), "a core is loaded"
    began = time.monotonic()
    code = run_tests(all_tests(), WHOLE_TIMEOUT_S)
    assert code == 0, f"the tests fail without a mutant ({code})"
    print(f"the tests hold, {time.monotonic() - began:.1f} s", flush=True)


def judge(sample: list[Mutant], timeout_s: float) -> int:
    """Try each; 1 if one went unnoticed that is not known."""
    known = {line.rpartition("  # ")[0] for line in KNOWN.read_text().split("\n")}
    sys.dont_write_bytecode = True  # a mutant's would be taken for the file's
    noticed, unnoticed = 0, list[Mutant]()
    for number, mutant in enumerate(sample):
        path = CORE / mutant.file
        source = path.read_text()
        path.write_text(mutated(source, mutant.operator, mutant.occurrence))
        shutil.rmtree(CORE / "__pycache__", ignore_errors=True)
        began = time.monotonic()
        code = run_tests(tests_of(mutant.file), timeout_s)
        path.write_text(source)
        noticed += code != 0
        unnoticed += [mutant] if code == 0 else []
        what = "unnoticed" if code == 0 else "timed out" if code < 0 else "noticed"
        print(
            f"{number + 1}/{len(sample)} {what} {time.monotonic() - began:.1f} s "
            f"line {mutant.line} {mutant.title()}",
            flush=True,
        )
    new = [mutant for mutant in unnoticed if mutant.title() not in known]
    print(f"{noticed} of {len(sample)} noticed ({noticed / len(sample):.1%})")
    for mutant in unnoticed:
        print(f"unnoticed{'' if mutant in new else ', known'}: {mutant.line} {mutant.title()}")
    return 1 if new else 0


def run_tests(arguments: list[str], timeout_s: float) -> int:
    """The exit code of pytest in a fork, -1 when it had to be stopped."""
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        import pytest

        code = 3
        try:
            import raftbook

            assert Path(raftbook.__file__).is_relative_to(Path.cwd()), raftbook.__file__
            code = int(pytest.main([*_PYTEST, *arguments]))
        finally:
            os._exit(code)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -1


if __name__ == "__main__":
    sys.exit(main())
