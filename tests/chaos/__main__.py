"""`python -m tests.chaos`: break a cluster of real processes for some minutes, and judge it.

Exit codes: 0 nothing was lost, doubled or diverged · 1 a violation · 2 usage · 3 the run is void.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.chaos.judgement import judge
from tests.chaos.runner import Options, Result, percentiles, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1, help="draws the troubles and the orders")
    parser.add_argument("--nodes", type=int, default=3, choices=(3, 5))
    parser.add_argument("--rate", type=float, default=900.0, help="orders/s that clients aim at")
    parser.add_argument("--only", default="", help="troubles to draw from, separated by commas")
    parser.add_argument("--direct", action="store_true", help="no proxies: to measure failover")
    parser.add_argument(
        "--slow", type=int, default=1, choices=(1, 2, 3), help="longer elections, on a busy machine"
    )
    parser.add_argument("--fault", default="", help="run broken nodes: see broken_node.py")
    parser.add_argument("--json", type=Path, help="write the result there")
    parser.add_argument("--folder", type=Path, help="keep everything there; must be empty or new")
    parser.add_argument("--recheck", type=Path, metavar="FOLDER", help="judge a kept run again")
    options = parser.parse_args()
    if options.recheck is not None:
        return _recheck(options.recheck)
    keep = options.folder is not None
    folder = options.folder or Path(tempfile.mkdtemp(prefix="raftbook-chaos-"))
    only = frozenset(filter(None, options.only.split(",")))
    print(f"chaos: seed {options.seed}, {options.minutes:g} minutes, {options.nodes} nodes; "
          f"everything is in {folder}", flush=True)  # fmt: skip
    result = run(
        Options(
            folder.resolve(),
            options.minutes,
            options.seed,
            options.nodes,
            options.rate,
            only,
            options.fault,
            options.direct,
            options.slow,
            say=lambda line: print(line, flush=True),
        )
    )
    if options.json:
        options.json.write_text(json.dumps(result.document(), indent=1) + "\n")
    _show(result)
    if result.ok and not keep:
        shutil.rmtree(folder)
    elif not result.ok:
        print(f"kept for a post-mortem: {folder}\n"
              f"judge it again with: python -m tests.chaos --recheck {folder}")  # fmt: skip
    return 1 if result.violations else 3 if result.void else 0


def _show(result: Result) -> None:
    judgement = result.judgement
    print(f"orders {result.orders} ({result.orders_per_s:g}/s)  clients {result.tally}")
    print(f"troubles {result.troubles}  skipped {result.skipped or 'none'}")
    print(f"failover after kill -9 of the leader, s: {percentiles(result.failovers_s)}")
    print(f"the same less the wait for a processor, s: {percentiles(result.less_cpu_wait())}")
    print(f"the same with other trouble, s: {percentiles(result.disturbed_failovers_s)}")
    for node_id, growth in sorted(result.growth.items()):
        print(f"node {node_id}: descriptors (first, last, most) {growth.descriptors}, "
              f"memory KiB {growth.memory_kib}")  # fmt: skip
    print(f"judged: { ({k: v for k, v in judgement.items() if k not in ('violations', 'void')}) }")
    for violation in result.violations:
        print(f"VIOLATION: {violation[:2_000]}")
    if result.void:
        print(f"VOID: {result.void}")
    if result.ok:
        print("OK: 0 lost, 0 doubled, 0 diverged")


def _recheck(folder: Path) -> int:
    judgement = judge(folder)
    print(json.dumps(asdict(judgement), indent=1))
    return 1 if judgement.violations else 3 if judgement.void else 0


if __name__ == "__main__":
    sys.exit(main())
