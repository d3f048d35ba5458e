"""Clients of a raftbook cluster: `Client` blocks, `AsyncClient` does not; same verbs, no Raft.

from raftbook.client import Client

with Client([("127.0.0.1", 7101), ("127.0.0.1", 7102)], account="demo") as client:
    result = client.submit("BTC-USD", "buy", "0.5", "101.25")
"""

from raftbook.client.aio import AsyncClient
from raftbook.client.sync import Client
