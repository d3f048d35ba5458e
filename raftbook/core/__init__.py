"""The deterministic exchange: a pure function from log entries to replies.

Nothing here knows sockets, clocks, randomness, files, threads or Raft. Start at `exchange.py`.
"""
