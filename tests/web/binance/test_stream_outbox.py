"""What waits for a subscriber: all of it in order, or the end of the connection."""

import asyncio

import pytest

from raftbook.web.binance.stream_outbox import WRITE_BYTES, Outbox, Rounds
from raftbook.web.websocket import POLICY, text_frame


class FakeWire:
    """A wire that remembers what was written."""

    def __init__(self) -> None:
        self.is_full = False
        self.on_room = lambda: None
        self.writes: list[bytes] = []
        self.ended: tuple[int, str] | None = None

    def write(self, frames: bytes) -> None:
        assert self.ended is None
        self.writes.append(frames)

    def end(self, code: int, reason: str) -> None:
        self.ended = (code, reason)


async def _rounds() -> None:
    for _ in range(5):
        await asyncio.sleep(0.001)


def test_all_of_one_round_goes_in_one_write_to_each() -> None:
    async def scene() -> None:
        rounds, wires = Rounds(), [FakeWire() for _ in range(200)]
        outboxes = [Outbox(wire, rounds, "x", 1 << 20) for wire in wires]
        for number in range(3):
            for outbox in outboxes:
                outbox.put(b"%d" % number)
        while any(not wire.writes for wire in wires):
            await asyncio.sleep(0)
        assert all(wire.writes == [b"012"] for wire in wires)

    asyncio.run(scene())


def test_whoever_does_not_read_gets_the_rest_in_order_once_it_does() -> None:
    async def scene() -> None:
        wire = FakeWire()
        outbox = Outbox(wire, Rounds(), "x", 100)
        wire.is_full = True
        outbox.put(b"a")
        outbox.put(b"b")
        await _rounds()
        assert wire.writes == []
        wire.is_full = False
        wire.on_room()
        await _rounds()
        assert wire.writes == [b"ab"]

    asyncio.run(scene())


def test_whoever_reads_too_slowly_is_dropped_and_served_no_gap(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene() -> None:
        wire, other = FakeWire(), FakeWire()
        rounds = Rounds()
        slow, quick = Outbox(wire, rounds, "10.0.0.1:5", 100), Outbox(other, rounds, "y", 100)
        wire.is_full = True
        for number in range(150):
            slow.put(b"%d" % (number % 10))
            quick.put(b"%d" % (number % 10))
            await asyncio.sleep(0)
        await _rounds()
        assert wire.ended is not None and wire.ended[0] == POLICY
        assert wire.writes == []
        assert b"".join(other.writes) == b"0123456789" * 15
        assert other.ended is None

    asyncio.run(scene())
    assert "subscriber 10.0.0.1:5 reads too slowly" in caplog.text


def test_a_long_queue_lets_others_have_their_turn() -> None:
    async def scene() -> None:
        order: list[str] = []
        rounds = Rounds()

        class Told(FakeWire):
            def __init__(self, name: str) -> None:
                super().__init__()
                self.name = name

            def write(self, frames: bytes) -> None:
                order.append(self.name)

        long, short = (Outbox(Told(name), rounds, name, 1 << 30) for name in ("long", "short"))
        for _ in range(3):
            long.put(bytes(WRITE_BYTES))
        short.put(b"x")
        while len(order) < 4:
            await asyncio.sleep(0.001)
        assert order == ["long", "short", "long", "long"]

    asyncio.run(scene())


def test_the_end_comes_behind_what_can_be_written() -> None:
    async def scene() -> None:
        wire = FakeWire()
        outbox = Outbox(wire, Rounds(), "x", 1 << 20)
        outbox.put(b"a")
        outbox.finish(1012, "go")
        outbox.put(b"b")
        await _rounds()
        assert (wire.writes, wire.ended) == ([b"a"], (1012, "go"))

    asyncio.run(scene())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 70_000])
def test_a_frame_is_what_a_websocket_reads(size: int) -> None:
    from websockets.frames import Opcode
    from websockets.protocol import CLIENT, Protocol

    reader = Protocol(CLIENT, state=1, max_size=1 << 20)
    reader.receive_data(text_frame(b"x" * size))
    (frame,) = reader.events_received()
    assert (frame.opcode, frame.fin, frame.data) == (Opcode.TEXT, True, b"x" * size)


def test_writing_leaves_the_loop_four_fifths_of_its_time() -> None:
    """Counted: between two rounds the loop turns; what came meanwhile goes in one write."""

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        rounds, wires = Rounds(), [FakeWire() for _ in range(3)]
        outboxes = [Outbox(wire, rounds, "x", 1 << 20) for wire in wires]

        def time() -> float:
            return now

        loop.time = time  # type: ignore[method-assign]
        for outbox in outboxes:
            outbox.put(b"a")
        write = wires[0].write

        def slow_write(frames: bytes) -> None:
            nonlocal now
            now += 0.001
            write(frames)

        wires[0].write = slow_write  # type: ignore[method-assign]
        await asyncio.sleep(0)
        assert [wire.writes for wire in wires] == [[b"a"]] * 3
        outboxes[1].put(b"b")
        for _ in range(5):
            await asyncio.sleep(0)
        outboxes[1].put(b"c")
        assert wires[1].writes == [b"a"]
        now += 0.0039
        await asyncio.sleep(0)
        assert wires[1].writes == [b"a"]
        now += 0.0002
        for _ in range(3):
            await asyncio.sleep(0)
        assert wires[1].writes == [b"a", b"bc"]

    asyncio.run(scene())
