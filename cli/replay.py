"""`raftbook replay`: real order flow into the cluster, every message accounted for.

Owns the order of sending: one request after another, through the nodes in turn, so that the same
file gives the same book. Must not know what a message means: `replay_formats.py`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import click

from raftbook.client import Client
from raftbook.client.rejects import Refused
from raftbook.client.values import RequestReply
from raftbook.config import NodeAddress
from raftbook.core.commands import Command
from raftbook.core.events import CANCEL_REJECTED, REJECTED, TRADE
from raftbook.errors import NoNodeReachable, NotAccepted, OutcomeUnknown, RaftbookError

from .cluster_view import ask_all
from .invocation import Invocation, network_options, pass_invocation
from .lookup import known_spec
from .outcomes import CommandFailed, ExitCode
from .output.printer import Progress, say
from .output.tables import plural
from .replay_formats import EXAMPLES_MAX, Message, messages_of

COMMANDS_PER_REQUEST: Final = 500
"""About 30 KB: far below an entry's bound, and few enough that a retry costs little."""

ATTEMPT_TIMEOUT_S: Final = 5.0
GIVE_UP_S: Final = 30.0
"""A request that no node settles for this long ends the replay; an election takes one second."""

ROUND_PAUSE_S: Final = 0.1

DIGEST_WAIT_MS: Final = 10_000


@dataclass(slots=True)
class Account:
    """What became of every message."""

    read: int = 0
    sent: int = 0
    rejected: int = 0
    trades: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    rejections: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def skip(self, message: Message) -> None:
        self.skipped[message.skipped] += 1
        if message.problem and len(self.problems) < EXAMPLES_MAX:
            self.problems.append(f"line {message.line}: {message.problem}")

    def take(self, commands: Sequence[Command], reply: RequestReply) -> None:
        self.sent += len(commands)
        for event in reply.events:
            if event[0] == TRADE:
                self.trades += 1
            elif event[0] in (REJECTED, CANCEL_REJECTED):
                self.rejected += 1
                self.rejections[event[2]] += 1

    def check(self) -> None:
        """Every message is a command that was answered, or skipped for a reason."""
        skipped = sum(self.skipped.values())
        assert self.read == self.sent + skipped, (self.read, self.sent, skipped)


@click.command("replay")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--format", "form", type=click.Choice(("lobster", "csv", "jsonl")), required=True)
@click.option("--symbol", required=True, help="The instrument to replay into.")
@click.option(
    "--speed",
    type=click.Choice(("max", "1x")),
    default="max",
    show_default=True,
    help="1x keeps the times of the file (lobster).",
)
@click.option("--expect", metavar="DIGEST", help="Exit 6 unless the book ends with this digest.")
@click.option(
    "--nodes",
    "node_names",
    default="all",
    show_default=True,
    metavar="all|N,N",
    help="Send through these nodes in turn.",
)
@network_options
@pass_invocation
def replay(
    invocation: Invocation,
    file: Path,
    form: str,
    symbol: str,
    speed: str,
    expect: str | None,
    node_names: str,
) -> None:
    """Send the order flow in FILE.

    One request after another, and every message is accounted for.

    \b
    lobster  messages of https://lobsterdata.com
    csv      type,client_order_id,side,price,qty     (this header line; types: limit, post_only,
             ioc, fok, market, cancel, amend)
    jsonl    the lines of `raftbook order -`

    The same file into a fresh cluster gives the same digest, whatever nodes it went through.
    """
    invocation.goes_on = True
    if speed == "1x" and form != "lobster":
        raise click.UsageError(f"--speed 1x needs times, and {form} has none")
    with invocation.connect() as client:
        known_spec(client, symbol)
        instruments = client.instruments()
    nodes = _chosen_nodes(invocation, node_names)
    sender = Sender(invocation, nodes, session_key_of(file))
    account = Account()
    began = time.monotonic()
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            messages = messages_of(iter(lines), form, symbol, instruments)
            _send_all(messages, sender, account, pace=Pace() if speed == "1x" else None)
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from None
    finally:
        sender.close()
    seconds = time.monotonic() - began
    account.check()
    digests = _digests(invocation, nodes, sender.entry_index)
    _report(invocation, account, seconds, sender.entry_index, digests, expect)


def session_key_of(file: Path) -> str:
    """One session per file name: the same flow is always sent under the same name."""
    return "replay-" + sha256(file.name.encode()).hexdigest()[:16]


class Sender:
    """Sends requests one after the other, each through the next node.

    Attributes:
        entry_index: where the last answered request stands in the log.
    """

    def __init__(
        self, invocation: Invocation, nodes: Sequence[NodeAddress], session_key: str
    ) -> None:
        self._clients = [
            invocation.connect_to(node, session_key=session_key, timeout_s=ATTEMPT_TIMEOUT_S)
            for node in nodes
        ]
        self._turn = 0
        self._request_seq: int | None = None
        self._is_first = True
        self.entry_index = 0

    def send(self, commands: Sequence[Command]) -> RequestReply:
        """The reply to the next request; through other nodes, under the same number, if need be.

        Raises:
            RaftbookError: no node settled it in time.
        """
        give_up = time.monotonic() + GIVE_UP_S
        while True:
            client = self._clients[self._turn % len(self._clients)]
            self._turn += 1
            try:
                reply = client.request(
                    commands, request_seq=self._request_seq, is_first=self._is_first
                )
            except (NotAccepted, NoNodeReachable, OutcomeUnknown) as error:
                self._prepare_retry(error, give_up)
                continue
            self._request_seq, self._is_first = reply.request_seq + 1, True
            self.entry_index = max(self.entry_index, reply.entry_index)
            return reply

    def _prepare_retry(self, error: RaftbookError, give_up: float) -> None:
        """Keeps the number of a request that may have taken effect; gives up when it is time."""
        is_final = isinstance(error, Refused) and error.code < 900
        if is_final or time.monotonic() >= give_up:
            raise error
        is_unsettled = isinstance(error, NoNodeReachable) or not self._is_first
        if is_unsettled and self._turn % len(self._clients) == 0:
            time.sleep(ROUND_PAUSE_S)  # each node was tried; one that refuses costs no time
        if isinstance(error, OutcomeUnknown):
            if self._request_seq is None and error.request_seq is None:
                raise error
            self._request_seq = self._request_seq or error.request_seq
            self._is_first = False

    def close(self) -> None:
        """The session stays in the log: the same file goes on in it."""
        for client in self._clients:
            try:
                client.close(forget_session=False)
            except RaftbookError:
                pass  # what was sent is settled


