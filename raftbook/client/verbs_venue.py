"""Verbs about accounts, money, instruments and sessions, written once for both clients.

Owns which command says it and how its answer reads. Amounts of money are decimals of their
currency; an account's limits are lots and tick-lots, since they hold for all instruments.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from raftbook.client.rejects import Refused
from raftbook.client.steps import KnownInstruments, Query, rejected
from raftbook.client.units import Amount, decimal, minor_units, money
from raftbook.client.values import OrderResult
from raftbook.client.venue_views import (
    AccountHead,
    AccountView,
    CurrencyView,
    account_head,
    currency_view,
)
from raftbook.core import commands as c
from raftbook.core.commands import Command
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import Phase, Reject
from raftbook.errors import ProtocolError
from raftbook.wire import pages

Answer = Generator[Any, Any, OrderResult]


class VenueVerbs(KnownInstruments):
    """What operators say, and what accounts say of themselves."""

    # -- accounts and money -------------------------------------------------------------------

    def account(self, name: str) -> Generator[Any, Any, AccountView]:
        """One account: the own one without a name."""
        return AccountView.from_wire((yield Query("account", {"account": name or None})))

    def accounts(self) -> Generator[Any, Any, list[AccountHead]]:
        """All accounts, page by page."""
        heads: list[AccountHead] = []
        while True:
            value = yield Query("accounts", {"from": len(heads)})
            try:
                page = [account_head(each) for each in value["accounts"]]
            except (KeyError, TypeError) as error:
                raise ProtocolError(f"no accounts: {value!r:.200}") from error
            heads += page
            if len(page) < pages.ACCOUNT_ROWS:
                return heads

    def currencies(self) -> Generator[Any, Any, dict[str, CurrencyView]]:
        """All currencies, by name."""
        value = yield Query("currencies", {})
        try:
            views = [currency_view(row) for row in value["currencies"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"no currencies: {value!r:.200}") from error
        return {view.name: view for view in views}

    def transfer(
        self,
        account: str,
        currency: str,
        amount: Amount,
        *,
        transfer_id: str,
        is_deposit: bool,
        request_seq: int | None,
    ) -> Answer:
        """Put money into an account, or take it out."""
        known = yield from self.currencies()
        if currency not in known:
            names = ", ".join(list(known)[:20]) or "none"
            text = f"There is no currency {currency!r}; there are: {names}."
            return rejected(OrderResult(), Reject.UNKNOWN_CURRENCY, text)
        decimals = known[currency].decimals
        units = minor_units(decimal(amount), decimals)
        if units is None:
            text = f"{currency} has {decimals} decimals: {decimal(amount):f} cannot be said in it."
            return rejected(OrderResult(), Reject.BAD_AMOUNT, text)
        make = c.deposit if is_deposit else c.withdraw
        result = yield from self._command(make(account, currency, units, transfer_id), request_seq)
        told = {
            name: money(result.details[name], decimals)
            for name in ("amount", "available")
            if name in result.details
        }
        return replace(result, details={**result.details, **told})

    # -- instruments --------------------------------------------------------------------------

    def amend_instrument(
        self, symbol: str, changes: dict[str, Any], request_seq: int | None
    ) -> Answer:
        """Give an instrument other terms; those that are not named stay."""
        yield from self.instruments()
        spec = self.specs.get(symbol)
        if spec is None:
            raise Refused(Reject.UNKNOWN_INSTRUMENT, "", doing=symbol)
        now = {name: spec.raw[name] for name in InstrumentTerms._fields if name in spec.raw}
        terms = InstrumentTerms(**{**now, **changes})
        result = yield from self._command(c.amend_instrument(terms), request_seq)
        yield from self.instruments()
        return result

    def set_phase(self, symbol: str, phase: Phase | str, request_seq: int | None) -> Answer:
        """Enter a trading phase."""
        named = Phase[phase.upper()] if isinstance(phase, str) else Phase(phase)
        return (yield from self._command(c.set_phase(symbol, named), request_seq))

    def say(self, command: Command, request_seq: int | None) -> Answer:
        """One command of the venue, as it is."""
        return (yield from self._command(command, request_seq))
