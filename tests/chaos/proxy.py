"""A proxy per directed link, in one process of its own: where the network of a chaos run is bad.

Owns the sockets between the nodes (and between the clients and the nodes), and what happens to
them. Must not know what the bytes mean. A connection between nodes carries messages one way, so a
link that is held or refused is an asymmetric cut.

The process reads one JSON object a line and answers each with a line. {"links": {name: [port to
listen on, port to go to]}} names links, the first and later ones; the others change one:

    {"link": name, "mode": "open"}       bytes flow
    {"link": name, "mode": "hold"}       they wait, connections stand, and come in a burst later
    {"link": name, "mode": "refuse"}     connections are reset, and new ones too
    {"link": name, "delay_ms": 40}       each piece comes so much later
    {"link": name, "reset_after": 17}    reset after so many bytes more: inside a frame, mostly
    {"used": true}                       answered by {name: how many connections there were}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import subprocess
import sys
from typing import Any

_HOST = "127.0.0.1"
_PIECE_BYTES = 1 << 16


class Link:
    """One directed link: a listener, and its connections."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._gate = asyncio.Event()
        self._gate.set()
        self._is_refusing = False
        self._delay_s = 0.0
        self._bytes_left: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.used = 0

    def change(self, order: dict[str, Any]) -> None:
        """Do what a line says."""
        mode = order.get("mode")
        if mode is not None:
            self._is_refusing = mode == "refuse"
            if mode == "hold":
                self._gate.clear()
            else:
                self._gate.set()
            if self._is_refusing:
                self._reset()
        if "delay_ms" in order:
            self._delay_s = order["delay_ms"] / 1_000
        if "reset_after" in order:
            self._bytes_left = order["reset_after"]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways, until either side ends it."""
        self._writers.add(writer)
        self.used += 1
        upstream: asyncio.StreamWriter | None = None
        try:
            await self._gate.wait()
            if self._is_refusing:
                _reset(writer)
                return
            answers, upstream = await asyncio.open_connection(_HOST, self._target_port)
            self._writers.add(upstream)
            pumps = [
                asyncio.create_task(self._pump(reader, upstream)),
                asyncio.create_task(self._pump(answers, writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # nobody listens there: the other side learns it by the reset below
        finally:
            for one in (writer, upstream):
                if one is not None:
                    self._writers.discard(one)
                    one.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                await self._gate.wait()
                if self._bytes_left is not None:
                    if self._bytes_left < len(piece):
                        writer.write(piece[: self._bytes_left])
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(0.2):
                                await writer.drain()
                        self._bytes_left = None
                        self._reset()
                        return
                    self._bytes_left -= len(piece)
                writer.write(piece)
                await writer.drain()

    def _reset(self) -> None:
        for writer in list(self._writers):
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST: without lingering, a close throws away and says so."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):  # closed meanwhile
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _main() -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    links: dict[str, Link] = {}
    while line := await lines.readline():
        order = json.loads(line)
        for name, (port, target_port) in order.get("links", {}).items():
            links[name] = Link(target_port)
            await asyncio.start_server(links[name].serve, _HOST, port)
        if "link" in order:
            links[order["link"]].change(order)
        used = {name: link.used for name, link in links.items()} if "used" in order else "done"
        print(json.dumps(used), flush=True)


class Proxies:
    """The process, as the runner sees it; use it as a context manager.

    Args:
        links: name -> (port to listen on, port to go to).
    """

    def __init__(self, links: dict[str, tuple[int, int]]) -> None:
        self.names = tuple(links)
        self._first_links = links

    def __enter__(self) -> Proxies:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.proxy"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tell({"links": self._first_links})
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.communicate()

    def add(self, links: dict[str, tuple[int, int]]) -> None:
        """More links, while the others go on."""
        self._tell({"links": links})
        self.names += tuple(links)

    def change(self, name: str, **order: Any) -> None:
        """Change one link; see the top of the file."""
        self._tell({"link": name, **order})

    def heal(self) -> None:
        """Everything flows again."""
        for name in self.names:
            self.change(name, mode="open", delay_ms=0)

    def used(self) -> dict[str, int]:
        """How many connections each link has carried: one that carried none was no link."""
        return dict(self._ask({"used": True}))

    def _tell(self, order: dict[str, Any]) -> None:
        answer = self._ask(order)
        assert answer == "done", f"the proxies answered {order} with {answer!r}"

    def _ask(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the proxies have ended; they were told {order}"
        return json.loads(answer)


if __name__ == "__main__":
    asyncio.run(_main())
