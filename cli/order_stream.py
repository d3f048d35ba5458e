"""`raftbook order -`: orders from a pipe, one JSON object a line, one result line each.

Owns the pipelining: lines that are there are sent together, requests overlap, results come in the
order of the lines. Must not know the fields of a line: `order_lines.py`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import deque
from io import BufferedIOBase
from queue import Full, Queue
from typing import Any, Final, NamedTuple, cast

import click

from raftbook.client import AsyncClient
from raftbook.client.results import order_results
from raftbook.client.values import (
    NOT_ACCEPTED,
    UNKNOWN,
    InstrumentSpec,
    OrderResult,
)
from raftbook.core.commands import Command
from raftbook.errors import NoNodeReachable, NotAccepted, OutcomeUnknown

from .invocation import Invocation, network_options, pass_invocation
from .order_lines import EdgeReject, command_of_line
from .order_results import result_document, result_text, result_without_reply
from .outcomes import CommandFailed, ExitCode, exit_code_of, worst
from .output.printer import Printer, drop_stdout, is_terminal, say

LINES_PER_REQUEST: Final = 100
REQUESTS_IN_FLIGHT: Final = 16
"""Times LINES_PER_REQUEST: the most that can be unknown when the connection is lost."""

LINE_BYTES_MAX: Final = 10_000
PIECE_BYTES: Final = 65_536
PIECES_AHEAD: Final = 4

LOOK_EVERY_S: Final = 0.1
ENDING_S: Final = 1.0
"""A thread that is only handing over what it read is given this long to see that all is over."""


class Line(NamedTuple):
    """One line of input: a command, or the reason why it is none."""

    number: int
    command: Command | None = None
    error: str = ""
    reject: OrderResult | None = None


Answers = list[tuple[Line, OrderResult | None]]


@click.command("-")
@network_options
@pass_invocation
def order_stream(invocation: Invocation) -> None:
    """Take orders from a pipe, one JSON object a line.

    \b
    {"side": "buy", "symbol": "BTC-USD", "qty": "7", "price": "101.50",
     "type": "limit", "tif": "gtc", "post_only": false, "stp": "none", "client_order_id": "a17"}
    {"cancel": 12}        {"cancel": "a17"}
    {"amend": 12, "symbol": "BTC-USD", "qty": "3", "price": "101"}

    A line that is wrong gets a result line that says so; the others go on. The exit code is the
    worst of all. When whoever reads the results goes away, nothing more is sent: exit 5, and stderr
    says how far it came; so it does after Ctrl-C, and when no node can be reached (exit 3).
    """
    invocation.goes_on = True
    if is_terminal(sys.stdin):
        say("reading orders, one JSON object a line; end with Ctrl-D")
    reader = _LineReader(cast(BufferedIOBase, sys.stdin.buffer))
    progress = _Progress()
    try:
        code = asyncio.run(_stream(invocation, reader, progress))
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
        say(f"interrupted: {progress.in_words()}")
    if not reader.stop():
        # A thread still waits for a line, and the interpreter would not end beside it.
        sys.stderr.flush()
        os._exit(code)
    if code:
        raise CommandFailed(code)


async def _stream(invocation: Invocation, reader: _LineReader, progress: _Progress) -> ExitCode:
    client = invocation.connect_async()
    async with client:
        pipe = _Pipe(client, invocation.printer, await client.instruments(), progress)
        reader.start()
        return await pipe.run(reader)


class _Progress:
    """How far a stream has come, in lines of the input.

    Attributes:
        sent: the last line that may have left; told: the last one whose result was printed.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.told = 0

    def in_words(self) -> str:
        """What happened to which lines."""
        if not self.sent:
            return "nothing was sent"
        said = [f"results are told up to line {self.told}" if self.told else "no result is told"]
        if self.sent > self.told:
            lines = f"lines {self.told + 1} to {self.sent}"
            said.append(f"{lines} were sent and may have taken effect")
        said.append(f"nothing after line {self.sent} was sent")
        return "; ".join(said)


class _LineReader:
    """A thread that reads what is there, and waits when nobody takes it."""

    def __init__(self, source: BufferedIOBase) -> None:
        self._source = source
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._is_stopped = threading.Event()
        self._queue: Queue[list[bytes]] = Queue(PIECES_AHEAD)
        self._lines: deque[bytes] = deque()
        self._number = 0
        self._ended = False

    def start(self) -> None:
        """Daemonic: a terminal that never ends its line must not keep the program alive."""
        self._loop = asyncio.get_running_loop()
        self._has_arrived = asyncio.Event()
        self._thread.start()

    def stop(self) -> bool:
        """Read no more; False if the thread waits for input that may never come."""
        self._is_stopped.set()
        if self._thread.is_alive():
            self._thread.join(ENDING_S)
        return not self._thread.is_alive()

    async def batch(self) -> list[tuple[int, str]]:
        """The lines that are there, at least one, with their numbers; none at the end."""
        batch: list[tuple[int, str]] = []
        while len(batch) < LINES_PER_REQUEST:
            if not self._lines:
                if self._ended or (batch and self._queue.empty()):
                    break
                piece = await self._piece()
                self._ended = not piece
                self._lines.extend(piece)
                continue
            self._number += 1
            line = self._lines.popleft()
            if line.strip():
                batch.append((self._number, line.decode("utf-8", "replace")))
        return batch

    async def _piece(self) -> list[bytes]:
        while self._queue.empty():
            self._has_arrived.clear()
            if self._queue.empty():
                await self._has_arrived.wait()
        return self._queue.get_nowait()

    def _read(self) -> None:
        rest = b""
        try:
            while not self._is_stopped.is_set() and (piece := self._source.read1(PIECE_BYTES)):
                *lines, rest = (rest + piece).split(b"\n")
                # What is longer than any order is kept as far as needed to say that it is none.
                rest = rest[:LINE_BYTES_MAX]
                if lines:
                    self._put(lines)
        except (OSError, ValueError) as error:
            rest = f"(the input cannot be read: {error})".encode()
        if rest:
            self._put([rest])
        self._put([])

    def _put(self, lines: list[bytes]) -> None:
        while not self._is_stopped.is_set():
            try:
                self._queue.put(lines, timeout=LOOK_EVERY_S)
                self._loop.call_soon_threadsafe(self._has_arrived.set)
            except Full:
                continue
            except RuntimeError:
                pass  # the loop is closed: nobody wants the rest
            return


