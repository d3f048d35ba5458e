"""What one node keeps on its disk: its Raft log, its term and vote, its snapshots.

Owns files, durability, and the refusal of damaged files. Must not know Raft's rules, the order
book, sockets or clocks: entries and snapshots are bytes here.
"""
