"""A conversation with a cluster over one connection at a time, without sockets and without a clock.

Owns what every client connection shares: which node to dial and when, HELLO and LOGIN, what is to
be written, the silence after which a node is given up. `Flow` and `SubscriptionFlow` say what is
talked about. Whoever has the socket does this, in a loop (`aio.py`, `sync.py`):

    wake(now)           when now >= wake_at
    dial(now)           an address: connect, then connected() or connect_failed()
    take_outgoing()     write these bytes
    received(), lost()  what the socket said
    should_close        close the socket; the conversation has let go of it already

Times are seconds of any steady clock.
"""

from __future__ import annotations

from typing import Any, Final

from raftbook.client.rejects import Refused
from raftbook.client.ring import NodeRing
from raftbook.client.settings import NEVER, Address, Settings
from raftbook.core.types import Reject
from raftbook.errors import ProtocolError
from raftbook.wire import client_messages as m
from raftbook.wire.framing import FrameReader, frame
from raftbook.wire.packing import pack

FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
"""Longest frame a client takes: above any node's own bound for what it sends."""

PING_EVERY_S: Final = 15.0
"""A silent connection is asked for a sign; a quarter of a node's default idle_timeout_ms."""

MEMBERS_EVERY_S: Final = 5.0
"""A node is asked this often who the members are, and at the beginning of each connection. A client
loses its way when all whom it knows go between two answers: of two members, one replaced and the
other dead, which took 27 s in a chaos run. To replace one takes seconds: the new one must vote."""

MEMBERS_SOON_S: Final = 1.0
"""And this soon when a node cannot do what it is asked to: it may have been replaced."""

CONNECT_TIMEOUT_S: Final = 1.0
"""A host that does not answer must leave time to try the others."""

NO_GREETING: Final = "took the connection but did not greet in time (does it hang?)"

_TRANSIENT: Final = 900  # codes from here on: this node cannot now, another one may


def is_transient(code: int) -> bool:
    """Whether a refusal says "not now, not here" rather than "never"."""
    return code >= _TRANSIENT


def free_to_resend(code: int) -> bool:
    """Whether a refusal says that the request never left the node that refuses it."""
    return code in (Reject.NO_LEADER, Reject.OVERLOADED, Reject.NOT_READY)


