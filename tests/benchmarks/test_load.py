"""The closed loop counts what was answered within the time, and nothing else."""

import asyncio

import pytest

from benchmarks.rivals.load import closed_loop, orders, payloads, percentiles_ms


class Clock:
    """Moves only when something is sent."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_one_caller_is_counted_after_the_warm_up() -> None:
    clock = Clock()
    numbers: list[int] = []

    async def send(caller: int, number: int) -> None:
        numbers.append(number)
        clock.now += 0.125

    found = asyncio.run(closed_loop(send, callers=1, orders_per_call=10, seconds=4.0, clock=clock))
    # Warm-up to 1.0: the answers at 0.125 to 0.875 are not counted; those at 1.0 to 4.875 are 32.
    # The last one comes at 5.0, which is the end.
    assert numbers == list(range(40))
    assert found["orders_per_s"] == 32 * 10 / 4
    assert found["latency_ms"] == {"p50": 125.0, "p99": 125.0}


def test_every_caller_waits_for_its_own_answer() -> None:
    clock = Clock()
    under_way = 0
    most = 0

    async def send(caller: int, number: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        clock.now += 0.125
        under_way -= 1

    asyncio.run(closed_loop(send, callers=5, orders_per_call=1, seconds=2.0, clock=clock))
    assert most == 5


def test_a_send_that_raises_ends_the_loop() -> None:
    async def send(caller: int, number: int) -> None:
        raise OSError("the server is gone")

    async def loop() -> str:
        with pytest.raises(ExceptionGroup) as raised:
            await closed_loop(send, callers=2, orders_per_call=1, seconds=1.0)
        return str(raised.value.exceptions[0])

    assert asyncio.run(loop()) == "the server is gone"


def test_percentiles_of_a_hundred_and_of_none() -> None:
    assert percentiles_ms([n / 1_000 for n in range(100)]) == {"p50": 50.0, "p99": 99.0}
    assert percentiles_ms([]) == {"p50": None, "p99": None}


def test_everybody_gets_the_same_orders() -> None:
    assert orders(2) == orders(3)[:2]
    assert payloads(1) == [b'{"symbol":"BTC-USD","side":2,"qty":2,"price":10005}']
