"""`raftbook bench`: how much a cluster does, and how long an order waits for it."""
