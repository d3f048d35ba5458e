"""`Client`: the verbs of a client for programs that block. SKELETON, body follows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Callable, Iterable, Mapping, Sequence
from typing import Any

from raftbook.client.values import Amount, InstrumentSpec, OrderRequest, OrderResult, RequestReply
from raftbook.client.views import BookView, OrderView, TradesView
from raftbook.core.commands import Command
from raftbook.core.types import OrderType, SelfTradePrevention, Side, TimeInForce


class Client:
    def __init__(
        self,
        nodes: Sequence[tuple[str, int]],
        *,
        account: str = "",
        secret: str = "",
        session_key: str = "",
        client_name: str = "python",
        timeout_s: float = 5.0,
        request_attempt_timeout_s: float = 2.5,
        rng: random.Random | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> None: ...

    def __enter__(self) -> Client: ...
    def __exit__(self, *exc_info: object) -> None: ...
    def connect(self) -> None: ...
    def close(self, *, forget_session: bool | None = None) -> None: ...
    @property
    def node(self) -> int: ...  # id of the node connected to, 0 if none
    @property
    def session_key(self) -> str: ...
    @property
    def is_operator(self) -> bool: ...
    def request(
        self, commands: Sequence[Command], *, request_seq: int | None = None
    ) -> RequestReply: ...
    def submit(
        self,
        symbol: str,
        side: Side | str,
        qty: Amount,
        price: Amount | None = None,
        *,
        ord_type: OrderType | None = None,
        time_in_force: TimeInForce | None = None,
        post_only: bool = False,
        self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE,
        client_order_id: str = "",
        request_seq: int | None = None,
    ) -> OrderResult: ...
    def submit_many(
        self, orders: Iterable[OrderRequest], *, commands_per_request: int = 100
    ) -> list[OrderResult]: ...
    def cancel(
        self, *, order_id: int = 0, client_order_id: str = "", request_seq: int | None = None
    ) -> OrderResult: ...
    def amend(
        self,
        *,
        order_id: int = 0,
        client_order_id: str = "",
        symbol: str = "",  # whose ticks and lots; asked for when left out
        qty: Amount | None = None,
        price: Amount | None = None,
        request_seq: int | None = None,
    ) -> OrderResult: ...
    def instruments(self) -> dict[str, InstrumentSpec]: ...  # by symbol
    def book(
        self,
        symbol: str,
        depth: int = 10,
        *,
        orders: bool = False,
        at_least: int | None = None,
        linearizable: bool = False,
    ) -> BookView: ...
    def trades(self, symbol: str, limit: int = 20) -> TradesView: ...
    def status(self) -> dict[str, Any]: ...  # as in docs/PROTOCOL.md
    def order(self, *, order_id: int = 0, client_order_id: str = "") -> OrderView: ...
    def orders(
        self, symbol: str | None = None, *, open_only: bool = True, limit: int = 1000
    ) -> list[OrderView]: ...
    def query(self, name: str, **arguments: Any) -> Any: ...
    # Raises Refused (a NotAccepted with .code, .reject_name) when a node answers FAILURE.
    def subscribe(self, name: str, **arguments: Any) -> Iterator[Any]: ...

    # sync: an iterator with .next(timeout_s) -> value | None and .close(); raw push values
