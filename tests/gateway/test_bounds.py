"""Whatever a client asks, and however slowly it reads: what the node keeps for it is bounded."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raftbook.client.depth import DepthBook
from raftbook.client.refresh import PagedBook
from raftbook.client.subscription import DepthPosition
from raftbook.core import commands as c
from raftbook.core.types import Reject, Side, TimeInForce
from raftbook.wire import client_messages as m
from raftbook.wire import pages
from raftbook.wire.packing import pack
from tests.feed.feed_book import FeedBook
from tests.gateway.door import BOUNDS, Caller, Door, at_the_door

BUY = c.new_order("A", Side.BUY, 1, 1)
SMALL_BUFFER = replace(BOUNDS, buffer_bytes_max=40_000)


async def _fill(
    caller: Caller, session: int, orders: int, first_seq: int = 1, *, prices: int = 7
) -> int:
    """So many resting bids at so many prices; the next free request_seq."""
    seq = first_seq
    for start in range(0, orders, 50):
        count = min(50, orders - start)
        numbers = range(start, start + count)
        commands = [c.new_order("A", Side.BUY, 1, -(n % prices)) for n in numbers]
        caller.say(m.REQUEST, session, seq, commands)
        assert (await caller.hear())[-1][0] == m.REPLY
        seq += 1
    return seq


# -- long answers ---------------------------------------------------------------------------------


def test_a_long_reply_is_told_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "EVENTS", 10)

    async def scene(door: Door) -> None:
        alice, op = door.caller(), door.caller()
        session = await alice.open("alice")
        await _fill(alice, session, 25)
        theirs = await op.open("op")
        sweep = c.new_order("A", Side.SELL, 25, -9, time_in_force=TimeInForce.IOC)
        for poss_dup in (0, 1):  # again: the same pages
            op.say(m.REQUEST, theirs, 1, (sweep,))
            *parts, reply = await op.hear()
            assert [part[:3] for part in parts] == [(m.REPLY_PAGE, theirs, 1)] * 2
            assert [len(part[3]) for part in parts] == [10, 10]
            assert reply[0] == m.REPLY
            events = [event for part in parts for event in part[3]] + list(reply[7])
            assert [event[0] for event in events] == [1, *[3] * 25]
            assert {event[5][1] for event in events[1:]} == {""}, "a counterparty is named"
            assert reply[8] == poss_dup
        short = await op.ask(m.REQUEST, theirs, 2, (BUY,))
        assert short[0] == m.REPLY

    at_the_door(tmp_path, scene)


def test_a_book_beyond_every_buffer_reaches_a_slow_reader_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 3000 orders are 30 KB and the buffer is 10: what waits is made when it can be written.
    monkeypatch.setattr(pages, "BOOK_ORDERS", 100)
    bounds = replace(BOUNDS, buffer_bytes_max=10_000)

    async def scene(door: Door) -> None:
        alice, reader = door.caller(), door.caller()
        session = await alice.open("alice")
        seq = await _fill(alice, session, 3_000, prices=500)
        await reader.greet()
        reader.transport.is_full = True
        reader.say(m.SUBSCRIBE, 1, "feed", {"symbol": "A"})
        values: list[Any] = []
        # The market goes on while the book is read, a little at a time.
        for number in range(40):
            await reader.connection_round()
            values += [push[2] for push in await reader.glance() if push[0] == m.PUSH]
            mine = [c.cancel_order(order_id=1 + number), c.new_order("A", Side.BUY, 2, -250)]
            alice.say(m.REQUEST, session, seq + number, mine)
            await alice.hear()
        values += [push[2] for push in await reader.hear() if push[0] == m.PUSH]
        assert not reader.transport.was_aborted
        assert reader.transport.most < bounds.buffer_bytes_max
        told = [value[1] for value in values if value[0] == "refresh"]
        assert [page["page"] for page in told] == list(range(1, len(told) + 1))
        assert len({page["feed_seq"] for page in told}) > 3, "the market stood still"
        coming = PagedBook()
        for page in told:
            coming.add_page(page)
        book = FeedBook()
        for value in values[len(told) :]:
            if coming.is_whole:
                if not book.refreshes:
                    book.take(("refresh", coming.view()))
                book.take(value)  # asserts that feed_seq goes on without a gap
            else:
                coming.take(value)
        now = {"symbol": "A", "depth": 0, "orders": True}
        assert book.same_as(door.server.queries.answer("book", now, None))

    at_the_door(tmp_path, scene, bounds=bounds)


def test_a_reader_that_the_market_overtakes_begins_anew_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pages, "BOOK_ORDERS", 50)
    bounds = replace(BOUNDS, buffer_bytes_max=4_000)

    async def scene(door: Door) -> None:
        alice, reader = door.caller(), door.caller()
        session = await alice.open("alice")
        seq = await _fill(alice, session, 1_000, prices=500)
        await reader.greet()
        reader.transport.is_full = True
        reader.say(m.SUBSCRIBE, 1, "feed", {"symbol": "A"})
        begun = 0
        while not reader.transport.was_aborted:
            await reader.connection_round()
            for message in await reader.glance():
                begun += message[0] == m.PUSH and message[2][1]["page"] == 1
            alice.say(m.REQUEST, session, seq, [BUY] * 15)  # more than is kept
            await alice.hear()
            seq += 1
        assert begun == 3

    with caplog.at_level(logging.WARNING):
        at_the_door(tmp_path, scene, bounds=bounds, feed_kept=10)
    assert "the market in A is faster than its reader, connection dropped" in caplog.text


def test_price_levels_beyond_every_buffer_reach_a_slow_reader_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "LEVEL_ROWS", 20)
    bounds = replace(BOUNDS, buffer_bytes_max=4_000)

    async def scene(door: Door) -> None:
        alice, reader = door.caller(), door.caller()
        session = await alice.open("alice")
        seq = await _fill(alice, session, 1_000, prices=500)
        await reader.greet()
        reader.transport.is_full = True
        reader.say(m.SUBSCRIBE, 1, "depth", {"symbol": "A"})
        values: list[Any] = []
        for number in range(30):
            await reader.connection_round()
            values += [push[2] for push in await reader.glance() if push[0] == m.PUSH]
            mine = [c.cancel_order(order_id=1 + number), c.new_order("A", Side.BUY, 2, -250)]
            alice.say(m.REQUEST, session, seq + number, mine)
            await alice.hear()
        values += [push[2] for push in await reader.hear() if push[0] == m.PUSH]
        assert not reader.transport.was_aborted
        assert reader.transport.most < bounds.buffer_bytes_max
        told = [value[1] for value in values if value[0] == "refresh"]
        assert len({page["feed_seq"] for page in told}) > 1, "the market stood still"
        position, book = DepthPosition({"symbol": "A"}), DepthBook("A")
        assert [book.take(position.take(value)) for value in values][-1]
        view = door.server.queries.answer("book", {"symbol": "A", "depth": 0}, None)
        assert (book.bids(9_999), book.asks(9_999)) == (view["bids"], view["asks"])

    at_the_door(tmp_path, scene, bounds=bounds)


@pytest.mark.parametrize("name", ["feed", "depth", "top"])
def test_whoever_does_not_read_the_market_is_dropped(tmp_path: Path, name: str) -> None:
    bounds = replace(BOUNDS, buffer_bytes_max=4_000)

    async def scene(door: Door) -> None:
        alice, reader = door.caller(), door.caller()
        session = await alice.open("alice")
        await reader.greet()
        await reader.subscribe(name, symbol="A")
        reader.transport.is_full = True
        reader.connection.pause_writing()
        for seq in range(1, 1_000):
            alice.say(m.REQUEST, session, seq, [c.new_order("A", Side.BUY, 1, seq)])
            await alice.hear()
            if reader.transport.was_aborted:
                break
        assert reader.transport.was_aborted
        assert seq > 10
        assert not alice.is_closed

    at_the_door(tmp_path, scene, bounds=bounds)


def test_history_is_told_as_it_is_read(tmp_path: Path) -> None:
    bounds = replace(BOUNDS, buffer_bytes_max=15_000)

    async def scene(door: Door) -> None:
        op = door.caller()
        session = await op.open("op")
        await _fill(op, session, 1_000)
        for name in ("entries", "reports", "feed"):
            reader = door.caller()
            await reader.greet("op")
            reader.transport.is_full = True
            begin = {"symbol": "A", "from_seq": 1} if name == "feed" else {"from_index": 0}
            _, *told = await reader.subscribe(name, **begin)
            assert reader.transport.most < bounds.buffer_bytes_max
            assert len(told) == 1_000 if name == "feed" else len(told) >= 20
            assert sum(len(pack(value)) for value in told) > bounds.buffer_bytes_max
            reader.hang_up()

    at_the_door(tmp_path, scene, bounds=bounds)


def test_a_long_entry_is_pushed_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "EVENTS", 10)

    async def scene(door: Door) -> None:
        alice, entries, reports = door.caller(), door.caller(), door.caller()
        session = await alice.open("alice")
        await entries.greet("op")
        await reports.greet("alice")
        await entries.subscribe("entries")
        await reports.subscribe("reports")
        for seq in (1, 2, 3):  # one entry, three requests
            alice.say(m.REQUEST, session, seq, (BUY,) * 12)
        await alice.hear()
        told = await entries.pushes()
        assert [value[4:] for value in told] == [(page, 4) for page in (1, 2, 3, 4)]
        runs = [(reply[1], reply[3], len(reply[4])) for value in told for reply in value[3]]
        assert runs == [(1, 0, 10), (1, 10, 2), (2, 12, 8), (2, 20, 4), (3, 24, 6), (3, 30, 6)]
        own = await reports.pushes()
        assert [(value[5], value[3], len(value[6])) for value in own] == [
            (1, 0, 10), (1, 10, 2), (2, 12, 10), (2, 22, 2), (3, 24, 10), (3, 34, 2),
        ]  # fmt: skip
        answer = await entries.query("events", limit=1)
        assert (list(answer["entries"]), answer["next"]) == (told[:1], (told[0][0], 2))
        index, page = answer["next"]
        rest = []
        while True:
            answer = await entries.query("events", from_index=index, from_page=page, limit=1)
            rest += answer["entries"]
            if answer["next"] is None:
                break
            index, page = answer["next"]
        assert rest == told[1:]

    at_the_door(tmp_path, scene)


def test_lists_are_cut_and_say_where_they_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ORDER_ROWS", 4)
    monkeypatch.setattr(pages, "INSTRUMENT_ROWS", 1)

    async def scene(door: Door) -> None:
        alice = door.caller()
        session = await alice.open("alice")
        await _fill(alice, session, 10)
        await alice.ask(m.REQUEST, session, 99, (c.cancel_order(order_id=9),))
        told: list[list[int]] = []
        before = None
        while True:
            value = await alice.query("orders", limit=10, before=before, open_only=True)
            told.append([order["terms"][0] for order in value["orders"]])
            before = value["before"]
            if before is None:
                break
        assert told == [[6, 7, 8, 10], [2, 3, 4, 5], [1]]
        value = await alice.query("orders", limit=2)
        assert [order["terms"][0] for order in value["orders"]] == [9, 10]
        assert (await alice.query("orders", limit=0))["orders"] == ()
        names = [await alice.query("instruments", **{"from": place}) for place in (0, 1, 2)]
        assert [[row["symbol"] for row in value] for value in names] == [["A"], ["B"], []]

    at_the_door(tmp_path, scene)


def test_no_page_is_longer_than_the_smallest_buffer() -> None:
    """The longest rows there can be: ids of 64 characters, integers of 9 bytes."""
    long, big = "x" * 64, -(2**63)
    terms = (big, long, long, long, (1, 1, 1, 1, 1), big, big)
    trade = (3, *[big] * 4, terms, *[big] * 3, terms, *[big] * 3)
    entry = (big, big, big, [(big, big, big, big, [trade], 0)] * pages.EVENTS, big, big)
    order = {"terms": terms, "leaves_qty": big, "cum_qty": big, "cum_notional": big}
    levels, orders = [(big, big, 2**32 - 1)] * pages.ROWS_MAX, [(big, big, big)] * pages.ROWS_MAX
    assert pages.BOOK_ORDERS < pages.ROWS_MAX
    instrument = dict.fromkeys(["qty_max", "price_min", "price_max", "band_low", "band_high"], big)
    instrument |= dict.fromkeys(["notional_max", "collar", "reference_price", "feed_seq"], big)
    instrument |= dict.fromkeys(["symbol", "base", "quote", "tick_size", "lot_size"], long)
    instrument |= {"phase": 4, "last_price": big, "resting_orders": big}
    for page in (
        entry,
        [{**order, "resting": True}] * pages.ORDER_ROWS,
        [instrument] * pages.INSTRUMENT_ROWS,
        {"bids": levels, "asks": levels, "bid_orders": orders, "ask_orders": orders},
        [(*[big] * 7, 2)] * pages.ROWS_MAX,  # trades
        (*[big] * 4, [(1, big, big, 2**32 - 1)] * pages.LEVEL_ROWS, big, 1, big),  # a delta
    ):
        assert len(pack(page)) < pages.FRAME_BYTES_MAX


# -- requests -------------------------------------------------------------------------------------


def test_requests_that_wait_are_bounded_in_bytes(tmp_path: Path) -> None:
    bounds = replace(BOUNDS, buffer_bytes_max=3_000)

    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        door.commits = False
        size = len(pack((session, 1, (BUY,) * 40)))
        most = bounds.buffer_bytes_max // size
        for seq in range(1, 31):
            caller.say(m.REQUEST, session, seq, (BUY,) * 40)
            caller.say(m.REQUEST, session, 1, (BUY,) * 40)  # again: it waits once
        refused = await caller.hear()
        assert {answer[3] for answer in refused} == {Reject.OVERLOADED}
        assert [answer[2] for answer in refused] == list(range(most + 1, 31))
        assert all("at most 3000 bytes of a client wait" in answer[4] for answer in refused)
        door.commits = True
        door.turns()
        assert [answer[0] for answer in await caller.hear()] == [m.REPLY] * most
        assert (await caller.ask(m.REQUEST, session, 30, (BUY,) * 40))[0] == m.REPLY

    at_the_door(tmp_path, scene, bounds=bounds)


def test_replies_that_nobody_reads_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raftbook.gateway.requests.REQUESTS_MAX", 8)

    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        caller.transport.is_full = True
        caller.connection.pause_writing()
        for seq in range(1, 21):
            caller.say(m.REQUEST, session, seq, (BUY,))
            await caller.connection_round()
        assert door.replica.machine.exchange.last_order_id == 8
        caller.connection.resume_writing()
        told = await caller.hear()
        replies = [answer for answer in told if answer[0] == m.REPLY]
        refused = [answer for answer in told if answer[0] == m.REFUSED]
        assert [answer[2] for answer in replies] == list(range(1, 9))
        assert [answer[2:4] for answer in refused] == [
            (seq, Reject.OVERLOADED) for seq in range(9, 21)
        ]
        assert (await caller.ask(m.REQUEST, session, 9, (BUY,)))[0] == m.REPLY

    at_the_door(tmp_path, scene)


def test_a_request_that_waits_already_is_never_said_to_have_no_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. A connection brings a request and is lost; 2. another, which is full, brings it again;
    3. the request takes effect."""
    monkeypatch.setattr("raftbook.gateway.requests.REQUESTS_MAX", 8)

    async def scene(door: Door) -> None:
        lost, other = door.caller(), door.caller()
        session = await lost.open("alice")
        assert await other.open("alice") == session
        door.commits = False
        lost.say(m.REQUEST, session, 1, (BUY,))
        assert await lost.hear() == []
        lost.hang_up()
        for seq in range(2, 10):
            other.say(m.REQUEST, session, seq, (BUY,))
        crowd = "at most 8 requests of a connection wait for their reply"
        again = await other.ask(m.REQUEST, session, 1, (BUY,))
        assert again[:4] == (m.REFUSED, session, 1, Reject.OUTCOME_UNKNOWN)
        assert again[4].startswith(f"{crowd}; this request waits for the log already")
        new = await other.ask(m.REQUEST, session, 10, (BUY,))
        assert new == (m.REFUSED, session, 10, Reject.OVERLOADED, crowd)
        door.commits = True
        door.turns()
        assert [reply[2] for reply in await other.hear()] == list(range(2, 10))
        assert door.replica.machine.exchange.last_order_id == 9
        reply = await other.ask(m.REQUEST, session, 1, (BUY,))
        assert (reply[0], reply[8]) == (m.REPLY, 1), "the original reply"

    at_the_door(tmp_path, scene)


