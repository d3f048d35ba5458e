"""`python -m benchmarks.rivals [NAME ...]`: JSON on stdout, a table on stderr.

Each round measures raftbook's cluster and every rival once, in turn, and ratios are taken within a
round: machines are noisy, and a figure of one hour says little about another. What is not installed
or does not run is named in the table, with what to do, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.rivals import books, etcd, nats, postgres, raftbook_cluster, stock_pysyncobj
from benchmarks.rivals.servers import Absent
from raftbook_cli.bench.figures import environment

Run = Callable[[float], dict[str, Any]]

SECONDS = 8.0
ROUNDS = 3

OURS: dict[str, Run] = {
    "raftbook": raftbook_cluster.run_batched,
    "raftbook-single": raftbook_cluster.run,
}
RIVALS: dict[str, Run] = {
    "stock_pysyncobj": stock_pysyncobj.run,
    "etcd": etcd.run,
    "etcd-batch": etcd.run_batched,
    "nats": nats.run,
    "nats-batch": nats.run_batched,
    "nats-synced": nats.run_synced,
    "postgres": postgres.run,
    "postgres-batch": postgres.run_batched,
}
BOOKS = "books"


def main(arguments: Sequence[str]) -> int:
    """Measure the named rivals, all of them when none is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rivals", description=__doc__)
    known = [*RIVALS, BOOKS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in known]
    if unknown:
        parser.error(f"unknown rival {unknown[0]}; there are {', '.join(known)}")
    if given.seconds <= 0 or given.rounds < 1:
        parser.error("--seconds must be above 0, --rounds at least 1")
    names = given.names or known
    found: dict[str, Any] = {"environment": environment()}
    missing: dict[str, str] = {}
    stores = {name: RIVALS[name] for name in names if name in RIVALS}
    if stores:
        results, missing = measure({**OURS, **stores}, given.seconds, given.rounds)
        found |= {"rivals": summaries(results), "missing": missing}
        print(table(found["rivals"], missing), file=sys.stderr)
    if BOOKS in names:
        say("books ...")
        found[BOOKS] = books.run(given.seconds)
        missing |= found[BOOKS]["absent"]
        print(books_table(found[BOOKS]), file=sys.stderr)
    print(json.dumps(found, indent=2))
    return 1 if missing else 0


def measure(
    runs: Mapping[str, Run], seconds: float, rounds: int
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Every run once a round, in turn.

    Returns:
        What each found, round by round; and why some are missing, which are not tried again.
    """
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
    missing: dict[str, str] = {}
    for number in range(1, rounds + 1):
        for name, run in runs.items():
            if name in missing:
                continue
            say(f"round {number} of {rounds}: {name} ...")
            try:
                results[name].append(run(seconds))
            except Absent as error:
                missing[name] = str(error)
            except Exception as error:  # whatever a client raises is told, and the others count
                missing[name] = f"failed: {type(error).__name__}: {error}"
    return {name: found for name, found in results.items() if name not in missing}, missing


def summaries(results: Mapping[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The median of each over the rounds, and how many times as fast ours was in each round."""
    told = {}
    for name, found in results.items():
        rates = [each["orders_per_s"] for each in found]
        told[name] = {
            "orders_per_s": round(statistics.median(rates)),
            "of_rounds": rates,
            "times": {
                ours: ratios([each["orders_per_s"] for each in results[ours]], rates)
                for ours in OURS
                if name not in OURS and ours in results
            },
            **{key: value for key, value in found[-1].items() if key != "orders_per_s"},
        }
    return told


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float] | None:
    """Median, least and most of ours to theirs, round by round; None if theirs ever was nothing."""
    if not all(theirs):
        return None
    each = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    found = {"median": statistics.median(each), "least": min(each), "most": max(each)}
    return {name: float(f"{ratio:.3g}") for name, ratio in found.items()}


def table(told: Mapping[str, dict[str, Any]], missing: Mapping[str, str]) -> str:
    """A line for each; the ratios are the median of the rounds and their range."""
    head = ("", "orders/s", "p50 ms", "p99 ms", "raftbook is ×", "-single is ×", "version")
    lines = [
        (
            name,
            f"{each['orders_per_s']:,}",
            str(each["latency_ms"]["p50"]),
            str(each["latency_ms"]["p99"]),
            *(_ratio_text(each["times"].get(ours)) for ours in OURS),
            each["version"],
        )
        for name, each in told.items()
    ]
    return "\n".join([_columns([head, *lines]), *_missing_lines(missing)])


def books_table(found: Mapping[str, Any]) -> str:
    """A line for each book."""
    head = ("book", "messages/s", *(f"{ours} is ×" for ours in books.OURS), "same trades")
    lines = [
        (name, f"{rate['median']:,}", *_book_cells(found["books"].get(name)))
        for name, rate in found["messages_per_s"].items()
    ]
    return "\n".join([_columns([head, *lines]), *_missing_lines(found["absent"])])


def _book_cells(book: Mapping[str, Any] | None) -> tuple[str, ...]:
    if book is None:  # ours
        return ("",) * (len(books.OURS) + 1)
    agrees = "yes" if book["same_trades"] else "NO"
    return (*(f"{book['times'][ours]:.2f}" for ours in books.OURS), agrees)


def _ratio_text(ratio: Mapping[str, float] | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio['median']} ({ratio['least']}–{ratio['most']})"


def _missing_lines(missing: Mapping[str, str]) -> list[str]:
    return [f"{name}: not measured: {why}" for name, why in missing.items()]


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            # Names and texts to the left, figures to the right.
            cell.ljust(width) if column in (0, len(widths) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def say(line: str) -> None:
    """Progress, beside the figures."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
