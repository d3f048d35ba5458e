"""python -m tests.sim --seed 17"""

import argparse
import time

from tests.sim.world import run_seed

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--nodes", type=int)
parser.add_argument("--seconds", type=float, default=60)
parser.add_argument("-v", action="store_true")
a = parser.parse_args()
t = time.perf_counter()
o = run_seed(a.seed, nodes=a.nodes, seconds=a.seconds, verbose=a.v)
dt = time.perf_counter() - t
if o.invariant:
    print("\n".join(o.timeline))
o.timeline = []
print(o)
print(f"{dt:.2f} s, {o.seconds / dt:.0f} virtual seconds per second")
