"""Commands of operators, and of accounts about themselves: accounts, money, switches, days.

Owns what they do and who may say them; `listing.py` has those about instruments. Every function
takes (exchange, session, command, events) and tells what happened in `events`; each is validated
whole before anything changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raftbook.core.accounts import Account, Guard
from raftbook.core.aftermath import look_all
from raftbook.core.chores import end_days
from raftbook.core.commands import Command, without_secret
from raftbook.core.events import (
    ACCOUNT_CHANGED,
    API_KEY_SET,
    BALANCE_CHANGED,
    CURRENCY_CREATED,
    DAY_ROLLED,
    DROP_COPY_SET,
    KILL_SWITCH_SET,
    REJECTED,
    Event,
)
from raftbook.core.form import form_error
from raftbook.core.ledger import DECIMALS_MAX
from raftbook.core.sessions import Session
from raftbook.core.types import INT64_MAX, Reject

if TYPE_CHECKING:
    from raftbook.core.exchange import Exchange

_RATE_MAX: Final = 1_000_000


def operator_reject(account: Account, command: Command) -> int:
    """Why a command for operators is refused before its own rules are looked at, 0 for none."""
    if form_error(command) is not None:
        return Reject.MALFORMED
    return 0 if account.is_operator else Reject.NOT_AUTHORIZED


def refuse(command: Command, code: int, events: list[Event]) -> None:
    """Tell that a command was refused."""
    events.append((REJECTED, 0, int(code), command))


# -- accounts ------------------------------------------------------------------------------------


def create_account(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """CREATE_ACCOUNT."""
    code = operator_reject(session.account, command)
    if not code:
        name = command[1]
        if not name or name == "*":
            code = Reject.MALFORMED
        elif name in exchange.accounts:
            code = Reject.ACCOUNT_EXISTS
        elif len(exchange.accounts) >= exchange.limits.accounts_max:
            code = Reject.TOO_MANY
    if code:
        refuse(command, code, events)
        return
    account = exchange.add_account(command[1], is_operator=bool(command[2]))
    exchange.set_group(account, command[3])
    events.append(account_event(account))


def set_account(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """SET_ACCOUNT."""
    code = operator_reject(session.account, command)
    code = code or _set_account_reject(exchange, command)
    if code:
        refuse(command, code, events)
        return
    _, name, enabled, group, *limits = command
    account = exchange.accounts[name]
    if enabled is not None:
        account.enabled = bool(enabled)
        account.block(venue_killed=exchange.is_killed)
    if group is not None:
        exchange.set_group(account, group)
    if limits != [None] * 5:
        _set_limits(exchange, account, limits)
    events.append(account_event(account))


def _set_account_reject(exchange: Exchange, command: Command) -> int:
    _, name, _, _, *limits = command
    if any(limit is not None and limit < 0 for limit in limits):
        return Reject.MALFORMED
    if any(limit is not None and limit > _RATE_MAX for limit in limits[3:]):
        return Reject.MALFORMED
    return 0 if name in exchange.accounts else Reject.UNKNOWN_ACCOUNT


def _set_limits(exchange: Exchange, account: Account, limits: list[int | None]) -> None:
    open_orders_max, qty_max, notional_max, orders_per_s, orders_burst = limits
    guard = account.guard = account.guard or Guard()
    account.is_odd = True
    venue_max = exchange.limits.open_orders_max
    if open_orders_max is not None:
        guard.open_orders_max = open_orders_max
        account.open_orders_max = min(open_orders_max or venue_max, venue_max)
    if qty_max is not None:
        guard.qty_max = qty_max
    if notional_max is not None:
        guard.notional_max = notional_max
    if orders_per_s is not None or orders_burst is not None:
        rate = guard.orders_per_s if orders_per_s is None else orders_per_s
        burst = guard.orders_burst if orders_burst is None else orders_burst
        guard.orders_per_s, guard.orders_burst = rate, burst
        guard.fill(exchange.moment.time_ns)


def account_event(account: Account) -> Event:
    """ACCOUNT_CHANGED: how an account stands now."""
    guard = account.guard
    limits = (0,) * 5
    if guard is not None:
        limits = (
            guard.open_orders_max,
            guard.qty_max,
            guard.notional_max,
            guard.orders_per_s,
            guard.orders_burst,
        )
    flags = (int(account.is_operator), int(account.enabled))
    return (ACCOUNT_CHANGED, 0, account.name, *flags, account.group_name, *limits)


def set_kill_switch(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """SET_KILL_SWITCH."""
    code = 0
    if form_error(command) is not None:
        code = Reject.MALFORMED
    elif not session.account.is_operator:
        # An account may stop itself; only an operator lets it go on.
        if command[1] != session.account.name or not command[2]:
            code = Reject.NOT_AUTHORIZED
    elif command[1] and command[1] not in exchange.accounts:
        code = Reject.UNKNOWN_ACCOUNT
    if code:
        refuse(command, code, events)
        return
    _, name, on = command
    concerned = list(exchange.accounts.values())
    if name:
        concerned = [exchange.accounts[name]]
        concerned[0].is_killed = bool(on)
    else:
        exchange.is_killed = bool(on)
    for account in concerned:
        account.block(venue_killed=exchange.is_killed)
    events.append((KILL_SWITCH_SET, 0, name, on))


def set_drop_copy(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """SET_DROP_COPY: who else may read the own reports."""
    account, code = session.account, 0
    if form_error(command) is not None:
        code = Reject.MALFORMED
    elif command[1] not in exchange.accounts:
        code = Reject.UNKNOWN_ACCOUNT
    elif command[2] and command[1] not in account.readers:
        if len(account.readers) >= exchange.limits.drop_copies_max:
            code = Reject.TOO_MANY
    if code:
        refuse(command, code, events)
        return
    _, reader, on = command
    if on:
        account.readers[reader] = None
    else:
        account.readers.pop(reader, None)
    events.append((DROP_COPY_SET, 0, account.name, reader, on))


def set_api_key(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """SET_API_KEY. Keys are unique in the venue: a request names nothing else."""
    code = _api_key_reject(exchange, session.account, command)
    if code:
        refuse(without_secret(command), code, events)
        return
    _, name, key, secret = command
    account = exchange.accounts[name]
    if secret:
        account.api_keys[key] = secret
        exchange.accounts_by_key[key] = account
    elif account.api_keys.pop(key, None) is not None:
        del exchange.accounts_by_key[key]
    events.append((API_KEY_SET, 0, name, key, int(bool(secret))))


def _api_key_reject(exchange: Exchange, asker: Account, command: Command) -> int:
    if form_error(command) is not None or not command[2]:
        return Reject.MALFORMED
    _, name, key, secret = command
    if name != asker.name and not asker.is_operator:
        return Reject.NOT_AUTHORIZED
    account = exchange.accounts.get(name)
    if account is None:
        return Reject.UNKNOWN_ACCOUNT
    if not secret or key in account.api_keys:
        return 0
    if key in exchange.accounts_by_key:
        return Reject.NOT_AUTHORIZED
    is_full = len(account.api_keys) >= exchange.limits.api_keys_max
    return Reject.TOO_MANY if is_full else 0


# -- money and days ------------------------------------------------------------------------------


def create_currency(
    exchange: Exchange, session: Session, command: Command, events: list[Event]
) -> None:
    """CREATE_CURRENCY."""
    code = operator_reject(session.account, command)
    if not code:
        _, name, decimals = command
        if not name or not 0 <= decimals <= DECIMALS_MAX:
            code = Reject.MALFORMED
        elif name in exchange.money.decimals:
            code = Reject.CURRENCY_EXISTS
        elif len(exchange.money.decimals) >= exchange.limits.currencies_max:
            code = Reject.TOO_MANY
    if code:
        refuse(command, code, events)
        return
    exchange.money.add_currency(command[1], command[2])
    events.append((CURRENCY_CREATED, 0, command[1], command[2]))


def deposit(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """DEPOSIT."""
    _transfer(exchange, session, command, 1, events)


def withdraw(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """WITHDRAW."""
    _transfer(exchange, session, command, -1, events)


def _transfer(
    exchange: Exchange, session: Session, command: Command, sign: int, events: list[Event]
) -> None:
    code = operator_reject(session.account, command)
    code = code or _transfer_reject(exchange, command, sign)
    if code:
        refuse(command, code, events)
        return
    _, name, currency, amount, transfer_id = command
    account = exchange.accounts[name]
    past = account.transfers.get(transfer_id)
    if past is not None:
        events.append((BALANCE_CHANGED, 0, name, *past, transfer_id, 1))
        return
    available = exchange.move_money(account, currency, sign * amount)
    if transfer_id:
        account.transfers[transfer_id] = (currency, sign * amount, available)
        if len(account.transfers) > exchange.limits.transfers_kept:
            del account.transfers[next(iter(account.transfers))]
    moved = (currency, sign * amount, available)
    events.append((BALANCE_CHANGED, 0, name, *moved, transfer_id, 0))


def _transfer_reject(exchange: Exchange, command: Command, sign: int) -> int:
    _, name, currency, amount, transfer_id = command
    account = exchange.accounts.get(name)
    if account is None:
        return Reject.UNKNOWN_ACCOUNT
    if currency not in exchange.money.decimals:
        return Reject.UNKNOWN_CURRENCY
    if amount <= 0:
        return Reject.BAD_AMOUNT
    if transfer_id in account.transfers:
        return 0
    if sign < 0:
        short = account.balance(currency).available < amount
        return Reject.INSUFFICIENT_FUNDS if short else 0
    return Reject.OVERFLOW if exchange.money.supply[currency] + amount > INT64_MAX else 0


def roll_day(exchange: Exchange, session: Session, command: Command, events: list[Event]) -> None:
    """ROLL_DAY: the first page of DAY orders expires at once."""
    code = operator_reject(session.account, command)
    if code:
        refuse(command, code, events)
        return
    events.append((DAY_ROLLED, 0, exchange.agenda.roll_day()))
    end_days(exchange, events)
    look_all(exchange, events)
