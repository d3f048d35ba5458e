"""Who owns what, from events alone: the money that deposits, trades, fees and busts have moved.

What is held and what is available cannot be told apart here; their sum can, and so can the fees.
"""

from decimal import Decimal

from raftbook.core import events as e
from raftbook.core.events import Event
from raftbook.core.exchange import Genesis
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import Side

FEE_UNIT = 100_000


class Purse:
    """Balances by (account, currency), and the fees taken in each currency."""

    def __init__(self, genesis: Genesis) -> None:
        self.decimals: dict[str, int] = dict(genesis.currencies)
        self.balances: dict[tuple[str, str], int] = {}
        self.fees: dict[str, int] = {}
        self.deposited: dict[str, int] = {}
        self._terms = {terms.symbol: terms for terms in genesis.instruments}
        self._trades: dict[tuple[str, int], tuple[int, int]] = {}
        self._fee_of: dict[int, tuple[int, int]] = {}  # order_id: (amount x rate, charged)
        for account, currency, amount in genesis.deposits:
            self._add(account, currency, amount)
            self.deposited[currency] = self.deposited.get(currency, 0) + amount

    def read(self, event: Event) -> None:
        kind = event[0]
        if kind == e.CURRENCY_CREATED:
            self.decimals[event[2]] = event[3]
        elif kind in (e.INSTRUMENT_CREATED, e.INSTRUMENT_AMENDED):
            self._terms[event[2][0]] = InstrumentTerms(*event[2])
        elif kind == e.INSTRUMENT_DELETED:
            del self._terms[event[2]]
        elif kind == e.BALANCE_CHANGED:
            self._transfer(event)
        elif kind in (e.TRADE, e.AUCTION_TRADE):
            self._trade(event)
        elif kind == e.TRADE_BUSTED:
            self._bust(event)

    def check(self) -> None:
        """Assert that nothing came from nowhere and nothing was lost."""
        for currency in self.decimals:
            owned = sum(amount for (_, of), amount in self.balances.items() if of == currency)
            total = owned + self.fees.get(currency, 0)
            assert total == self.deposited.get(currency, 0), f"{currency}: {total}"

    def owned(self, account: str, currency: str) -> int:
        return self.balances.get((account, currency), 0)

    def _add(self, account: str, currency: str, amount: int) -> None:
        self.balances[account, currency] = self.owned(account, currency) + amount

    def _transfer(self, event: Event) -> None:
        _, _, account, currency, amount, available, _, repeated = event
        if repeated:
            return
        self._add(account, currency, amount)
        self.deposited[currency] = self.deposited.get(currency, 0) + amount
        assert available <= self.owned(account, currency), event
        assert amount > 0 or available >= 0, f"more was withdrawn than was available: {event}"

    def _amounts(self, terms: InstrumentTerms, price: int, qty: int) -> tuple[int, int]:
        """Minor units of base and of quote that a trade moves."""
        lots = qty * Decimal(terms.lot_size)
        base = lots * 10 ** self.decimals[terms.base]
        quote = price * Decimal(terms.tick_size) * lots * 10 ** self.decimals[terms.quote]
        assert base == int(base) and quote == int(quote), f"not whole: {terms}"
        return int(base), int(quote)

    def _trade(self, event: Event) -> None:
        kind, _, trade_id, price, qty, maker, _, _, _, taker, _, _, _, *extras = event
        terms = self._terms[maker[3]]
        if not terms.settlement:
            assert extras[:2] in ([], [0, 0]), f"a fee where nothing settles: {event}"
            return
        assert len(extras) == 4, f"what settles tells its fees: {event}"
        rates = (terms.maker_fee, terms.maker_fee if kind == e.AUCTION_TRADE else terms.taker_fee)
        base, quote = self._amounts(terms, price, qty)
        for order, fee, rate in zip((maker, taker), extras[:2], rates, strict=True):
            due, charged = self._fee_of.get(order[0], (0, 0))
            due, charged = due + quote * rate, charged + fee
            assert charged == -(-due // FEE_UNIT), f"the fees of {order} do not add up: {event}"
            self._fee_of[order[0]] = (due, charged)
            self._move(terms, order, base, quote, fee)
        self._trades[maker[3], trade_id] = tuple(extras[:2])

    def _bust(self, event: Event) -> None:
        _, _, symbol, trade_id, price, qty, *both = event
        terms = self._terms[symbol]
        if not terms.settlement:
            return
        base, quote = self._amounts(terms, price, qty)
        for order, fee in zip(both, self._trades[symbol, trade_id], strict=True):
            self._move(terms, order, -base, -quote, -fee)

    def _move(self, terms: InstrumentTerms, order: Event, base: int, quote: int, fee: int) -> None:
        sign = 1 if order[4][0] == Side.BUY else -1
        self._add(order[1], terms.base, sign * base)
        self._add(order[1], terms.quote, -sign * quote - fee)
        self.fees[terms.quote] = self.fees.get(terms.quote, 0) + fee
