"""`raftbook account` and `raftbook currency`: who trades, with what money, within which limits.

Owns these verbs. Must not know how money is kept.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import click

from raftbook.client import Client
from raftbook.client.values import OrderResult
from raftbook.client.venue_views import AccountHead, AccountView, CurrencyView
from raftbook.core.types import Reject

from .administration import administer, show_done
from .amounts import DECIMAL, fresh_client_order_id
from .groups import VerbGroup
from .invocation import Invocation, network_options, pass_invocation
from .order_once import with_option
from .order_results import decimal_or_none
from .outcomes import CommandFailed, ExitCode
from .output.printer import say
from .output.tables import render_table

_LIMIT: Final = click.IntRange(min=0)
_NO_ACCOUNT: Final[dict[int, str]] = {
    Reject.UNKNOWN_ACCOUNT: "see them with: raftbook account list"
}
"""Where the account is not who asks but whom it is about."""
SECRET_BYTES: Final = 24


@click.group("account", cls=VerbGroup)
def account() -> None:
    """See accounts, their money and limits; make and change them (operators)."""


@account.command("list")
@network_options
@pass_invocation
def list_accounts(invocation: Invocation) -> None:
    """List all accounts (operators)."""
    with invocation.connect() as client:
        heads = client.accounts()
    invocation.printer.show(
        {"accounts": [_head_document(head) for head in heads]},
        table=lambda: _heads_table(heads),
        items="accounts",
    )


@account.command("show")
@click.argument("name", required=False)
@network_options
@pass_invocation
def show(invocation: Invocation, name: str | None) -> None:
    """Show the own account: money, limits, switches, readers. NAME: another's, for operators."""
    with invocation.connect() as client:
        view = client.account(name or "")
    invocation.printer.show(_account_document(view), table=lambda: _account_text(view))


@account.command("create")
@click.argument("name")
@click.option("--operator", is_flag=True, help="It may do what operators do.")
@click.option("--group", default="", help="Self-trade prevention holds within a group.")
@network_options
@pass_invocation
def create(invocation: Invocation, name: str, operator: bool, group: str) -> None:
    """Make an account, on all nodes at once (operators)."""
    result = administer(
        invocation,
        lambda client: client.create_account(name, is_operator=operator, group=group),
    )
    show_done(invocation, result, result.details, f"account {name} is made")
    say(f"anybody may act as it until it has a key: raftbook account key KEY --of {name}")


@account.command("set")
@click.argument("name")
@click.option("--enable/--suspend", "enabled", default=None, help="Whether it may enter orders.")
@click.option("--group", help="Self-trade prevention holds within a group; empty is alone.")
@click.option("--open-orders-max", type=_LIMIT, help="Open orders; 0 is the venue's own bound.")
@click.option("--order-qty-max", type=_LIMIT, metavar="LOTS", help="Lots of one order; 0 is any.")
@click.option(
    "--order-notional-max",
    type=_LIMIT,
    metavar="TICK-LOTS",
    help="Ticks times lots of one order; 0 is any.",
)
@click.option("--orders-per-s", type=_LIMIT, help="Orders and amends a second; 0 is any.")
@click.option("--orders-burst", type=_LIMIT, help="How many of them at once; 0 is a second's.")
@network_options
@pass_invocation
def set_account(invocation: Invocation, /, name: str, **changes: Any) -> None:
    """Change an account and its limits (operators). What is not given stays."""
    if all(value is None for value in changes.values()):
        raise click.UsageError("nothing to change: give a limit, --group, --enable or --suspend")
    result = administer(
        invocation, lambda client: client.set_account(name, **changes), hints=_NO_ACCOUNT
    )
    show_done(invocation, result, result.details, f"account {name} is changed")


# -- money ------------------------------------------------------------------------------------


def _transfer_options(verb: Any) -> Any:
    for decorate in (
        click.option(
            "--id",
            "transfer_id",
            metavar="ID",
            help="Your name for it: the same again moves nothing. [default: a fresh one]",
        ),
        click.argument("amount", type=DECIMAL),
        click.argument("currency"),
        click.argument("name"),
    ):
        verb = decorate(verb)
    return network_options(verb)


@account.command("deposit")
@_transfer_options
@pass_invocation
def deposit(invocation: Invocation, /, **transfer: Any) -> None:
    """Add AMOUNT of CURRENCY to the account NAME (operators)."""
    _transfer(invocation, lambda client: client.deposit, "deposited", sign=1, **transfer)


