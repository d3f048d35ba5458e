"""What others do with the same stream of orders: `python -m benchmarks.rivals`.

One file each. A module's `run(seconds)` starts its own servers on loopback in a temporary
directory, works for that long, stops them, and returns `orders_per_s`, `latency_ms` (of a call),
`settings` and `version`; it raises `Absent` where what it needs is not installed.
"""
