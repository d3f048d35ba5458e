"""Any frames, in any order, while a market goes on: each gets its one answer, and nothing stays."""

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftbook.web.binance.listen_keys import ListenKeys
from raftbook.web.binance.stream_control import METHODS
from raftbook.web.binance.stream_outbox import Outbox, Rounds
from raftbook.web.binance.streams import StreamConnection
from raftbook.web.throttle import MESSAGES_BURST
from tests.core.flow import EFFORT
from tests.web.binance.stream_market import Node, market_entries, payload_of
from tests.web.binance.test_stream_outbox import FakeWire

KEYS = ListenKeys(b"the secret of this cluster")
KEY = KEYS.key_for("a", 0)
NAMES = st.sampled_from(
    [
        *(
            f"{name}@{what}"
            for name in ("oilusd", "gasusd", "nobody")
            for what in ("depth", "depth@100ms", "depth5", "trade", "aggTrade", "bookTicker",
                         "ticker", "miniTicker", "kline_1m", "kline_1M", "nothing")
        ),
        "!ticker@arr", "!miniTicker@arr", KEY, "", "@",
    ]
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
REQUESTS = st.fixed_dictionaries(
    {"method": st.sampled_from(METHODS), "id": st.integers(0, 9)},
    optional={"params": st.lists(NAMES, max_size=5) | st.just(["combined", True]) | ANYTHING},
)
FRAMES = (REQUESTS | ANYTHING).map(json.dumps) | st.text(max_size=60) | st.none()


@given(st.integers(0, 2**32), st.lists(FRAMES, max_size=MESSAGES_BURST))
@settings(max_examples=60 * EFFORT, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_frame_gets_its_one_answer(seed: int, frames: list[str | None]) -> None:
    async def scene() -> None:
        node, wire = Node(), FakeWire()
        entries = market_entries(node.exchange, seed)
        node.apply(next(entries))
        outbox = Outbox(wire, Rounds(), "x", 1 << 24)
        told: list[Any] = []
        outbox.put = lambda frame: told.append(json.loads(payload_of(frame)))  # type: ignore[method-assign]
        connection = StreamConnection(
            node.hub, node.users, lambda key: KEYS.account_of(key, 0), outbox, is_combined=False
        )
        for frame in frames:
            told.clear()
            connection.say(frame)
            answers = [each for each in told if set(each) in ({"result", "id"}, {"error", "id"})]
            assert len(answers) == 1
            assert told[0] is answers[0], "an update came before the confirmation"
            for _ in range(3):
                node.apply(next(entries))
            node.time_passes()
        assert wire.ended is None or wire.ended[0] == 1012  # an instrument may go
        connection.closed()
        assert not node.users.has_listeners()
        assert not node.hub._stalls and not node.hub._wide

    asyncio.run(scene())
