"""Verbs of the asyncio client about orders and the market; `verbs.py` has what they say.

Owns their signatures, which are those of `sync_trading.py`. How a call waits is `aio.py`'s.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, TypeVar, Unpack

from raftbook.client.base import BaseClient
from raftbook.client.values import (
    Amount,
    Changes,
    Conditions,
    InstrumentSpec,
    OrderPair,
    OrderRequest,
    OrderResult,
)
from raftbook.client.venue_views import AuctionView, CandlesView, FillsView
from raftbook.client.verbs import COMMANDS_PER_REQUEST
from raftbook.client.views import BookView, OrderView, TradesView
from raftbook.core import commands as c
from raftbook.core.types import OrderType, PostOnly, SelfTradePrevention, Side, TimeInForce

_Result = TypeVar("_Result")


class AsyncTrading(BaseClient):
    """Orders, and questions about the market and about own orders."""

    async def _drive(self, steps: Generator[Any, Any, _Result]) -> _Result:
        """Run a verb."""
        raise NotImplementedError

    # -- orders -------------------------------------------------------------------------------

    async def submit(
        self,
        symbol: str,
        side: Side | str,
        qty: Amount | None = None,
        price: Amount | None = None,
        *,
        ord_type: OrderType | None = None,
        time_in_force: TimeInForce | None = None,
        post_only: bool | PostOnly = False,
        self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE,
        client_order_id: str = "",
        request_seq: int | None = None,
        **conditions: Unpack[Conditions],
    ) -> OrderResult:
        """Send one order; fields and conditions as in `OrderRequest`, errors as of `request`.

        A price off the ticks, a quantity off the lots and an unknown symbol are refused without
        asking a node: as an OrderResult with entry_index 0.
        """
        order = OrderRequest(
            symbol,
            side,
            qty,
            price,
            ord_type,
            time_in_force,
            post_only,
            self_trade_prevention,
            client_order_id,
            **conditions,
        )
        return await self._drive(self._verbs.submit(order, request_seq))

    async def submit_many(
        self,
        orders: Iterable[OrderRequest],
        *,
        commands_per_request: int = COMMANDS_PER_REQUEST,
    ) -> list[OrderResult]:
        """Send many orders in requests of so many; the results in the same order.

        Raises as `request` only if none of the orders can have taken effect. Else the orders whose
        request brought no reply have ord_status UNKNOWN (with the request_seq to repeat) or
        NOT_ACCEPTED, and the others their results.
        """
        return await self._drive(self._verbs.submit_many(orders, commands_per_request))

    async def submit_oco(
        self,
        order: OrderRequest,
        *,
        stop_limit_price: Amount | None = None,
        stop_client_order_id: str = "",
        updates: bool = False,
        request_seq: int | None = None,
    ) -> OrderResult:
        """Send a limit order and a stop of which one ends the other.

        Args:
            order: the limit order, and with its stop_price, trail or trail_bps the stop.
            stop_limit_price: the limit of the stop once it fires; None is the market.
            stop_client_order_id: your own name for the stop.
            updates: what the limit order trades is taken off the stop, which else ends.

        Returns:
            The limit order's result, with the stop's as `stop_leg`.
        """
        pair = OrderPair(order, stop_limit_price, stop_client_order_id, updates)
        return await self._drive(self._verbs.submit_pair(pair, request_seq))

    async def submit_oto(
        self,
        order: OrderRequest,
        pending: OrderRequest | OrderPair,
        *,
        request_seq: int | None = None,
    ) -> OrderResult:
        """Send an order, and another one or a pair that is entered once it is filled.

        Returns:
            The first order's result, with those of the others as `pending`.
        """
        return await self._drive(self._verbs.submit_oto(order, pending, request_seq))

    async def cancel(
        self, *, order_id: int = 0, client_order_id: str = "", request_seq: int | None = None
    ) -> OrderResult:
        """Cancel one own order, by our id or, when that is 0, by yours."""
        return await self._drive(self._verbs.cancel(order_id, client_order_id, request_seq))

    async def amend(
        self,
        *,
        order_id: int = 0,
        client_order_id: str = "",
        symbol: str = "",
        request_seq: int | None = None,
        **changes: Unpack[Changes],
    ) -> OrderResult:
        """Change one own open order, whether it rests or waits.

        Args:
            symbol: the order's instrument; saves asking for it.
            changes: qty (the new total, what has traded included), price, stop_price, trail or
                trail_bps, display_qty, expire_time_ns; what is left out stays.
        """
        return await self._drive(
            self._verbs.amend(
                order_id=order_id,
                client_order_id=client_order_id,
                symbol=symbol,
                request_seq=request_seq,
                **changes,
            )
        )

    async def cancel_replace(
        self,
        order: OrderRequest,
        *,
        order_id: int = 0,
        client_order_id: str = "",
        or_place: bool = False,
        request_seq: int | None = None,
    ) -> OrderResult:
        """Cancel one own order and enter another, in one step: both happen, or neither.

        Args:
            order: the new order.
            order_id, client_order_id: the one that it replaces.
            or_place: enter the new one even if there is nothing to cancel any more.

        Returns:
            The new order's result, with the old one's as `replaced`.
        """
        return await self._drive(
            self._verbs.cancel_replace(
                order,
                order_id=order_id,
                client_order_id=client_order_id,
                or_place=or_place,
                request_seq=request_seq,
            )
        )

    async def mass_cancel(
        self,
        symbol: str = "",
        *,
        side: Side | str | None = None,
        session_id: int = 0,
        account: str = "",
        price_low: Amount | None = None,
        price_high: Amount | None = None,
        request_seq: int | None = None,
    ) -> OrderResult:
        """Cancel every open order that fits all that is given; of the own account by default.

        Args:
            session_id: only orders that were entered through this session.
            account: another one, or "*" for all; for operators.
            price_low, price_high: limit prices from and to, both included; needs a symbol.

        Returns:
            DONE, with details: canceled (how many at once), more (whether the rest goes on
            by itself, with the next entries).
        """
        return await self._drive(
            self._verbs.mass_cancel(
                account=account,
                session_id=session_id,
                symbol=symbol,
                side=side,
                price_low=price_low,
                price_high=price_high,
                request_seq=request_seq,
            )
        )

    async def attach_session(
        self,
        *,
        cancel_on_disconnect: bool,
        lease_ms: int = 0,
        request_seq: int | None = None,
    ) -> OrderResult:
        """Say that this session's orders shall end when this connection does.

        Args:
            lease_ms: also when nothing was heard of the session for so long; 0 is never.

        Returns:
            DONE, with details: session_id, epoch. After a reconnect say it again.
        """
        command = c.attach_session(cancel_on_disconnect=cancel_on_disconnect, lease_ms=lease_ms)
        return await self._drive(self._verbs.say(command, request_seq))

    # -- questions ----------------------------------------------------------------------------

    async def instruments(self) -> dict[str, InstrumentSpec]:
        """Every instrument, by symbol."""
        return await self._drive(self._verbs.instruments())

    async def book(
        self,
        symbol: str,
        depth: int = 10,
        *,
        orders: bool = False,
        at_least: int | None = None,
        linearizable: bool = False,
        max_age_ms: int | None = None,
    ) -> BookView:
        """A book as the node has it; of icebergs what the market sees.

        Args:
            depth: levels per side, 0 for all.
            orders: also each resting order.
            at_least: wait until the node has applied this entry index: reads your own writes.
            linearizable: wait for everything that was answered before this call, anywhere.
            max_age_ms: refuse when the node last heard of a leader longer ago; by default the
                cluster's read_age_max_ms.

        Raises:
            Refused: UNKNOWN_INSTRUMENT, or TOO_STALE: waiting took too long, or it is too old.
        """
        return await self._drive(
            self._verbs.book(
                symbol,
                depth,
                orders=orders,
                at_least=at_least,
                linearizable=linearizable,
                max_age_ms=max_age_ms,
            )
        )

    async def trades(self, symbol: str, limit: int = 20) -> TradesView:
        """The last trades, at most `limit`."""
        return await self._drive(self._verbs.trades(symbol, limit))

    async def candles(self, symbol: str, width: str = "minute", limit: int = 100) -> CandlesView:
        """The last candles of one width: "minute", "hour" or "day"."""
        return await self._drive(self._verbs.candles(symbol, width, limit))

    async def auction(self, symbol: str) -> AuctionView:
        """The price and volume at which an auction would trade now."""
        return await self._drive(self._verbs.auction(symbol))

    async def fills(self, symbol: str, limit: int = 100, *, account: str = "") -> FillsView:
        """Own sides of the remembered trades of an instrument; operators may name an account."""
        return await self._drive(self._verbs.fills(symbol, limit, account))

    async def order(self, *, order_id: int = 0, client_order_id: str = "") -> OrderView:
        """One own order, open or closed and still remembered.

        Raises:
            Refused: UNKNOWN_ORDER.
        """
        return await self._drive(self._verbs.order(order_id, client_order_id))

    async def orders(
        self, symbol: str | None = None, *, open_only: bool = True, limit: int = 1000
    ) -> list[OrderView]:
        """Own orders, the newest `limit` of one instrument or of all, eldest first."""
        return await self._drive(self._verbs.orders(symbol, open_only=open_only, limit=limit))
