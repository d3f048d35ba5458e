"""The sockets between peers: each node dials each other node, a connection carries one way.

Owns connecting, the handshake's timers and the bound on what waits to be written (S4 S5 S18 S19).
Must not know Raft: messages come in and go out as values. An outgoing connection that breaks is
dialled again after 50 ms to 1 s; an incoming one replaces the older one of the same peer (F4).
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from raftbook.errors import ProtocolError
from raftbook.replica.messages import Message, check_message
from raftbook.wire.framing import FrameReader, frame
from raftbook.wire.join_session import JoinAnswer
from raftbook.wire.packing import pack, unpack
from raftbook.wire.peer_session import (
    HANDSHAKE_FRAME_BYTES_MAX,
    Acceptor,
    Dialer,
    PeerCard,
    Removed,
)

_log = logging.getLogger(__name__)

STRANGERS_MAX = 32
"""Incoming connections that have not proven the secret yet; one more and the eldest goes."""
GUESTS_MAX = 16
"""Nodes that belong to the cluster as far as they say, and are not known here yet: a node that was
away long may be caught up by a leader that came after it left, and answers where that one says."""
_UNACKED_MS = 4_000
"""The kernel gives up a connection whose bytes nobody acknowledged for this long."""


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Seconds and bytes; see `config.Timings` and `config.Bounds`."""

    handshake_timeout_s: float
    reconnect_min_s: float
    reconnect_max_s: float
    frame_bytes_max: int
    buffer_bytes_max: int


