"""What a terminal or a script is shown: documents, tables, colours.

Owns layout only. Must not call a node or know where the values came from.
"""
