"""raftbook: a limit order book that every node of a Raft cluster holds in the same state.

Owns the version, the only place it is written. Must not import anything of ours: a client that
needs `raftbook.client` should not pay for Raft.
"""

__version__ = "0.1.0"
