"""The HTTP port of a node: what is spoken there, and the server that speaks it.

Needs the extra `gateway`; nothing else in raftbook imports this package but `node_web.py`.
"""