class _Pipe:
    """Lines in, result lines out, both in one order."""

    def __init__(
        self,
        client: AsyncClient,
        printer: Printer,
        instruments: dict[str, InstrumentSpec],
        progress: _Progress,
    ) -> None:
        self._client = client
        self._printer = printer
        self._instruments = instruments
        self._progress = progress
        self._in_flight: deque[asyncio.Task[Answers]] = deque()
        self._codes: set[ExitCode] = set()

    async def run(self, reader: _LineReader) -> ExitCode:
        """Until the input ends, or there is nobody to send to or to tell; the worst exit code."""
        try:
            await self._run(reader)
        except BrokenPipeError:
            drop_stdout()
            # What is under way ends by itself, within its timeout.
            await asyncio.gather(*self._in_flight, return_exceptions=True)
            say(f"nobody reads the results any more: {self._progress.in_words()}")
            self._codes.add(ExitCode.OUTCOME_UNKNOWN)
        else:
            if ExitCode.UNREACHABLE in self._codes:
                say(f"no node can be reached: {self._progress.in_words()}")
            if ExitCode.OUTCOME_UNKNOWN in self._codes:
                say(
                    "some outcomes are unknown: new orders with a client_order_id may be sent "
                    "again, what is there already is refused as a duplicate; of the others see: "
                    "raftbook order list"
                )
        return worst(self._codes)

    async def _run(self, reader: _LineReader) -> None:
        while ExitCode.UNREACHABLE not in self._codes:
            batch = await self._next_batch(reader)
            if not batch or ExitCode.UNREACHABLE in self._codes:
                break
            lines = [self._parse(number, text) for number, text in batch]
            self._progress.sent = batch[-1][0]
            self._in_flight.append(asyncio.create_task(self._send(lines)))
            # The request takes its number when it starts: let it, before the next one.
            await asyncio.sleep(0)
            while len(self._in_flight) >= REQUESTS_IN_FLIGHT:
                self._print(await self._in_flight.popleft())
        while self._in_flight:
            self._print(await self._in_flight.popleft())

    async def _next_batch(self, reader: _LineReader) -> list[tuple[int, str]]:
        """The next lines; meanwhile results that are there are printed, not kept back."""
        waiting = asyncio.create_task(reader.batch())
        while not waiting.done() and self._in_flight:
            await asyncio.wait({waiting, self._in_flight[0]}, return_when=asyncio.FIRST_COMPLETED)
            if self._in_flight[0].done():
                self._print(self._in_flight.popleft().result())
        return await waiting

    def _parse(self, number: int, text: str) -> Line:
        try:
            return Line(number, command_of_line(text, self._instruments))
        except EdgeReject as reject:
            return Line(number, reject=reject.result())
        except ValueError as error:
            return Line(number, error=str(error))

    async def _send(self, lines: list[Line]) -> Answers:
        commands = [line.command for line in lines if line.command is not None]
        results = iter(await self._request(commands) if commands else ())
        return [
            (line, next(results) if line.command is not None else line.reject) for line in lines
        ]

    async def _request(self, commands: list[Command]) -> list[OrderResult]:
        try:
            reply = await self._client.request(commands)
        except (NotAccepted, NoNodeReachable, OutcomeUnknown) as error:
            if isinstance(error, NoNodeReachable):
                self._codes.add(ExitCode.UNREACHABLE)
            status = UNKNOWN if isinstance(error, OutcomeUnknown) else NOT_ACCEPTED
            return [result_without_reply(command, status, str(error)) for command in commands]
        return order_results(reply, commands, self._instruments)

    def _print(self, answers: Answers) -> None:
        for line, result in answers:
            if result is None:
                self._codes.add(ExitCode.USAGE)
                self._print_line(line, {"error": line.error}, f"error: {line.error}")
            else:
                self._codes.add(exit_code_of(result))
                text = result_text(result, price=None, tick_size=None)
                if result.text:
                    text += f"  {result.text}"
                self._print_line(line, result_document(result), text)
        sys.stdout.flush()
        self._progress.told = answers[-1][0].number

    def _print_line(self, line: Line, document: dict[str, Any], text: str) -> None:
        if self._printer.is_table:
            print(f"line {line.number}: {text}")
        else:
            self._printer.line({"line": line.number, **document}, flush=False)
