"""The exceptions of raftbook: each type answers "may I send this again?".

Owns the kinds of trouble the world can cause. Must not know who raises or who catches them, and
imports nothing of ours. An order that the market refuses is not here: a refusal is a value (a
reject code in an event). Neither are our own bugs: those are assertions, and the node stops.
"""

from __future__ import annotations


class RaftbookError(Exception):
    """The world failed. Catch this to catch everything that is not a bug in raftbook itself."""


class NotAccepted(RaftbookError):
    """The request had no effect and never will have one.

    The receiver may send it again freely, to any node, at once or later.
    """


class OutcomeUnknown(RaftbookError):
    """The request may have taken effect, or may still take effect; nobody can tell yet.

    The receiver may send it again only with the same session and the same request_seq, to any
    node: the book then returns the original result instead of acting twice. Sending it under a
    new request_seq may trade twice.

    Args:
        reason: what was lost, and when.
        request_seq: the number to send again with, where the raiser knows it.
    """

    def __init__(self, reason: str, *, request_seq: int | None = None) -> None:
        super().__init__(reason)
        self.request_seq = request_seq


class NoNodeReachable(RaftbookError):
    """None of the addresses answered, so nothing was sent.

    The receiver should start a node or correct the addresses; then it may send freely. A request
    that had left before the connection was lost is an OutcomeUnknown, never this.
    """


class ProtocolError(RaftbookError):
    """The other side sent bytes that this protocol version does not allow.

    The receiver must close the connection: after a bad frame nothing on it can be trusted. What
    was waiting for a reply on it has an unknown outcome.
    """


class ConfigError(RaftbookError):
    """The configuration is wrong. Sending again is pointless until the file is corrected.

    The receiver should print the message, which is one line, and exit with code 2.

    Args:
        file: the file as the user named it.
        table: the table in it, without brackets; None when the trouble is not inside one.
        key: the key in the table; None when the trouble is not one key's.
        problem: what is wrong, naming the entry and the key in words.
        hint: what to write instead.
    """

    def __init__(
        self,
        *,
        file: str,
        problem: str,
        hint: str,
        table: str | None = None,
        key: str | None = None,
    ) -> None:
        place = file if table is None else f"{file}: [{table}]"
        separator = ": " if table is None else " "
        super().__init__(f"{place}{separator}{problem}; {hint}")
        self.file = file
        self.table = table
        self.key = key
        self.problem = problem
        self.hint = hint


class StorageError(RaftbookError):
    """What stands on the disk cannot be used: corrupt, locked, or another node's or cluster's.

    The receiver must stop the node and show the remedy. It must never go on with an empty book,
    and never delete or repair the files by itself.

    Args:
        path: the file or folder.
        reason: what is wrong with it.
        remedy: what the operator should do.
        passes: whether it ends without anybody touching the files: something is lacking just now.
    """

    def __init__(self, *, path: str, reason: str, remedy: str, passes: bool = False) -> None:
        super().__init__(f"{path}: {reason}; {remedy}")
        self.passes = passes
        self.path = path
        self.reason = reason
        self.remedy = remedy


class OutOfDescriptors(StorageError):
    """No more files can be opened just now; nothing is wrong with any, and nothing was changed.

    The receiver should try again later what can wait. What cannot wait ends as for a full disk.
    """
