"""What queries of accounts, money and the past answer, with decimals.

Owns the reading of these values. A view is what one node had at its applied_index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from raftbook.client.units import InstrumentSpec, money, phase_name, side_name
from raftbook.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class CurrencyView:
    """A currency. `fees` and `supply` are None for whoever is no operator.

    Attributes:
        decimals: a minor unit is 10**-decimals of it.
        fees: what trades have paid to the venue.
        supply: deposits less withdrawals.
    """

    name: str
    decimals: int
    fees: Decimal | None
    supply: Decimal | None


@dataclass(frozen=True, slots=True)
class BalanceView:
    """Money of an account in one currency; what is held is promised to open orders."""

    currency: str
    decimals: int
    available: Decimal
    held: Decimal

    @property
    def total(self) -> Decimal:
        """All of it."""
        return self.available + self.held


@dataclass(frozen=True, slots=True)
class AccountHead:
    """An account among others."""

    account: str
    is_operator: bool
    enabled: bool
    killed: bool
    group: str
    open_orders: int


@dataclass(frozen=True, slots=True)
class AccountView:
    """One account.

    Attributes:
        killed, venue_killed: its own kill switch, and that of everybody.
        limits: by name as in `commands.set_account`; 0 is none. Lots and tick-lots, as they are
            the same for all instruments.
        readers: accounts that may read its reports.
        api_keys: names of its API keys; nobody is told a secret.
    """

    account: str
    is_operator: bool
    enabled: bool
    killed: bool
    venue_killed: bool
    group: str
    limits: Mapping[str, int]
    balances: tuple[BalanceView, ...]
    readers: tuple[str, ...]
    api_keys: tuple[str, ...]
    open_orders: int
    applied_index: int

    @classmethod
    def from_wire(cls, value: Mapping[str, Any]) -> AccountView:
        """Read the value of an `account` query.

        Raises:
            ProtocolError: it is none.
        """
        try:
            head = account_head(value)
            return cls(
                account=head.account,
                is_operator=head.is_operator,
                enabled=head.enabled,
                killed=head.killed,
                venue_killed=bool(value["venue_killed"]),
                group=head.group,
                limits=dict(value["limits"]),
                balances=tuple(_balance(row) for row in value["balances"]),
                readers=tuple(value["readers"]),
                api_keys=tuple(value["api_keys"]),
                open_orders=head.open_orders,
                applied_index=value["applied_index"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"no account: {value!r:.200}") from error


@dataclass(frozen=True, slots=True)
class Candle:
    """One interval of trading; intervals without trades are left out.

    Attributes:
        open_ns: when it begins, nanoseconds since 1970 UTC, a multiple of its width.
        qty: in base; quote_qty: what was paid, in quote.
        taker_qty, taker_quote_qty: of trades whose taker bought.
    """

    open_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    qty: Decimal
    quote_qty: Decimal
    trades: int
    taker_qty: Decimal
    taker_quote_qty: Decimal


@dataclass(frozen=True, slots=True)
class CandlesView:
    """The last candles of one width, eldest first."""

    symbol: str
    width: str
    applied_index: int
    candles: tuple[Candle, ...]

    @classmethod
    def from_wire(cls, value: Mapping[str, Any], spec: InstrumentSpec) -> CandlesView:
        """Read the value of a `candles` query.

        Raises:
            ProtocolError: it is none.
        """
        try:
            rows = tuple(_candle(row, spec) for row in value["candles"])
            return cls(spec.symbol, value["width"], value["applied_index"], rows)
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"no candles: {value!r:.200}") from error


@dataclass(frozen=True, slots=True)
class AuctionView:
    """What the auction of a call would do now.

    Attributes:
        price: None if nothing would trade, or there is no call.
        volume: what would trade. imbalance: buys less sells at that price.
        call_until_ns: when logical time ends the call; None for one without end.
        call_then: name of the phase after it, None likewise.
    """

    symbol: str
    phase: str
    price: Decimal | None
    volume: Decimal
    imbalance: Decimal
    call_until_ns: int | None
    call_then: str | None
    feed_seq: int
    applied_index: int

    @classmethod
    def from_wire(cls, value: Mapping[str, Any], spec: InstrumentSpec) -> AuctionView:
        """Read the value of an `auction` query.

        Raises:
            ProtocolError: it is none.
        """
        try:
            price, then = value["price"], value["call_then"]
            return cls(
                symbol=spec.symbol,
                phase=phase_name(value["phase"]),
                price=None if price is None else spec.price(price),
                volume=spec.qty(value["volume"]),
                imbalance=spec.qty(value["imbalance"]),
                call_until_ns=value["call_until_ns"],
                call_then=None if then is None else phase_name(then),
                feed_seq=value["feed_seq"],
                applied_index=value["applied_index"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"no auction: {value!r:.200}") from error


@dataclass(frozen=True, slots=True)
class Fill:
    """One side of a trade, as the account that it belongs to sees it.

    Attributes:
        liquidity: "maker", "taker" or "auction".
        fee: in quote, below 0 for a rebate; None where no money moves.
        busted: an operator has undone the trade.
    """

    trade_id: int
    price: Decimal
    qty: Decimal
    time_ns: int
    entry_index: int
    side: str
    liquidity: str
    order_id: int
    client_order_id: str
    fee: Decimal | None
    busted: bool


@dataclass(frozen=True, slots=True)
class FillsView:
    """Fills of one account among the remembered trades of an instrument, eldest first."""

    symbol: str
    account: str
    applied_index: int
    fills: tuple[Fill, ...]

    @classmethod
    def from_wire(cls, value: Mapping[str, Any], spec: InstrumentSpec) -> FillsView:
        """Read the value of a `fills` query.

        Raises:
            ProtocolError: it is none.
        """
        try:
            rows = tuple(_fill(row, spec) for row in value["fills"])
            return cls(spec.symbol, value["account"], value["applied_index"], rows)
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"no fills: {value!r:.200}") from error


def account_head(value: Mapping[str, Any]) -> AccountHead:
    """One of the `accounts` query."""
    return AccountHead(
        account=value["account"],
        is_operator=bool(value["operator"]),
        enabled=bool(value["enabled"]),
        killed=bool(value["killed"]),
        group=value["group"],
        open_orders=value["open_orders"],
    )


def currency_view(row: Sequence[Any]) -> CurrencyView:
    """One of the `currencies` query."""
    name, decimals, fees, supply = row
    return CurrencyView(
        name,
        decimals,
        None if fees is None else money(fees, decimals),
        None if supply is None else money(supply, decimals),
    )


def _balance(row: Sequence[Any]) -> BalanceView:
    currency, decimals, available, held = row
    return BalanceView(currency, decimals, money(available, decimals), money(held, decimals))


def _candle(row: Sequence[int], spec: InstrumentSpec) -> Candle:
    open_ns, first, high, low, close, qty, notional, count, taker_qty, taker_notional = row
    return Candle(
        open_ns,
        spec.price(first),
        spec.price(high),
        spec.price(low),
        spec.price(close),
        spec.qty(qty),
        spec.notional(notional),
        count,
        spec.qty(taker_qty),
        spec.notional(taker_notional),
    )


def _fill(row: Sequence[Any], spec: InstrumentSpec) -> Fill:
    trade_id, price, qty, time_ns, index, side, liquidity, order_id, name, fee, busted = row
    return Fill(
        trade_id,
        spec.price(price),
        spec.qty(qty),
        time_ns,
        index,
        side_name(side),
        liquidity,
        order_id,
        name,
        None if fee is None else spec.money(fee),
        bool(busted),
    )