@account.command("withdraw")
@_transfer_options
@pass_invocation
def withdraw(invocation: Invocation, /, **transfer: Any) -> None:
    """Take AMOUNT of CURRENCY out of the account NAME (operators)."""
    _transfer(invocation, lambda client: client.withdraw, "withdrew", sign=-1, **transfer)


def _transfer(
    invocation: Invocation,
    verb_of: Callable[[Client], Callable[..., OrderResult]],
    done: str,
    *,
    sign: int,
    name: str,
    currency: str,
    amount: Decimal,
    transfer_id: str | None,
) -> None:
    chosen = transfer_id or fresh_client_order_id(time.time_ns() // 1_000_000)
    result = administer(
        invocation,
        lambda client: verb_of(client)(name, currency, amount, chosen),
        again="retry safely with:  " + with_option(invocation.arguments, "--id", chosen),
        hints=_NO_ACCOUNT
        | {
            Reject.INSUFFICIENT_FUNDS: f"see the money there is with: raftbook account show {name}",
        },
    )
    details = dict(result.details)
    moved, available = abs(details["amount"]), details["available"]
    document = {**details, "amount": f"{details['amount']:f}", "available": f"{available:f}"}
    told = (details["account"], details["currency"], details["amount"])
    if told != (name, currency, sign * amount):
        word = "withdrawal" if details["amount"] < 0 else "deposit"
        raise CommandFailed(
            ExitCode.REFUSED,
            f"refused: transfer {chosen} was another one, a {word} of {moved:f} {told[1]} for "
            f"{told[0]}",
            hint="give this one an --id of its own",
        )
    if details["repeated"]:
        say(f"transfer {chosen} was made before: nothing was moved now; this is what it told then")
    text = f"{done} {moved:f} {details['currency']}, {available:f} available to {name}"
    show_done(invocation, result, document, text)


# -- switches ---------------------------------------------------------------------------------


@account.command("kill")
@click.argument("name", required=False)
@click.option("--all", "everybody", is_flag=True, help="All accounts (operators).")
@click.option("--off", is_flag=True, help="Let it trade again (operators).")
@network_options
@pass_invocation
def kill(invocation: Invocation, name: str | None, everybody: bool, off: bool) -> None:
    """Stop an account from entering orders: the own one, or NAME for operators.

    Cancels still go on; open orders stay, see `order cancel --all`.
    """
    if everybody and name is not None:
        raise click.UsageError("give NAME or --all, not both")
    target = "" if everybody else name or invocation.account
    result = administer(invocation, lambda client: client.kill_switch(target, on=not off))
    who = target or "everybody"
    text = f"{who} may enter orders again" if off else f"{who} may enter no orders"
    show_done(invocation, result, result.details, text)


@account.command("key")
@click.argument("key")
@click.option("--of", "name", metavar="NAME", help="Another account (operators).")
@click.option("--secret", help="Its secret. [default: a fresh one, which is shown once]")
@click.option("--remove", is_flag=True, help="Take it away.")
@network_options
@pass_invocation
def api_key(
    invocation: Invocation, key: str, name: str | None, secret: str | None, remove: bool
) -> None:
    """Give an account the API key KEY. Its secret stands in the log and in snapshots."""
    if remove and secret:
        raise click.UsageError("--remove takes no --secret")
    chosen = "" if remove else secret or secrets.token_hex(SECRET_BYTES)
    with invocation.connect() as client:
        view = client.account(name or "")
    is_there = key in view.api_keys
    if remove and not is_there:
        raise CommandFailed(
            ExitCode.REFUSED,
            f"account {view.account} has no key {key}",
            hint=f"its keys are: {', '.join(view.api_keys) or 'none'}",
        )
    result = administer(
        invocation, lambda client: client.set_api_key(key, chosen, account=name or "")
    )
    document = dict(result.details)
    if remove:
        show_done(invocation, result, document, f"key {key} is taken away")
        return
    text = f"key {key} of {document['account']} is set"
    if is_there:
        text += "; the secret it had before is good no more"
    if not secret:
        document["secret"] = chosen
        text += f"\nsecret: {chosen}"
    show_done(invocation, result, document, text)


@account.command("drop-copy")
@click.argument("reader")
@click.option("--off", is_flag=True, help="No longer.")
@network_options
@pass_invocation
def drop_copy(invocation: Invocation, reader: str, off: bool) -> None:
    """Let the account READER listen to the own reports."""
    result = administer(invocation, lambda client: client.set_drop_copy(reader, on=not off))
    text = f"{reader} reads them no longer" if off else f"{reader} may read the reports"
    show_done(invocation, result, result.details, text)


# -- currencies -------------------------------------------------------------------------------


@click.group("currency", cls=VerbGroup)
def currency() -> None:
    """See currencies; add one (operators)."""


@currency.command("list")
@network_options
@pass_invocation
def list_currencies(invocation: Invocation) -> None:
    """List currencies: to operators with what was paid in and what fees brought."""
    with invocation.connect() as client:
        views = list(client.currencies().values())
    invocation.printer.show(
        {"currencies": [_currency_document(view) for view in views]},
        table=lambda: _currencies_table(views),
        items="currencies",
    )


@currency.command("add")
@click.argument("name")
@click.option(
    "--decimals",
    type=click.IntRange(0, 18),
    required=True,
    help="Places of the smallest amount: 2 for cents.",
)
@network_options
@pass_invocation
def add_currency(invocation: Invocation, name: str, decimals: int) -> None:
    """Keep balances in a currency (operators)."""
    result = administer(invocation, lambda client: client.create_currency(name, decimals))
    show_done(invocation, result, result.details, f"added {name}")


# -- documents --------------------------------------------------------------------------------


def _head_document(head: AccountHead) -> dict[str, Any]:
    return {
        "account": head.account,
        "operator": head.is_operator,
        "enabled": head.enabled,
        "killed": head.killed,
        "group": head.group or None,
        "open_orders": head.open_orders,
    }


def _heads_table(heads: list[AccountHead]) -> str:
    return render_table(
        ("ACCOUNT", "OPERATOR", "MAY TRADE", "GROUP", "OPEN"),
        [
            (
                head.account,
                "yes" if head.is_operator else "-",
                _may_trade(head.enabled, head.killed, venue_killed=False),
                head.group or "-",
                head.open_orders,
            )
            for head in heads
        ],
        right=("OPEN",),
    )


def _may_trade(enabled: bool, killed: bool, *, venue_killed: bool) -> str:
    if not enabled:
        return "suspended"
    if killed:
        return "killed"
    return "killed (all)" if venue_killed else "yes"


def _account_document(view: AccountView) -> dict[str, Any]:
    return {
        "account": view.account,
        "operator": view.is_operator,
        "enabled": view.enabled,
        "killed": view.killed,
        "venue_killed": view.venue_killed,
        "group": view.group or None,
        "limits": dict(view.limits),
        "balances": [
            {
                "currency": balance.currency,
                "available": f"{balance.available:f}",
                "held": f"{balance.held:f}",
                "total": f"{balance.total:f}",
            }
            for balance in view.balances
        ],
        "readers": list(view.readers),
        "api_keys": list(view.api_keys),
        "open_orders": view.open_orders,
        "applied_index": view.applied_index,
    }


def _account_text(view: AccountView) -> str:
    may_trade = _may_trade(view.enabled, view.killed, venue_killed=view.venue_killed)
    limits = ", ".join(f"{name} {value}" for name, value in view.limits.items() if value)
    facts = {
        "account": view.account + (" (operator)" if view.is_operator else ""),
        "may trade": may_trade,
        "group": view.group or "-",
        "limits": limits or "none of its own",
        "open orders": view.open_orders,
        "readers": ", ".join(view.readers) or "-",
        "API keys": ", ".join(view.api_keys) or "-",
    }
    lines = [f"{name:<12} {value}" for name, value in facts.items()]
    if view.balances:
        table = render_table(
            ("CURRENCY", "AVAILABLE", "HELD", "TOTAL"),
            [
                (each.currency, f"{each.available:f}", f"{each.held:f}", f"{each.total:f}")
                for each in view.balances
            ],
            right=("AVAILABLE", "HELD", "TOTAL"),
        )
        lines += ["", table]
    return "\n".join(lines)


def _currency_document(view: CurrencyView) -> dict[str, Any]:
    return {
        "name": view.name,
        "decimals": view.decimals,
        "supply": decimal_or_none(view.supply),
        "fees": decimal_or_none(view.fees),
    }


def _currencies_table(views: list[CurrencyView]) -> str:
    if not views:
        return "no currencies"
    return render_table(
        ("CURRENCY", "DECIMALS", "SUPPLY", "FEES"),
        [
            (
                view.name,
                view.decimals,
                decimal_or_none(view.supply) or "-",
                decimal_or_none(view.fees) or "-",
            )
            for view in views
        ],
        right=("DECIMALS", "SUPPLY", "FEES"),
    )
