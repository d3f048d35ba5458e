"""`python -m benchmarks [NAME ...]`: those in _ALL, all when none is named; prints JSON."""

from __future__ import annotations

import json
import sys

from benchmarks import bounds, cluster, core, growth, recovery, rest, stages
from raftbook_cli.bench.figures import environment

_ALL = {
    "core": core.run,
    "bounds": bounds.run,
    "stages": stages.run,
    "cluster": cluster.run,
    "rest": rest.run,
    "recovery": recovery.run,
    "growth": growth.run,
}


def main(names: list[str]) -> int:
    """Run the named benchmarks, all of them when none is named."""
    unknown = [name for name in names if name not in _ALL]
    if unknown:
        print(f"unknown benchmark {unknown[0]}; there are {', '.join(_ALL)}", file=sys.stderr)
        return 2
    found: dict[str, object] = {"environment": environment()}
    for name in names or list(_ALL):
        print(f"{name} ...", file=sys.stderr, flush=True)
        found[name] = _ALL[name]()
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