# -- slow readers ---------------------------------------------------------------------------------


def test_answers_wait_until_the_client_has_read_the_others(tmp_path: Path) -> None:
    # All of them at once are more than the buffer holds; asked for and read, none is too much.
    async def scene(door: Door) -> None:
        alice, reader = door.caller(), door.caller()
        await _fill(alice, await alice.open("alice"), 1_000)
        await reader.greet()
        reader.transport.is_full = True
        for ref in range(20):
            reader.say(m.QUERY, ref, "book", {"symbol": "A", "depth": 0, "orders": True})
        answers = await reader.hear()
        assert sorted(answer[1] for answer in answers) == list(range(20))
        assert {answer[0] for answer in answers} == {m.RESULT}
        assert sum(len(pack(answer)) for answer in answers) > 2 * SMALL_BUFFER.buffer_bytes_max
        assert reader.transport.most < SMALL_BUFFER.buffer_bytes_max

    at_the_door(tmp_path, scene, bounds=SMALL_BUFFER)


def test_a_client_that_speaks_but_never_reads_is_dropped_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet()
        caller.transport.is_full = True
        caller.connection.pause_writing()
        caller.say(m.PING, 1)
        stalled_at = caller.connection._outbox.stalled_at
        assert stalled_at is not None
        caller.connection._look_at_silence()
        assert not caller.is_closed
        caller.connection._outbox.stalled_at = stalled_at - BOUNDS.idle_timeout_s
        caller.connection._look_at_silence()
        assert caller.transport.was_aborted

    with caplog.at_level(logging.WARNING):
        at_the_door(tmp_path, scene)
    assert "client 127.0.0.1:50000 does not read, connection dropped" in caplog.text


