"""Exchanges with a fault, for tests that must notice it.

By what they are told and by their data: a compiled exchange lets nobody put a method in the place
of another, or inherit from it.
"""

from raftbook.core.commands import Entry
from raftbook.core.events import Reply
from raftbook.core.exchange import Exchange, Genesis


def forget(exchange: Exchange, entry: Entry) -> None:
    """Forget the answers to what an entry repeats, so that it acts again."""
    sessions = exchange.sessions
    for session_id, request_seq, _ in entry.requests:
        session = sessions.by_id.get(session_id)
        if session is not None:
            session.replies.pop(request_seq % sessions.window, None)


class Wrapped:
    """An exchange to look at, and to be given entries by way of `apply`."""

    def __init__(self, genesis: Genesis) -> None:
        self.real = Exchange(genesis)

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def apply(self, entry: Entry) -> list[Reply]:
        return self.real.apply(entry)


class Forgetful(Wrapped):
    """Applies what is repeated once more."""

    def apply(self, entry: Entry) -> list[Reply]:
        forget(self.real, entry)
        return self.real.apply(entry)
