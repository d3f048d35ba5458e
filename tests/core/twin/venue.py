"""What operators do: instruments, currencies, accounts, transfers, switches, busts."""

from decimal import Decimal
from typing import Any

from raftbook.core import events as e
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import Phase, Reject, Side
from tests.core.twin.cancelling import EVERYBODY
from tests.core.twin.forms import sound
from tests.core.twin.judging import burst_of
from tests.core.twin.money import highest_price, worst_fee
from tests.core.twin.pegs import Pegging
from tests.core.twin.state import BIG, SECOND, TwinAccount, TwinInstrument, TwinOrder, TwinTrade

DECIMALS_MAX = 18
RATE_MAX = 1_000_000


class Venue(Pegging):
    # -------------------------------------------------------------------------------- instruments

    def create_instrument(self, command: Any) -> None:
        terms = InstrumentTerms(*command[1:])
        if reason := self.new_terms_reject(terms):
            return self.refuse(command, reason)
        self.add_instrument(terms, tuple(terms)[:13])
        return None

    def list_instrument(self, command: Any) -> None:
        _, *fields, phase = command
        terms = InstrumentTerms(*fields)
        reason = self.new_terms_reject(terms)
        if not reason and (phase not in list(Phase) or phase == Phase.CLOSED):
            reason = Reject.PHASE_FORBIDS
        if reason:
            return self.refuse(command, reason)
        self.add_instrument(terms, tuple(terms))
        if phase != Phase.CONTINUOUS:
            self.change_phase(terms.symbol, phase)
        return None

    def new_terms_reject(self, terms: InstrumentTerms) -> int:
        if not sound(terms):
            return Reject.MALFORMED
        if terms.symbol in self.instruments:
            return Reject.INSTRUMENT_EXISTS
        if len(self.instruments) >= self.limits.instruments_max:
            return Reject.BOOK_FULL
        return self.terms_reject(terms)

    def add_instrument(self, terms: InstrumentTerms, told: tuple[Any, ...]) -> None:
        self.instruments[terms.symbol] = TwinInstrument(terms, self.tick())
        self.public(terms.symbol, e.INSTRUMENT_CREATED, told)

    def amend_instrument(self, command: Any) -> None:
        terms = InstrumentTerms(*command[1:])
        if not sound(terms):
            return self.refuse(command, Reject.MALFORMED)
        if terms.symbol not in self.instruments:
            return self.refuse(command, Reject.UNKNOWN_INSTRUMENT)
        if self.instruments[terms.symbol].auction is not None:
            return self.refuse(command, Reject.PHASE_FORBIDS)
        old = self.instruments[terms.symbol].terms
        if (terms.base, terms.quote, terms.settlement) != (old.base, old.quote, old.settlement):
            return self.refuse(command, Reject.AMEND_NOT_ALLOWED)
        if (terms.tick_size, terms.lot_size) != (old.tick_size, old.lot_size):
            if self.open_in(terms.symbol):
                return self.refuse(command, Reject.INSTRUMENT_NOT_EMPTY)
        if terms.settlement and worst_fee(terms) > worst_fee(old):
            if self.open_in(terms.symbol):
                return self.refuse(command, Reject.INSTRUMENT_NOT_EMPTY)
        if self.version >= 4 and terms.settlement and may_cost_more(terms, old):
            if any(self.beside(terms.symbol, side) for side in Side):
                return self.refuse(command, Reject.INSTRUMENT_NOT_EMPTY)
        if reason := self.terms_reject(terms):
            return self.refuse(command, reason)
        self.instruments[terms.symbol].terms = terms
        self.instruments[terms.symbol].pegs_saw = None
        if self.version >= 4 and sizes(terms) != sizes(old):
            self.instruments[terms.symbol].remembered = []
            self.instruments[terms.symbol].last_price = None
        self.public(terms.symbol, e.INSTRUMENT_AMENDED, tuple(terms))
        return None

    def delete_instrument(self, command: Any) -> None:
        symbol = command[1]
        if symbol not in self.instruments:
            return self.refuse(command, Reject.UNKNOWN_INSTRUMENT)
        if self.instruments[symbol].phase != Phase.CLOSED or self.open_in(symbol):
            return self.refuse(command, Reject.INSTRUMENT_NOT_EMPTY)
        self.public(symbol, e.INSTRUMENT_DELETED, symbol)
        del self.instruments[symbol]
        self.orders = [order for order in self.orders if order.symbol != symbol]
        return None

    def open_in(self, symbol: str) -> list[TwinOrder]:
        return [order for order in self.open_orders() if order.symbol == symbol]

    def set_phase(self, command: Any) -> None:
        _, symbol, phase = command
        first = (Phase.CONTINUOUS, Phase.HALTED, Phase.CANCEL_ONLY, Phase.CLOSED)
        phases = first if self.version < 2 else tuple(Phase)
        if reason := self.phase_change_reject(symbol, phase, phases):
            return self.refuse(command, reason)
        self.change_phase(symbol, phase)
        return None

    def call_auction(self, command: Any) -> None:
        _, symbol, until_ns, then = command
        ends = (Phase.CONTINUOUS, Phase.CLOSED)  # the phases that an auction leads to
        reason = self.phase_change_reject(symbol, then, ends)
        if not reason and until_ns <= self.now_ns:
            reason = Reject.BAD_EXPIRE_TIME
        if reason:
            return self.refuse(command, reason)
        self.begin_call(symbol, until_ns, then)
        return None

    def phase_change_reject(self, symbol: str, phase: int, phases: tuple[int, ...]) -> int:
        if symbol not in self.instruments:
            return Reject.UNKNOWN_INSTRUMENT
        if phase not in phases:
            return Reject.PHASE_FORBIDS
        if self.instruments[symbol].auction is not None:
            return Reject.PHASE_FORBIDS
        if self.instruments[symbol].phase == Phase.CLOSED:
            return Reject.INSTRUMENT_CLOSED
        return Reject.NONE

    # ------------------------------------------------------------------------------------ accounts

    def create_account(self, command: Any) -> None:
        _, name, is_operator, group = command
        if name in ("", EVERYBODY):
            return self.refuse(command, Reject.MALFORMED)
        if name in self.accounts:
            return self.refuse(command, Reject.ACCOUNT_EXISTS)
        if len(self.accounts) >= self.limits.accounts_max:
            return self.refuse(command, Reject.TOO_MANY)
        self.accounts[name] = TwinAccount(name, is_operator, group)
        self.tell_account(name)
        return None

    def set_account(self, command: Any) -> None:
        _, name, enabled, group, *limits = command
        given = [limit for limit in limits if limit is not None]
        rates = [limit for limit in limits[3:] if limit is not None]
        if any(limit < 0 for limit in given) or any(rate > RATE_MAX for rate in rates):
            return self.refuse(command, Reject.MALFORMED)
        if name not in self.accounts:
            return self.refuse(command, Reject.UNKNOWN_ACCOUNT)
        account = self.accounts[name]
        if enabled is not None:
            account.enabled = enabled
        if group is not None:
            account.group = group
        names = (
            "open_orders_max",
            "order_qty_max",
            "order_notional_max",
            "orders_per_s",
            "orders_burst",
        )
        for limit, value in zip(names, limits, strict=True):
            if value is not None:
                setattr(account, limit, value)
        if limits[3] is not None or limits[4] is not None:
            account.tokens = burst_of(account) * SECOND
            account.filled_ns = self.now_ns
        self.tell_account(name)
        return None

    def tell_account(self, name: str) -> None:
        a = self.accounts[name]
        limits = (
            a.open_orders_max,
            a.order_qty_max,
            a.order_notional_max,
            a.orders_per_s,
            a.orders_burst,
        )
        self.private(e.ACCOUNT_CHANGED, name, a.is_operator, a.enabled, a.group, *limits)

    def set_kill_switch(self, own: str, command: Any) -> None:
        _, name, on = command
        may = self.accounts[own].is_operator or (name == own and on)
        if not may:
            return self.refuse(command, Reject.NOT_AUTHORIZED)
        if name and name not in self.accounts:
            return self.refuse(command, Reject.UNKNOWN_ACCOUNT)
        if name:
            self.accounts[name].killed = on
        else:
            self.venue_killed = on
        self.private(e.KILL_SWITCH_SET, name, on)
        return None

    def set_api_key(self, own: str, command: Any) -> None:
        _, name, key, secret = command
        if not key:
            return self.refuse(command, Reject.MALFORMED)
        if name != own and not self.accounts[own].is_operator:
            return self.refuse(command, Reject.NOT_AUTHORIZED)
        if name not in self.accounts:
            return self.refuse(command, Reject.UNKNOWN_ACCOUNT)
        keys = self.accounts[name].api_keys
        if not secret:
            keys.pop(key, None)
        elif any(key in a.api_keys for a in self.accounts.values() if a.name != name):
            return self.refuse(command, Reject.NOT_AUTHORIZED)
        elif key not in keys and len(keys) >= self.limits.api_keys_max:
            return self.refuse(command, Reject.TOO_MANY)
        else:
            keys[key] = secret
        self.private(e.API_KEY_SET, name, key, int(secret != ""))
        return None

    def set_drop_copy(self, own: str, command: Any) -> None:
        _, reader, on = command
        if reader not in self.accounts:
            return self.refuse(command, Reject.UNKNOWN_ACCOUNT)
        readers = self.accounts[own].readers
        if not on:
            self.accounts[own].readers = [name for name in readers if name != reader]
        elif reader not in readers:
            if len(readers) >= self.limits.drop_copies_max:
                return self.refuse(command, Reject.TOO_MANY)
            readers.append(reader)
        self.private(e.DROP_COPY_SET, own, reader, on)
        return None

    # --------------------------------------------------------------------------------------- money

    def create_currency(self, command: Any) -> None:
        _, name, decimals = command
        if not name or not 0 <= decimals <= DECIMALS_MAX:
            return self.refuse(command, Reject.MALFORMED)
        if name in self.currencies:
            return self.refuse(command, Reject.CURRENCY_EXISTS)
        if len(self.currencies) >= self.limits.currencies_max:
            return self.refuse(command, Reject.TOO_MANY)
        self.currencies[name] = decimals
        self.deposited[name] = 0
        self.private(e.CURRENCY_CREATED, name, decimals)
        return None

    def transfer(self, command: Any, sign: int) -> None:
        """A deposit (sign 1) or a withdrawal (sign -1)."""
        _, name, currency, amount, transfer_id = command
        if name not in self.accounts:
            return self.refuse(command, Reject.UNKNOWN_ACCOUNT)
        if currency not in self.currencies:
            return self.refuse(command, Reject.UNKNOWN_CURRENCY)
        if amount <= 0:
            return self.refuse(command, Reject.BAD_AMOUNT)
        account = self.accounts[name]
        for known_id, told in account.transfers:
            if known_id == transfer_id:
                return self.private(e.BALANCE_CHANGED, *told, 1)
        if sign < 0 and amount > account.available.get(currency, 0):
            return self.refuse(command, Reject.INSUFFICIENT_FUNDS)
        if self.deposited[currency] + sign * amount > BIG:
            return self.refuse(command, Reject.OVERFLOW)
        self.deposited[currency] += sign * amount
        self.add(account.available, currency, sign * amount)
        told = (name, currency, sign * amount, account.available[currency], transfer_id)
        if transfer_id:
            account.transfers.append((transfer_id, told))
            account.transfers = account.transfers[-self.limits.transfers_kept :]
        return self.private(e.BALANCE_CHANGED, *told, 0)

    def bust_trade(self, command: Any) -> None:
        _, symbol, trade_id = command
        if symbol not in self.instruments:
            return self.refuse(command, Reject.UNKNOWN_INSTRUMENT)
        known = [t for t in self.instruments[symbol].remembered if t.trade_id == trade_id]
        if not known:
            return self.refuse(command, Reject.UNKNOWN_TRADE)
        trade = known[0]
        if trade.busted:
            return self.refuse(command, Reject.ALREADY_BUSTED)
        trade.busted = True
        self.undo(symbol, trade)
        told = (symbol, trade_id, trade.price, trade.qty, *trade.terms)
        self.public(symbol, e.TRADE_BUSTED, *told)
        return None

    def undo(self, symbol: str, trade: TwinTrade) -> None:
        for terms, fee in zip(trade.terms, trade.fees, strict=True):
            order = self.order_of(terms[0])
            if order is not None:
                order.cum -= trade.qty
                order.notional -= trade.qty * trade.price
                order.canceled += trade.qty
            if self.settles(symbol):
                base_unit, quote_unit = self.units(self.instruments[symbol].terms)
                base, quote = trade.qty * base_unit, trade.qty * trade.price * quote_unit
                side = terms[4][0]
                self.move(terms[1], side, self.instruments[symbol].terms, -base, -quote, -fee)


def sizes(terms: InstrumentTerms) -> tuple[Decimal, Decimal]:
    return Decimal(terms.tick_size), Decimal(terms.lot_size)


def may_cost_more(terms: InstrumentTerms, old: InstrumentTerms) -> bool:
    """Whether a market order that waits for an auction may have to pay more than before."""
    reference = terms.reference_price
    if reference is not None and (old.reference_price is None or reference > old.reference_price):
        return True
    return highest_price(terms) > highest_price(old)
