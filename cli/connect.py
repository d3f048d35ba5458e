"""`raftbook connect`: how software that was written for Binance is pointed at this cluster.

Owns the snippets, each of which works as pasted, and the API key that one needs. Must not know what
is spoken at the HTTP port.
"""

from __future__ import annotations

import secrets
from typing import Final

import click

from .administration import administer
from .invocation import Invocation, network_options, pass_invocation
from .outcomes import CommandFailed, ExitCode
from .output.printer import say

SECRET_BYTES: Final = 24
KEY_BYTES: Final = 6
ANY_SECRET: Final = "any"
"""Of an account without a secret: any signature will do."""

_CCXT: Final = """\
import ccxt

B, W = "{http}", "{ws}"
ex = ccxt.binance({{
    "apiKey": "{key}", "secret": "{secret}", "enableRateLimit": False,
    "urls": {{"api": {{"public": B + "/api/v3", "private": B + "/api/v3", "sapi": B + "/sapi/v1",
                     "ws": {{"spot": W + "/stream/ws", "ws-api": {{"spot": W + "/ws-api/v3"}}}}}}}},
    "options": {{"fetchMarkets": {{"types": ["spot"]}}, "fetchCurrencies": False,
                "fetchMargins": False}},
}})
print(list(ex.load_markets()))
print(ex.fetch_balance()["total"])
"""
_PYTHON_BINANCE: Final = """\
from binance import AsyncClient, BinanceSocketManager, Client

B, W = "{http}", "{ws}"
for c in (Client, AsyncClient):
    c.API_URL, c.WS_API_URL = B + "/api", W + "/ws-api/v3"
BinanceSocketManager.STREAM_URL = W + "/"
client = Client("{key}", "{secret}")
print([each["symbol"] for each in client.get_exchange_info()["symbols"]])
print(client.get_account()["balances"])
"""
SNIPPETS: Final = {"ccxt": _CCXT, "python-binance": _PYTHON_BINANCE}


@click.command("connect")
@click.argument("library", type=click.Choice(tuple(SNIPPETS)))
@network_options
@pass_invocation
def connect(invocation: Invocation, library: str) -> None:
    """Print a snippet that trades here with ccxt or python-binance.

    The account is that of --account. If it has a secret, the snippet gets an API key of its own,
    made now: take it away again with: raftbook account key KEY --remove
    """
    addresses = _http_addresses(invocation)
    key, secret = _credentials(invocation)
    first = addresses[0]
    snippet = SNIPPETS[library].format(
        http=f"http://{first}", ws=f"ws://{first}", key=key, secret=secret
    )
    document = {
        "key": key,
        "secret": secret,
        "base_urls": [f"http://{address}" for address in addresses],
        "snippet": snippet,
    }
    invocation.printer.show(document, table=lambda: snippet.rstrip("\n"))
    if len(addresses) > 1:
        say(f"any node will do: {', '.join(document['base_urls'])}")


def _http_addresses(invocation: Invocation) -> list[str]:
    """Where the nodes listen for HTTP, that of --node alone if it is named."""
    config = invocation.config
    name = invocation.node_name
    named = None if name is None else invocation.address_of(name)
    found = [
        f"{node.host}:{node.http_port}"
        for node in config.nodes
        if node.http_port and named in (None, (node.host, node.client_port))
    ]
    if not found:
        who = f"no node of {config.path}" if name is None else f"node {name}"
        raise CommandFailed(
            ExitCode.USAGE,
            f"connect: {who} has an http_port",
            hint="write http_port = 8001 under [[nodes]] and start the node again",
        )
    return found


def _credentials(invocation: Invocation) -> tuple[str, str]:
    """(key, secret): the account itself where anybody may use it, else a fresh API key of it."""
    account = invocation.account
    with invocation.connect() as client:
        client.account()  # there is such an account, and its secret is right
    if invocation.secret is None:
        return account, ANY_SECRET
    key = f"{account}-{secrets.token_hex(KEY_BYTES)}"
    secret = secrets.token_urlsafe(SECRET_BYTES)
    administer(invocation, lambda client: client.set_api_key(key, secret))
    say(f"made the API key {key} of account {account}")
    return key, secret
