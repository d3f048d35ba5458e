"""The command line: parse, call, print.

Owns the verbs, their options and what a terminal shows. Must not know Raft, or decide anything
about the market: the book decides, this prints. Ships as the package `raftbook_cli`.
"""