def _chosen_nodes(invocation: Invocation, names: str) -> list[NodeAddress]:
    config = invocation.config
    if names == "all":
        return list(config.nodes)
    chosen = []
    for name in names.split(","):
        if not name.strip().isdecimal():
            raise click.UsageError(f"--nodes takes all, or node ids such as 1,3; not {names!r}")
        chosen.append(config.node(int(name)))
    return chosen


def _send_all(
    messages: Iterator[Message],
    sender: Sender,
    account: Account,
    *,
    pace: Pace | None,
) -> None:
    """Sends everything, as fast as it goes or at the pace of the file."""
    progress = Progress()
    gathered: list[Command] = []

    def flush() -> None:
        if gathered:
            account.take(gathered, sender.send(gathered))
            gathered.clear()
            progress.show(f"{account.read} read, {account.sent} sent, {account.trades} trades")

    try:
        for message in messages:
            if pace is not None and (wait_s := pace.wait_s(message)) > 0:
                flush()
                time.sleep(wait_s)
            account.read += 1
            if message.command is None:
                account.skip(message)
                continue
            gathered.append(message.command)
            if len(gathered) >= COMMANDS_PER_REQUEST:
                flush()
        flush()
    finally:
        progress.clear()


class Pace:
    """Keeps the times of a file: the first message is due now, the others as far behind it."""

    def __init__(self) -> None:
        self._start: tuple[float, Decimal] | None = None

    def wait_s(self, message: Message) -> float:
        """How long until a message is due; 0 for one without a time."""
        if message.time_s is None:
            return 0.0
        if self._start is None:
            self._start = (time.monotonic(), message.time_s)
        began, first_s = self._start
        return max(0.0, began + float(message.time_s - first_s) - time.monotonic())


def _digests(
    invocation: Invocation, nodes: Sequence[NodeAddress], index: int
) -> dict[int, str | None]:
    """The digest after the last request, of every node that has one."""
    if not index:
        return {}

    def ask(client: Client) -> str | None:
        answer: dict[str, Any] = client.query("digest", index=index, wait_ms=DIGEST_WAIT_MS)
        digest: str | None = answer["digest"]
        return digest

    answers = ask_all(invocation, ask, nodes=nodes, timeout_s=DIGEST_WAIT_MS / 1000 + 1)
    return {
        node_id: None if isinstance(answer, RaftbookError) else answer
        for node_id, answer in answers.items()
    }


def _report(
    invocation: Invocation,
    account: Account,
    seconds: float,
    entry_index: int,
    digests: dict[int, str | None],
    expect: str | None,
) -> None:
    found = sorted({digest for digest in digests.values() if digest is not None})
    digest = found[0] if len(found) == 1 else None
    document = {
        "read": account.read,
        "sent": account.sent,
        "accepted": account.sent - account.rejected,
        "rejected": account.rejected,
        "skipped": dict(sorted(account.skipped.items())),
        "trades": account.trades,
        "seconds": round(seconds, 3),
        "orders_per_s": round(account.sent / seconds) if seconds else 0,
        "digest": digest,
        "applied_index": entry_index,
    }
    invocation.printer.show(document, table=lambda: _report_text(document))
    for problem in account.problems:
        say(f"skipped {problem}")
    if len(found) > 1:
        said = ", ".join(f"node {node} {digest}" for node, digest in digests.items())
        raise CommandFailed(
            ExitCode.DIFFERENT,
            f"replay: the nodes differ at index {entry_index}: {said}",
            hint="compare them with: raftbook cluster verify",
        )
    if expect is not None and digest != expect:
        raise CommandFailed(
            ExitCode.DIFFERENT,
            f"replay: the digest is {digest}, not {expect}",
            hint="was the cluster fresh, and the file the same?",
        )


def _report_text(document: dict[str, Any]) -> str:
    skipped = ", ".join(f"{reason} {count}" for reason, count in document["skipped"].items())
    return "\n".join(
        (
            f"read      {document['read']}",
            f"sent      {document['sent']}  (accepted {document['accepted']}, "
            f"rejected {document['rejected']})",
            f"skipped   {sum(document['skipped'].values())}{f'  ({skipped})' if skipped else ''}",
            f"trades    {document['trades']}",
            f"time      {document['seconds']} s, {plural(document['orders_per_s'], 'order')}/s",
            f"digest    {document['digest']}  at index {document['applied_index']}"
            if document["applied_index"]
            else "digest    -  (nothing was sent)",
        )
    )
