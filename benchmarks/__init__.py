"""Measurements behind docs/BENCHMARKS.md. `python -m benchmarks` runs all, or those it names."""
