"""Verbs of the asyncio client about accounts, money and instruments; see `verbs_venue.py`.

Owns their signatures, which are those of `sync_venue.py`. Most are for operators. What is refused
is a result that says so; what took effect is DONE, and its `details` are the named values of the
event.
"""

from __future__ import annotations

from typing import Any, Unpack

from raftbook.client.aio_trading import AsyncTrading
from raftbook.client.values import AccountChanges, Amount, OrderResult
from raftbook.client.venue_views import AccountHead, AccountView, BalanceView, CurrencyView
from raftbook.core import commands as c
from raftbook.core.instrument import InstrumentTerms
from raftbook.core.types import Phase


class AsyncVenue(AsyncTrading):
    """What operators say, and what accounts say of themselves."""

    # -- accounts -----------------------------------------------------------------------------

    async def account(self, name: str = "") -> AccountView:
        """The own account, or for operators another: limits, balances, switches, readers."""
        return await self._drive(self._verbs.account(name))

    async def balances(self, name: str = "") -> dict[str, BalanceView]:
        """Its money by currency."""
        view = await self._drive(self._verbs.account(name))
        return {balance.currency: balance for balance in view.balances}

    async def accounts(self) -> list[AccountHead]:
        """All accounts (operators)."""
        return await self._drive(self._verbs.accounts())

    async def create_account(
        self, name: str, *, is_operator: bool = False, group: str = ""
    ) -> OrderResult:
        """Know an account (operators). Self-trade prevention holds within a group."""
        command = c.create_account(name, is_operator=is_operator, group=group)
        return await self._drive(self._verbs.say(command, None))

    async def set_account(self, name: str, **changes: Unpack[AccountChanges]) -> OrderResult:
        """Change an account and its limits (operators)."""
        return await self._drive(self._verbs.say(c.set_account(name, **changes), None))

    async def kill_switch(self, account: str = "", *, on: bool) -> OrderResult:
        """Let an account, or with an empty name everybody, enter no more orders; or let it again.

        An account may stop itself; the rest is for operators.
        """
        return await self._drive(self._verbs.say(c.set_kill_switch(account=account, on=on), None))

    async def set_api_key(self, key: str, secret: str, *, account: str = "") -> OrderResult:
        """Give an account (by default the own) an API key; an empty secret takes it away."""
        name = account or self._settings.account
        return await self._drive(self._verbs.say(c.set_api_key(name, key, secret), None))

    async def set_drop_copy(self, reader: str, *, on: bool = True) -> OrderResult:
        """Let another account read the own reports, or no longer."""
        return await self._drive(self._verbs.say(c.set_drop_copy(reader, on=on), None))

    # -- money --------------------------------------------------------------------------------

    async def currencies(self) -> dict[str, CurrencyView]:
        """All currencies, by name."""
        return await self._drive(self._verbs.currencies())

    async def create_currency(self, name: str, decimals: int) -> OrderResult:
        """Keep balances in a currency, in units of 10**-decimals (operators)."""
        return await self._drive(self._verbs.say(c.create_currency(name, decimals), None))

    async def deposit(
        self,
        account: str,
        currency: str,
        amount: Amount,
        transfer_id: str,
        *,
        request_seq: int | None = None,
    ) -> OrderResult:
        """Add money to an account (operators).

        Args:
            amount: in the currency.
            transfer_id: the same again adds nothing; empty is never recognised.

        Returns:
            DONE with details account, currency, amount, available (after it) and repeated.
        """
        return await self._drive(
            self._verbs.transfer(
                account,
                currency,
                amount,
                transfer_id=transfer_id,
                is_deposit=True,
                request_seq=request_seq,
            )
        )

    async def withdraw(
        self,
        account: str,
        currency: str,
        amount: Amount,
        transfer_id: str,
        *,
        request_seq: int | None = None,
    ) -> OrderResult:
        """Take available money out of an account (operators); as `deposit`."""
        return await self._drive(
            self._verbs.transfer(
                account,
                currency,
                amount,
                transfer_id=transfer_id,
                is_deposit=False,
                request_seq=request_seq,
            )
        )

    # -- instruments --------------------------------------------------------------------------

    async def list_instrument(
        self, terms: InstrumentTerms, phase: Phase = Phase.CONTINUOUS
    ) -> OrderResult:
        """Add an instrument with all its terms, in ticks and lots (operators)."""
        return await self._drive(self._verbs.say(c.list_instrument(terms, phase), None))

    async def amend_instrument(self, symbol: str, **changes: Any) -> OrderResult:
        """Give an instrument other terms (operators).

        Args:
            changes: fields of `InstrumentTerms`, in ticks and lots; the others stay.
        """
        return await self._drive(self._verbs.amend_instrument(symbol, changes, None))

    async def delete_instrument(self, symbol: str) -> OrderResult:
        """Forget an instrument that is closed and empty (operators)."""
        return await self._drive(self._verbs.say(c.delete_instrument(symbol), None))

    async def set_phase(self, symbol: str, phase: Phase | str) -> OrderResult:
        """Enter a trading phase (operators)."""
        return await self._drive(self._verbs.set_phase(symbol, phase, None))

    async def call_auction(
        self, symbol: str, *, until_ns: int, then: Phase = Phase.CONTINUOUS
    ) -> OrderResult:
        """Begin a call that ends with its auction at a logical time (operators)."""
        command = c.call_auction(symbol, until_ns=until_ns, then=then)
        return await self._drive(self._verbs.say(command, None))

    async def bust_trade(self, symbol: str, trade_id: int) -> OrderResult:
        """Undo a trade that is still remembered (operators)."""
        return await self._drive(self._verbs.say(c.bust_trade(symbol, trade_id), None))

    async def roll_day(self) -> OrderResult:
        """End the trading day: DAY orders expire (operators)."""
        return await self._drive(self._verbs.say(c.roll_day(), None))
