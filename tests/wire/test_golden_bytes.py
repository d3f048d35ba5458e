"""The bytes of every message, entry and header as they were first released, and every number.

A difference here means that nodes or clients of two versions no longer understand each other, or
that a log or snapshot on a disk can no longer be read. REWRITE_GOLDEN=1 writes new files and new
numbers; it refuses to change a number that is there.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from raftbook.core import commands, events, types
from raftbook.replica.messages import check_message
from raftbook.storage.snapshot_header import decode_header, encode_header
from raftbook.wire import client_messages, entry, peer_session
from raftbook.wire.client_messages import read_message
from raftbook.wire.entry import pack_check, pack_entry, pack_request, unpack_check, unpack_entry
from raftbook.wire.packing import pack, unpack
from raftbook.wire.peer_session import Acceptor, Dialer, PeerCard
from tests.wire.samples import (
    CLIENT_MESSAGES,
    COMMANDS,
    EVENTS,
    LEADER_COMMANDS,
    LEADER_EVENTS,
    NEW_COMMANDS,
    NEW_EVENTS,
    PEER_MESSAGES,
    SNAPSHOT_HEADER,
)

FOLDER = Path(__file__).parents[1] / "golden" / "wire"
REWRITE = os.environ.get("REWRITE_GOLDEN") == "1"

ALL_COMMANDS = COMMANDS | NEW_COMMANDS | LEADER_COMMANDS
ALL_EVENTS = EVENTS | NEW_EVENTS | LEADER_EVENTS
_REQUEST = (12, 41, tuple(COMMANDS.values()))
_TIME_NS = 1_767_225_600_000_000_000


def _handshake() -> dict[str, bytes]:
    """The four frames of the peer port, told by fixed nonces."""
    secret, genesis = b"s" * 16, "00112233445566778899aabbccddeeff"
    dialer = Dialer(secret, PeerCard("demo-1", genesis, 1, "11" * 16, 1), 2, b"d" * 32)
    acceptor = Acceptor(secret, PeerCard("demo-1", genesis, 2, "22" * 16, 1), b"a" * 32)
    frames = {"HELLO": dialer.hello()}
    challenge = acceptor.receive(frames["HELLO"]).send
    assert challenge is not None
    proof = dialer.receive(challenge).send
    assert proof is not None
    welcome = acceptor.receive(proof).send
    assert welcome is not None
    assert dialer.receive(welcome).peer is not None
    return frames | {"CHALLENGE": challenge, "PROOF": proof, "WELCOME": welcome}


SAMPLES: dict[str, tuple[Any, bytes]] = {
    **{f"client-{name}": (value, pack(value)) for name, value in CLIENT_MESSAGES.items()},
    **{f"command-{name}": (value, pack(value)) for name, value in ALL_COMMANDS.items()},
    **{f"event-{name}": (value, pack(value)) for name, value in ALL_EVENTS.items()},
    **{f"peer-{name}": (value, pack(value)) for name, value in PEER_MESSAGES.items()},
    **{f"handshake-{name}": (unpack(raw), raw) for name, raw in _handshake().items()},
    "request": (_REQUEST, pack_request(*_REQUEST)),
    "entry": (
        (_TIME_NS, (_REQUEST, (0, 9, ()))),
        pack_entry(_TIME_NS, [pack_request(*_REQUEST), pack_request(0, 9, ())]),
    ),
    "check": (
        (12_870, {1: "9f" * 16, 2: "9f" * 16, 3: "a0" * 16}),
        pack_check(12_870, {3: "a0" * 16, 1: "9f" * 16, 2: "9f" * 16}),
    ),
    "snapshot-header": (SNAPSHOT_HEADER, encode_header(SNAPSHOT_HEADER)),
}


def _file(name: str) -> Path:
    return FOLDER / f"{name.replace(' ', '-')}.hex"


def _text(value: Any, payload: bytes) -> str:
    """The value as a comment, then its bytes, 32 in a line; a run of zero lines is one `*`."""
    lines = [f"# {value!r}"]
    for start in range(0, len(payload), 32):
        piece = payload[start : start + 32]
        is_gap = not any(piece) and start and start + 32 < len(payload)
        line = "*" if is_gap else f"{start:04x}  {piece.hex(' ', -4)}"
        if line != "*" or lines[-1] != "*":
            lines.append(line)
    return "\n".join(lines) + "\n"


def _bytes(text: str) -> bytes:
    payload = b""
    for line in text.splitlines()[1:]:
        if line != "*":
            place, _, digits = line.partition("  ")
            payload = payload.ljust(int(place, 16), b"\0") + bytes.fromhex(digits)
    return payload


@pytest.mark.parametrize("name", SAMPLES)
def test_bytes_are_those_of_the_golden_file(name: str) -> None:
    value, payload = SAMPLES[name]
    file = _file(name)
    if REWRITE:
        FOLDER.mkdir(parents=True, exist_ok=True)
        file.write_text(_text(value, payload))
    assert file.exists(), f"{file.name} is missing; REWRITE_GOLDEN=1 writes it"
    assert _text(value, payload) == file.read_text()


def test_every_golden_file_has_its_sample() -> None:
    assert sorted(file.name for file in FOLDER.glob("*.hex")) == sorted(
        _file(name).name for name in SAMPLES
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_golden_bytes_are_still_read(name: str) -> None:
    value, _ = SAMPLES[name]
    payload = _bytes(_file(name).read_text())
    if name.startswith("client-"):
        assert read_message(payload) == value
    elif name.startswith("peer-"):
        assert check_message(unpack(payload)) == value
    elif name == "entry":
        found = unpack_entry(3, payload)
        assert (found.time_ns, found.requests) == value
    elif name == "check":
        assert unpack_check(payload) == value
    elif name == "snapshot-header":
        assert decode_header(payload) == value
    else:
        assert unpack(payload) == value


def test_every_command_and_event_is_among_the_samples() -> None:
    kinds = {kind for kind, _ in _constants(commands) if kind != "NO_SESSION"}
    assert {name.partition(" ")[0] for name in ALL_COMMANDS} == kinds
    assert {name.partition(" ")[0] for name in ALL_EVENTS} == {
        kind for kind, _ in _constants(events) if kind != "UNASKED"
    }
    assert set(CLIENT_MESSAGES) | {"PROTOCOL_VERSION"} == {
        kind for kind, _ in _constants(client_messages)
    }


# -- numbers --------------------------------------------------------------------------------------


def _constants(module: Any) -> list[tuple[str, int]]:
    """The numbers a module itself defines, by name."""
    # The source, which stands beside a compiled module too.
    own = Path(module.__file__).with_name(f"{module.__name__.rpartition('.')[2]}.py").read_text()
    return [
        (name, value)
        for name, value in vars(module).items()
        if name.isupper() and type(value) is int and f"\n{name}: Final = " in own
    ]


def _numbers() -> dict[str, int]:
    numbers: dict[str, int] = {}
    for module in (commands, events, client_messages, entry):
        short = module.__name__.rpartition(".")[2]
        numbers |= {f"{short}.{name}": value for name, value in _constants(module)}
    numbers["peer_session.VERSION"] = peer_session.VERSION
    for enumeration in (
        types.Side,
        types.OrderType,
        types.TimeInForce,
        types.PostOnly,
        types.TrailUnit,
        types.TriggerBy,
        types.PegReference,
        types.Settlement,
        types.SelfTradePrevention,
        types.Phase,
        types.OrdStatus,
        types.Reject,
    ):
        numbers |= {f"{enumeration.__name__}.{one.name}": int(one) for one in enumeration}
    return numbers


def test_numbers_are_only_ever_appended() -> None:
    file = FOLDER / "numbers.txt"
    kept = {}
    if file.exists():
        kept = {name: int(number) for name, number in map(str.split, file.read_text().splitlines())}
    now = _numbers()
    assert {name: now.get(name) for name in kept} == kept, "a released number changed or is gone"
    if REWRITE:
        lines = [f"{name} {number}" for name, number in (kept | now).items()]
        file.write_text("\n".join(lines) + "\n")
        kept |= now
    assert set(now) == set(kept), "new numbers; REWRITE_GOLDEN=1 appends them"