def test_replies_are_packed_while_the_client_reads_and_wait_as_they_are_while_not(
    tmp_path: Path,
) -> None:
    bounds = replace(BOUNDS, buffer_bytes_max=12_000)

    async def scene(door: Door) -> None:
        caller = door.caller()
        session = await caller.open("alice")
        outbox = caller.connection._outbox
        caller.transport.is_full = True
        for seq in range(1, 41):  # 40 replies of some 1.7 KB
            caller.say(m.REQUEST, session, seq, (BUY,) * 30)
            await caller.connection_round()
        assert caller.connection._requests._unwritten > 30
        assert outbox._queued_bytes < bounds.buffer_bytes_max
        assert caller.transport.most < bounds.buffer_bytes_max
        replies = await caller.hear()
        assert [reply[2] for reply in replies] == list(range(1, 41))
        assert caller.connection._requests._unwritten == 0
        caller.transport.is_full = False
        assert (await caller.ask(m.REQUEST, session, 41, (BUY,)))[2] == 41

    at_the_door(tmp_path, scene, bounds=bounds)


def test_whoever_has_hung_up_and_reads_nothing_is_dropped(tmp_path: Path) -> None:
    bounds = replace(BOUNDS, handshake_timeout_s=0.05, idle_timeout_s=0.1)

    async def scene(door: Door) -> None:
        caller = door.caller()
        await caller.greet()
        caller.transport.is_full = True
        caller.say(m.PING, 1)
        await caller.connection_round()
        caller.transport.close()  # as asyncio does at the end of what a client sends
        await caller.until(lambda: caller.transport.was_aborted)

    at_the_door(tmp_path, scene, bounds=bounds)