class PeerLinks:
    """All connections of one node to its peers.

    Args:
        own: what this node says of itself.
        addresses: (host, port) of every peer by id.
        nonce: a fresh random nonce at each call.
        on_message, on_connected, on_disconnected: told with the peer's id.
        on_join: what to tell a new machine that proved the secret and wants to be this node.
        on_removed: told when a peer says that this node was removed from the cluster.
    """

    def __init__(
        self,
        own: PeerCard,
        secret: bytes,
        addresses: Mapping[int, tuple[str, int]],
        settings: LinkSettings,
        *,
        nonce: Callable[[], bytes],
        on_message: Callable[[int, Message], None],
        on_connected: Callable[[int], None],
        on_disconnected: Callable[[int], None],
        on_removed: Callable[[], None],
        on_join: Callable[[int], JoinAnswer],
    ) -> None:
        self.own, self.secret, self.settings, self.nonce = own, secret, settings, nonce
        self.on_message = on_message
        self._on_connected, self._on_disconnected = on_connected, on_disconnected
        self._on_removed, self.on_join = on_removed, on_join
        self._addresses = dict(addresses)
        self._retired: frozenset[int] = frozenset()
        self._guests: dict[int, tuple[str, int]] = {}
        self._outgoing: dict[int, _Outgoing] = {}
        self._incoming: dict[int, _Incoming] = {}
        self._strangers: list[_Incoming] = []
        self._dialers: dict[int, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None
        self.last_heard: dict[int, float] = {}

    async def start(self, host: str, port: int) -> None:
        """Listen for peers and begin to dial them.

        Raises:
            OSError: the address cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Incoming(self), host, port)
        self._dial_all()

    def update(self, addresses: Mapping[int, tuple[str, int]], retired: Iterable[int]) -> None:
        """Other peers belong to the cluster now; those of before get what was sent to them.

        A node that catches up comes by memberships of long ago. Who is in none of them yet and was
        not removed stays a guest while it speaks: it may be the leader that catches this node up.
        """
        before = {**self._guests, **self._addresses}
        self._addresses, self._retired = dict(addresses), frozenset(retired)
        self._guests |= {each: before[each] for each in before if each in self._incoming}
        for peer_id in self._addresses.keys() | self._retired:
            self._guests.pop(peer_id, None)
        after = {**self._guests, **self._addresses}
        for peer_id in [each for each in before if after.get(each) != before[each]]:
            self._forget(peer_id)
        self._dial_all()

    def _dial_all(self) -> None:
        loop = asyncio.get_running_loop()
        for peer_id, address in {**self._guests, **self._addresses}.items():
            if peer_id not in self._dialers and self._server is not None:
                self._dialers[peer_id] = loop.create_task(self._dial(peer_id, *address))

    def _forget(self, peer_id: int) -> None:
        """End what was with a peer, both ways; what it was sent still goes out."""
        dialer = self._dialers.pop(peer_id, None)
        if dialer is not None:
            dialer.cancel()
        incoming = self._incoming.pop(peer_id, None)
        if incoming is not None:
            incoming.drop()
        link = self._outgoing.pop(peer_id, None)
        if link is not None:
            link.finish()
            self._on_disconnected(peer_id)

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        for task in self._dialers.values():
            task.cancel()
        await asyncio.gather(*self._dialers.values(), return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for link in [*self._outgoing.values(), *self._incoming.values(), *self._strangers]:
            link.drop()

    def send(self, peer_id: int, messages: list[Message]) -> None:
        """See `replica.Links.send`; without a connection the messages are lost."""
        link = self._outgoing.get(peer_id)
        if link is not None and link.peer is not None:
            link.send(messages)

    def is_connected(self, peer_id: int) -> bool:
        """Whether messages to this peer have a way to go."""
        link = self._outgoing.get(peer_id)
        return link is not None and link.peer is not None

    def card(self, peer_id: int) -> PeerCard | None:
        """What a connected peer said of itself."""
        link = self._outgoing.get(peer_id)
        return None if link is None else link.peer

    # -- outgoing -----------------------------------------------------------------------------

    async def _dial(self, peer_id: int, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        settings = self.settings
        wait_s = settings.reconnect_min_s
        complaint = ""
        while True:
            link = _Outgoing(self, peer_id)
            try:
                async with asyncio.timeout(settings.handshake_timeout_s):
                    await loop.create_connection(lambda link=link: link, host, port)  # type: ignore[misc]
                    await link.opened
            except asyncio.CancelledError:
                link.drop()
                raise
            except (OSError, TimeoutError, ProtocolError, UnicodeError) as error:
                link.drop()
                if isinstance(error, Removed):
                    self._on_removed()
                is_lasting = isinstance(error, ProtocolError | UnicodeError)
                if is_lasting and str(error) != complaint:
                    complaint = str(error)
                    _log.error("node %d at %s:%d: %s", peer_id, host, port, complaint)
            else:
                self._outgoing[peer_id] = link
                wait_s = settings.reconnect_min_s
                self._on_connected(peer_id)
                await link.closed
                del self._outgoing[peer_id]
                self._on_disconnected(peer_id)
            # Half of it random, so that peers that lost each other do not dial in step.
            await asyncio.sleep(wait_s * (0.5 + 0.5 * random.random()))
            wait_s = min(wait_s * 2, settings.reconnect_max_s)

    # -- incoming -----------------------------------------------------------------------------

    def stranger(self, link: _Incoming) -> None:
        """Somebody connected; it is nobody until it has proven the secret."""
        self._strangers.append(link)
        if len(self._strangers) > STRANGERS_MAX:
            self._strangers[0].drop()

    def refuses(self, peer: PeerCard) -> str | None:
        """Why a node that has proven the secret is not let in."""
        if peer.node_id in self._retired:
            return f"node {peer.node_id} was removed from this cluster"
        if peer.node_id in self._addresses or peer.node_id in self._guests:
            return None
        if len(self._guests) >= GUESTS_MAX:
            return f"node {peer.node_id} is no member of this cluster"
        return None

    def is_retired(self, node_id: int) -> bool:
        """Whether a node was removed from the cluster."""
        return node_id in self._retired

    def introduced(self, link: _Incoming, peer: PeerCard) -> None:
        """A stranger proved to be `peer`, and is let in."""
        self._forget_stranger(link)
        if peer.node_id not in self._addresses:
            self._guests[peer.node_id] = (peer.host, peer.port)
            self._dial_all()
        replaced = self._incoming.pop(peer.node_id, None)
        if replaced is not None:
            replaced.drop()
        self._incoming[peer.node_id] = link

    def lost(self, link: _Incoming) -> None:
        """An incoming connection ended."""
        self._forget_stranger(link)
        if link.peer is not None and self._incoming.get(link.peer.node_id) is link:
            del self._incoming[link.peer.node_id]
            if self._guests.pop(link.peer.node_id, None) is not None:
                self._forget(link.peer.node_id)

    def heard(self, peer_id: int) -> None:
        """A peer said something just now."""
        self.last_heard[peer_id] = asyncio.get_running_loop().time()

    def _forget_stranger(self, link: _Incoming) -> None:
        if link in self._strangers:
            self._strangers.remove(link)


class _Link(asyncio.Protocol):
    """One socket: frames in, frames out, and the peer's card once the handshake is done."""

    def __init__(self, links: PeerLinks) -> None:
        self._links = links
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader(HANDSHAKE_FRAME_BYTES_MAX)
        self.peer: PeerCard | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        connection = transport.get_extra_info("socket")
        if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKED_MS)

    @property
    def address(self) -> str:
        """The other end, for people."""
        name = self._transport and self._transport.get_extra_info("peername")
        return f"{name[0]}:{name[1]}" if name else "unknown"

    def data_received(self, piece: bytes) -> None:
        if self._transport is None:
            return  # dropped: what was still under way belongs to no generation any more
        try:
            for payload in self._reader.feed(piece):
                self.on_frame(payload)
        except ProtocolError as error:
            self.on_fault(error)
            self.drop()

    def on_frame(self, payload: bytes) -> None:
        raise NotImplementedError

    def on_fault(self, error: ProtocolError) -> None:
        raise NotImplementedError

    def write(self, payload: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame(payload))

    def finish(self) -> None:
        """End the connection once what was written has left."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def drop(self) -> None:
        """End the connection at once; nothing that still arrives is looked at."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


