"""ws-api: the methods that let a connection hear the events of accounts.

Owns the subscriptions of one connection and their numbers. Every event names its subscription:

    {"subscriptionId": 0, "event": {"e": "executionReport", ...}}
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from raftbook.web.binance.door import Door
from raftbook.web.binance.faults import Fault, bad_key, crowded, invalid, unavailable
from raftbook.web.binance.keys import signed_text, signer
from raftbook.web.binance.params import json_text, params_of_json
from raftbook.web.binance.stream_watch import StreamWatch
from raftbook.web.binance.user_hub import UserHub
from raftbook.web.binance.ws_api import ApiConnection, Method

SUBSCRIPTIONS_MAX: Final = 100
"""Of one connection."""
_STATE: Final = "user streams"
_NO_SESSION: Final = (
    "This connection is not logged on; use userDataStream.subscribe.signature, which needs no "
    "session."
)


class UserStreams:
    """The subscriptions of one connection."""

    def __init__(self, connection: ApiConnection, hub: UserHub) -> None:
        self._connection, self._hub = connection, hub
        self._numbers = count()
        self.by_number: dict[int, _Subscription] = {}
        connection.on_close.append(self.end)

    def begin(self, account: str) -> int:
        """Listen to an account; the number of the subscription.

        Raises:
            Fault: there are too many.
        """
        if len(self.by_number) >= SUBSCRIPTIONS_MAX:
            raise crowded(f"At most {SUBSCRIPTIONS_MAX} subscriptions of a connection.")
        number = next(self._numbers)
        subscription = _Subscription(self._connection, number, account)
        self.by_number[number] = subscription
        self._hub.add(account, subscription)
        return number

    def end(self, number: int | None = None) -> None:
        """End a subscription, or all of them."""
        for each in list(self.by_number) if number is None else [number]:
            subscription = self.by_number.pop(each)
            self._hub.remove(subscription.account, subscription)


class _Subscription:
    """A `user_hub.UserListener`."""

    def __init__(self, connection: ApiConnection, number: int, account: str) -> None:
        self._connection, self.account = connection, account
        self._head = f'{{"subscriptionId":{number},"event":'

    def hear_event(self, event: str) -> None:
        self._connection.push(f"{self._head}{event}}}")

    def end(self, code: int, reason: str) -> None:
        self._connection.end(code, reason)


def methods(door: Door, hub: UserHub, watch: StreamWatch) -> Mapping[str, Method]:
    """What is added to ws-api."""

    def streams_of(connection: ApiConnection) -> UserStreams:
        if _STATE not in connection.state:
            connection.state[_STATE] = UserStreams(connection, hub)
        streams: UserStreams = connection.state[_STATE]
        return streams

    async def subscribe_signed(connection: ApiConnection, params: dict[str, Any]) -> Any:
        key = params.get("apiKey")
        account = signer(
            door.exchange,
            door.context.secrets,
            None if key is None else json_text(key),
            params_of_json(params),
            signed_text(params),
            door.now_ms(),
        )
        if watch.refusal is not None:
            raise unavailable(watch.refusal)
        return {"subscriptionId": streams_of(connection).begin(account.name)}

    async def subscribe(connection: ApiConnection, params: dict[str, Any]) -> Any:
        fault = bad_key()
        raise Fault(fault.status, fault.code, _NO_SESSION)

    async def unsubscribe(connection: ApiConnection, params: dict[str, Any]) -> Any:
        streams = streams_of(connection)
        number = params_of_json(params).integer("subscriptionId")
        if number is not None and number not in streams.by_number:
            raise invalid("subscriptionId")
        streams.end(number)
        return {}

    async def subscriptions(connection: ApiConnection, params: dict[str, Any]) -> Any:
        return [{"subscriptionId": number} for number in streams_of(connection).by_number]

    return {
        "userDataStream.subscribe.signature": subscribe_signed,
        "userDataStream.subscribe": subscribe,
        "userDataStream.unsubscribe": unsubscribe,
        "session.subscriptions": subscriptions,
    }