def why_unreachable(error: OSError) -> str:
    """Why a connection could not be made, or broke, in a few words."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "the connection was lost"
    return (error.strerror or str(error) or type(error).__name__).lower()


class Conversation:
    """State of the one connection, or of having none. Subclasses fill the hooks at the end.

    Attributes:
        node_id: the node at the other end; 0 before its WELCOME.
        cluster: the cluster's name, once a node has told it; `cluster_id` likewise.
        is_operator: whether the account is one; False before the login.
        should_close: the socket is to be closed, without a word to `lost`.
        wake_at: when `wake` is due at the latest.
        progress: lines for a human who waits; the reader empties it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ring = NodeRing(settings)
        self.node_id = 0
        self.cluster = ""
        self.cluster_id = ""
        self.is_operator = False
        self.should_close = False
        self.wake_at = NEVER
        self.progress: list[str] = []
        self.is_ready = False  # HELLO and LOGIN are done
        self.answered_at = -NEVER  # when a node last said something
        self._outgoing: list[bytes] = []
        self._reader: FrameReader | None = None  # None: no connection
        self._is_dialing = False
        self._dial_at = -NEVER
        self._handshake_until = NEVER
        self._heard_at = 0.0
        self._pinged_at: float | None = None
        self._is_paused = False  # nobody reads what arrives, so silence means nothing
        self._last_ref = 0
        self._login_ref = 0
        self._members_ref = 0
        self._members_due = -NEVER

    # -- what the socket's owner calls --------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, greeted or not."""
        return self._reader is not None

    def dial(self, now: float) -> Address | None:
        """The address to connect to now, if any; answer by `connected` or `connect_failed`."""
        if self._reader is not None or self._is_dialing or self._is_paused:
            return None
        if not self._has_reason_to_talk():
            return None
        if now < self._dial_at:
            self._wake_by(self._dial_at)
            return None
        self._is_dialing = True
        return self.ring.address

    def connected(self, now: float) -> None:
        """The connection that `dial` asked for stands."""
        assert self._is_dialing, "connected() without dial()"
        self._is_dialing = False
        self._reader = FrameReader(FRAME_BYTES_MAX)
        self._outgoing.clear()
        self._heard_at = now
        self._pinged_at = None
        self._handshake_until = now + self.settings.greeting_timeout_s
        self._wake_by(self._handshake_until)
        self.send((m.HELLO, m.PROTOCOL_VERSION, self.settings.client_name))

    def connect_failed(self, error: OSError, now: float) -> None:
        """The connection that `dial` asked for could not be made."""
        assert self._is_dialing, "connect_failed() without dial()"
        self._is_dialing = False
        is_refusal = isinstance(error, ConnectionRefusedError)
        self._move_on(why_unreachable(error), now, is_refusal=is_refusal)
        if self.settings.gives_up_when_refused and self.ring.all_refused:
            self._on_all_refused(now)

    def received(self, piece: bytes, now: float) -> None:
        """Bytes from the node."""
        if self._reader is None:
            return
        self._heard_at = now
        self._pinged_at = None
        try:
            for payload in self._reader.feed(piece):
                self._take(m.read_message(payload), now)
                self.answered_at = now
                if self._reader is None:
                    return
        except ProtocolError as error:
            self.drop(f"spoke out of protocol: {error}", now)
            return
        self._after_received(now)

    def lost(self, why: str, now: float) -> None:
        """The connection ended."""
        if self._reader is not None:
            self.drop(why, now)
            self.should_close = False

    def wake(self, now: float) -> None:
        """Do what is due; cheap when nothing is."""
        if now < self.wake_at:
            return
        self.wake_at = NEVER
        if self._reader is not None:
            self._watch_silence(now)
        self._ask_members(now)
        self._on_wake(now)
        if self._reader is None and not self._is_dialing and self._has_reason_to_talk():
            self._wake_by(max(now, self._dial_at))

    def take_outgoing(self) -> bytes:
        """Bytes to write; they count as written."""
        if not self._outgoing:
            return b""
        taken = b"".join(self._outgoing)
        self._outgoing.clear()
        return taken

    # -- what subclasses use ------------------------------------------------------------------

    def send(self, message: tuple[Any, ...]) -> None:
        """Queue one message for the connection that stands."""
        self._outgoing.append(frame(pack(message)))

    def send_frame(self, framed: bytes) -> None:
        """Queue a frame that is packed already."""
        self._outgoing.append(framed)

    def next_ref(self) -> int:
        """A number that no other call of this client has."""
        self._last_ref += 1
        return self._last_ref

    def drop(self, why: str, now: float) -> None:
        """Let go of the connection and, unless it was not needed, turn to the next node."""
        assert self._reader is not None, "no connection to drop"
        host, port = self.ring.address
        self.hang_up(f"{host}:{port}: {why}", now)
        if self._has_reason_to_talk():
            self._move_on(why, now)

    def hang_up(self, why: str, now: float) -> None:
        """Let go of the connection; nobody is to blame."""
        self._reader = None
        self.is_ready = False
        self.node_id = 0
        self._login_ref = self._members_ref = 0
        self._members_due = -NEVER
        self.should_close = True
        self._outgoing.clear()
        self._handshake_until = NEVER
        self._on_dropped(why, now)

    def troubles(self) -> str:
        """What is wrong with each node, the one that is being tried included."""
        under_way = ""
        if self._is_dialing:
            under_way = "no connection yet"
        elif self.is_connected and not self.is_ready:
            under_way = NO_GREETING
        return self.ring.describe(under_way)

    def _move_on(self, why: str, now: float, *, is_refusal: bool = False) -> None:
        host, port = self.ring.address
        self._dial_at = now + self.ring.failed(why, is_refusal=is_refusal)
        self._wake_by(self._dial_at)
        next_host, next_port = self.ring.address
        self.progress.append(f"{host}:{port}: {why}; trying {next_host}:{next_port}")

    def _wake_by(self, time: float) -> None:
        if time < self.wake_at:
            self.wake_at = time

    # -- the handshake ------------------------------------------------------------------------

    def _take(self, message: tuple[Any, ...], now: float) -> None:
        kind = message[0]
        if self.is_ready:
            if kind == m.FAILURE and not message[1]:
                self.drop(f"closed the connection: {message[3]}", now)
            elif kind in (m.RESULT, m.FAILURE) and message[1] == self._members_ref:
                self._members_ref = 0
                if kind == m.RESULT:
                    self.settings.members.take(message[2])
            elif kind != m.PONG:
                self._on_message(message, now)
        elif kind == m.FAILURE and message[1] == self._login_ref and self._login_ref:
            self._login_failed(message[2], message[3], now)
        elif kind == m.FAILURE:
            self.drop(f"refused the connection: {message[3]}", now)
        elif kind == m.WELCOME and not self.node_id:
            self._welcomed(message, now)
        elif kind == m.RESULT and message[1] == self._login_ref and self._login_ref:
            value = message[2]
            self.is_operator = isinstance(value, dict) and bool(value.get("operator"))
            self._greeted(now)
        else:
            raise ProtocolError(f"message kind {kind} has no place in the greeting")

    def _welcomed(self, message: tuple[Any, ...], now: float) -> None:
        _, version, cluster, cluster_id, node_id, nonce = message
        if version != m.PROTOCOL_VERSION:
            raise ProtocolError(f"version {version}, this client speaks {m.PROTOCOL_VERSION}")
        # Another cluster knows nothing of our session: resending there would trade twice.
        if self.cluster_id and cluster_id != self.cluster_id:
            raise ProtocolError(f"is of cluster {cluster_id}, not of {self.cluster_id}")
        self.cluster, self.cluster_id, self.node_id = cluster, cluster_id, node_id
        account = self.settings.account
        self._login_ref = 0
        if not account:
            self._greeted(now)
            return
        self._login_ref = self.next_ref()
        proof = m.login_proof(self.settings.secret, account, nonce) if self.settings.secret else b""
        self.send((m.LOGIN, self._login_ref, account, proof))

    def _login_failed(self, code: int, reason: str, now: float) -> None:
        if is_transient(code):
            self.drop(f"could not log in: {reason}", now)
            return
        doing = f"node {self.node_id} did not let account {self.settings.account!r} in"
        self.drop(f"refused the login: {reason}", now)
        self._on_login_refused(Refused(code, reason, doing=doing), now)

    def _greeted(self, now: float) -> None:
        self._handshake_until = NEVER
        self.is_ready = True
        self._wake_by(now + PING_EVERY_S)
        self._on_ready(now)
        self._ask_members(now)

    def _ask_members(self, now: float) -> None:
        """Ask who belongs to the cluster, when that is due: nobody waits for the answer."""
        if not (self.settings.follows_members and self.is_ready) or self._is_paused:
            return
        if now >= self._members_due:
            self._members_due = now + MEMBERS_EVERY_S
            if not self._members_ref:  # a node that hangs is not asked twice
                self._members_ref = self.next_ref()
                self.send((m.QUERY, self._members_ref, "status", {}))
        self._wake_by(self._members_due)

    @property
    def _awaits_members(self) -> bool:
        """Whether the node has yet to say who the members are."""
        return bool(self._members_ref)

    def _ask_members_soon(self, now: float) -> None:
        self._members_due = min(self._members_due, now + MEMBERS_SOON_S)
        self._wake_by(self._members_due)

    def _watch_silence(self, now: float) -> None:
        if not self.is_ready:
            if now >= self._handshake_until:
                self.drop(NO_GREETING, now)
            else:
                self._wake_by(self._handshake_until)
        elif self._is_paused:
            pass
        elif self._pinged_at is not None:
            if now >= self._pinged_at + self.settings.attempt_timeout_s:
                self.drop("fell silent", now)
            else:
                self._wake_by(self._pinged_at + self.settings.attempt_timeout_s)
        elif now >= self._heard_at + PING_EVERY_S:
            self._pinged_at = now
            self.send((m.PING, self.next_ref()))
            self._wake_by(now + self.settings.attempt_timeout_s)
        else:
            self._wake_by(self._heard_at + PING_EVERY_S)

    # -- hooks --------------------------------------------------------------------------------

    @property
    def give_up_at(self) -> float:
        """When whoever waits stops waiting at the latest; NEVER while nobody does."""
        raise NotImplementedError

    def _has_reason_to_talk(self) -> bool:
        """Whether a connection is wanted."""
        raise NotImplementedError

    def _on_ready(self, now: float) -> None:
        """The node has greeted and let the account in."""
        raise NotImplementedError

    def _on_message(self, message: tuple[Any, ...], now: float) -> None:
        """A message after the handshake."""
        raise NotImplementedError

    def _on_dropped(self, why: str, now: float) -> None:
        """The connection is gone; what was written on it may or may not have arrived."""
        raise NotImplementedError

    def _on_all_refused(self, now: float) -> None:
        """Nothing listens at any address, and the settings say not to wait for somebody."""
        raise NotImplementedError

    def _on_login_refused(self, error: Refused, now: float) -> None:
        """The account may not come in, here or elsewhere."""
        raise NotImplementedError

    def _on_wake(self, now: float) -> None:
        """Look at deadlines."""
        raise NotImplementedError

    def _after_received(self, now: float) -> None:
        """Every message of a piece was taken."""
