"""`python -m benchmarks [NAME ...]`: those in _ALL, all when none is named; prints JSON."""

from __future__ import annotations

import json
import os
import platform
import sys

from benchmarks import bounds, cluster, core, growth, recovery, rest, stages
from benchmarks.rivals import stock_pysyncobj
from raftbook.core.build import KIND

STOCK_S = 8.0

_ALL = {
    "core": core.run,
    "bounds": bounds.run,
    "stages": stages.run,
    "cluster": cluster.run,
    "rest": rest.run,
    "recovery": recovery.run,
    "growth": growth.run,
    "stock": lambda: stock_pysyncobj.run(STOCK_S),
}


def main(names: list[str]) -> int:
    """Run the named benchmarks, all of them when none is named."""
    unknown = [name for name in names if name not in _ALL]
    if unknown:
        print(f"unknown benchmark {unknown[0]}; there are {', '.join(_ALL)}", file=sys.stderr)
        return 2
    found: dict[str, object] = {
        "environment": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "core": KIND,
        }
    }
    for name in names or list(_ALL):
        print(f"{name} ...", file=sys.stderr, flush=True)
        found[name] = _ALL[name]()
    if isinstance(found.get("cluster"), dict) and isinstance(found.get("stock"), dict):
        ours = found["cluster"]["orders_per_s"]  # type: ignore[index]
        theirs = found["stock"]["orders_per_s"]  # type: ignore[index]
        found["times_stock"] = round(ours / theirs, 1)
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
