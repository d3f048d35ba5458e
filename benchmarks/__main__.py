"""`python -m benchmarks [NAME ...]`: JSON on stdout; without a name the goals, and their table."""

from __future__ import annotations

import json
import sys

from benchmarks import bounds, cluster, core, goals, growth, recovery, rest, stages
from raftbook_cli.bench.figures import environment

_ALL = {
    "goals": goals.run,
    "core": core.run,
    "bounds": bounds.run,
    "stages": stages.run,
    "cluster": cluster.run,
    "rest": rest.run,
    "recovery": recovery.run,
    "growth": growth.run,
}


def main(names: list[str]) -> int:
    """Run the named benchmarks, the goals when none is named."""
    unknown = [name for name in names if name not in _ALL]
    if unknown:
        print(f"unknown benchmark {unknown[0]}; there are {', '.join(_ALL)}", file=sys.stderr)
        return 2
    found: dict[str, object] = {"environment": environment()}
    for name in names or ["goals"]:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found[name] = _ALL[name]()
    print(json.dumps(found, indent=2), flush=True)
    if "goals" not in found:
        return 0
    print(goals.table(found["goals"]), file=sys.stderr)
    return 0 if goals.is_whole(found["goals"]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
