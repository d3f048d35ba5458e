"""What an operator sees of a node: counters, metrics, readiness."""