class _Outgoing(_Link):
    """A connection we opened: we speak."""

    def __init__(self, links: PeerLinks, peer_id: int) -> None:
        super().__init__(links)
        loop = asyncio.get_running_loop()
        self._peer_id = peer_id
        self._dialer = Dialer(links.secret, links.own, peer_id, links.nonce())
        self.opened: asyncio.Future[None] = loop.create_future()
        self.opened.add_done_callback(_see)  # whoever gave up does not wait for it any more
        self.closed: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.write(self._dialer.hello())

    def on_frame(self, payload: bytes) -> None:
        if self.peer is not None:
            raise ProtocolError("the accepting side speaks after the handshake")
        step = self._dialer.receive(payload)
        if step.send is not None:
            self.write(step.send)
        if step.peer is not None:
            self.peer = step.peer
            if not self.opened.done():
                self.opened.set_result(None)

    def on_fault(self, error: ProtocolError) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("closed during the handshake"))
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, messages: list[Message]) -> None:
        """Write messages; a peer that reads too slowly loses the connection, not our memory."""
        transport = self._transport
        if transport is None:
            return
        transport.write(b"".join([frame(pack(message)) for message in messages]))
        if transport.get_write_buffer_size() > self._links.settings.buffer_bytes_max:
            extra = {"event": "slow_peer", "fields": {"peer_id": self._peer_id}}
            _log.warning("node %d reads too slowly, connection dropped", self._peer_id, extra=extra)
            self.drop()


def _see(future: asyncio.Future[None]) -> None:
    """Take note of an exception, so that asyncio need not complain that nobody has."""
    if not future.cancelled():
        future.exception()


class _Incoming(_Link):
    """A connection somebody opened: we listen."""

    def __init__(self, links: PeerLinks) -> None:
        super().__init__(links)
        self._acceptor = Acceptor(links.secret, links.own, links.nonce())
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._links.settings.handshake_timeout_s, self.drop)
        self._links.stranger(self)

    def on_frame(self, payload: bytes) -> None:
        if self.peer is not None:
            message = check_message(unpack(payload))
            self._links.heard(self.peer.node_id)
            self._links.on_message(self.peer.node_id, message)
            return
        step = self._acceptor.receive(payload)
        if step.joiner is not None:
            self.write(self._acceptor.join_answer(self._links.on_join(step.joiner)))
            self.finish()
            return
        if step.peer is not None:
            reason = self._links.refuses(step.peer)
            if reason is not None:
                is_removed = self._links.is_retired(step.peer.node_id)
                self.write(self._acceptor.refusal(reason, is_removed=is_removed))
                self.finish()
                return
            self._introduce(step.peer)
        if step.send is not None:
            self.write(step.send)

    def _introduce(self, peer: PeerCard) -> None:
        self._links.introduced(self, peer)
        self.peer = peer
        # Frames after this one may be as large as a message.
        self._reader.widen(self._links.settings.frame_bytes_max)
        if self._timer is not None:
            self._timer.cancel()

    def on_fault(self, error: ProtocolError) -> None:
        who = self.address if self.peer is None else f"{self.address}, node {self.peer.node_id}"
        _log.warning("peer port: %s: %s", who, error)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._links.lost(self)
