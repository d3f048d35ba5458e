"""Raft through PySyncObj: the log, who leads, what is committed, and the exchange it feeds.

The only package that imports pysyncobj; none of its names or types leave `seams.py` and `raft.py`.
"""
