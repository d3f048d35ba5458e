"""The simulator's command line.

python -m tests.sim --seed 17 --nodes 5 --seconds 60 -v    one run, with its timeline
python -m tests.sim --seeds 0..999 --jobs 2 --json out.jsonl   many, a line for each, summed up
python -m tests.sim --sum out.jsonl more.jsonl             the sum over such files
python -m tests.sim --seed 17 --shrink                     the few faults that matter
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.sim.many import Plan, Row, Summary, run_many, sum_files
from tests.sim.shrink import shrink
from tests.sim.world import Outcome, run_seed


def main() -> int:
    """The exit code: 0 when everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__.split("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="one run")
    which.add_argument("--seeds", type=_seed_range, metavar="A..B", help="many runs, B included")
    which.add_argument("--sum", type=Path, nargs="+", metavar="FILE", help="sum up --json files")
    parser.add_argument("--nodes", type=int, choices=(3, 5, 7), help="otherwise the seed chooses")
    parser.add_argument("--seconds", type=float, default=60.0, help="virtual seconds of faults")
    parser.add_argument(
        "--members",
        action=argparse.BooleanOptionalAction,
        help="change the membership, or do not; otherwise the seed chooses",
    )
    parser.add_argument(
        "--mixed",
        action=argparse.BooleanOptionalAction,
        help="trade everything in every way, or plain orders; otherwise odd seeds do the former",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument(
        "--json",
        type=Path,
        help="write the result there; of many runs a line as each ends, after those that it holds",
    )
    parser.add_argument("--shrink", action="store_true", help="look for fewer faults that do it")
    parser.add_argument("-v", "--verbose", action="store_true", help="every line as it happens")
    options = parser.parse_args()
    if options.sum is not None:
        return _say_sum(sum_files(options.sum))
    if options.seeds is not None:
        return _many(options)
    return _shrink(options) if options.shrink else _one(options)


def _seed_range(text: str) -> range:
    first, _, last = text.partition("..")
    try:
        return range(int(first), int(last or first) + 1)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not A..B") from error


def _one(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    outcome = run_seed(
        options.seed,
        nodes=options.nodes,
        seconds=options.seconds,
        members=options.members,
        mixed=options.mixed,
        verbose=options.verbose,
    )
    real_s = time.perf_counter() - began
    if outcome.invariant and not options.verbose:
        print("\n".join(outcome.timeline))
    print(
        f"seed {outcome.seed}, {outcome.nodes} nodes: {outcome.seconds:.1f} virtual seconds in "
        f"{real_s:.2f} s, {outcome.orders} orders acknowledged in {outcome.entries} entries, "
        f"{sum(outcome.faults.values())} faults, digest {outcome.digest[:16]}"
    )
    _say_verdict(outcome, options)
    if options.json:
        _write_json(options.json, {name: getattr(outcome, name) for name in Outcome.__slots__})
    return 1 if outcome.invariant else 0


def _say_verdict(outcome: Outcome, options: argparse.Namespace) -> None:
    if not outcome.invariant:
        print("everything held")
        return
    print(f"VIOLATION of {outcome.message}")
    again = f"python -m tests.sim --seed {outcome.seed} --nodes {outcome.nodes}"
    if options.members is not None:
        again += " --members" if options.members else " --no-members"
    if options.mixed is not None:
        again += " --mixed" if options.mixed else " --no-mixed"
    print(f"again: {again} --seconds {options.seconds:g} -v    fewer faults: --shrink")


def _shrink(options: argparse.Namespace) -> int:
    try:
        faults, outcome = shrink(
            options.seed,
            nodes=options.nodes,
            seconds=options.seconds,
            members=options.members,
            mixed=options.mixed,
            told=print,
        )
    except ValueError as error:
        print(error)
        return 0
    print("\n".join(outcome.timeline))
    print(f"{len(faults)} faults are enough:")
    for fault in faults:
        print(f"  {fault}")
    _say_verdict(outcome, options)
    return 1


def _many(options: argparse.Namespace) -> int:
    def told(row: Row) -> None:
        if row["invariant"]:
            print(f"seed {row['seed']}: {row['message'][:300]}", flush=True)
        elif options.verbose:
            print(f"seed {row['seed']}: held, {row['orders']} orders", flush=True)

    plan = Plan(options.nodes, options.seconds, options.members, options.mixed)
    return _say_sum(run_many(options.seeds, plan, jobs=options.jobs, path=options.json, told=told))


def _say_sum(summary: Summary) -> int:
    print("\n".join(summary.lines()))
    return 1 if summary.violations else 0


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, default=str) + "\n")


if __name__ == "__main__":
    sys.exit(main())
