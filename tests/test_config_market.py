"""What cluster.toml may say of money, and the words that answer when it says something else."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path

import pytest

from raftbook.config import (
    AccountConfig,
    Bounds,
    ClusterConfig,
    CurrencyConfig,
    load_config,
    parse_config,
)
from raftbook.core.exchange import Exchange, Genesis
from raftbook.core.limits import Limits
from raftbook.core.types import Settlement
from raftbook.errors import ConfigError
from raftbook.genesis import genesis_digest, genesis_of
from raftbook.node_join import render_whole
from raftbook_cli.data_directory import DataDirectory
from tests.test_config import ALICE, BOB, BTC_USD, GENESIS, MINIMAL, refusal

ROOT = Path(__file__).resolve().parent.parent

MONEY = """
[[currencies]]
name = "USD"
decimals = 6
[[currencies]]
name = "BTC"
decimals = 3
"""
LIMITS = 'qty_max = "100"\nprice_min = "0"\nprice_max = "100000"\n'
FUNDED = BTC_USD + LIMITS + 'settlement = "funded"\n'
RULES = (
    'qty_min = "0.01"\nnotional_min = "5"\nmaker_fee = "-0.5"\ntaker_fee = "7.5"\n'
    'volatility_band = "20"\nvolatility_call_ms = 3000\n'
)
CAROL = """
[[accounts]]
name = "carol"
group = "desk"
balances = { USD = "1000.500000", BTC = "2" }
"""
WHOLE = MINIMAL + MONEY + FUNDED + RULES + CAROL


def parsed(text: str) -> ClusterConfig:
    return parse_config(text, Path("cluster.toml"))


def genesis(text: str) -> Genesis:
    return genesis_of(parsed(text))


# What is accepted.


def test_money_is_read() -> None:
    config = parsed(WHOLE)
    assert config.currencies == (CurrencyConfig("BTC", 3), CurrencyConfig("USD", 6))
    assert config.accounts[1] == AccountConfig(
        "carol", group="desk", balances=(("BTC", Decimal(2)), ("USD", Decimal("1000.5")))
    )
    (instrument,) = config.instruments
    assert (instrument.settlement, instrument.volatility_call_ms) == ("funded", 3000)
    assert (instrument.maker_fee, instrument.taker_fee) == (Decimal("-0.5"), Decimal("7.5"))


def test_the_engine_gets_lots_ticks_minor_units_and_hundred_thousandths() -> None:
    born = genesis(WHOLE)
    assert born.currencies == (("BTC", 3), ("USD", 6))
    assert born.deposits == (("carol", "BTC", 2_000), ("carol", "USD", 1_000_500_000))
    assert born.groups == (("carol", "desk"),)
    (terms,) = born.instruments
    assert (terms.qty_min, terms.notional_min) == (10, 500_000)
    assert (terms.settlement, terms.maker_fee, terms.taker_fee) == (Settlement.FUNDED, -5, 75)
    assert (terms.volatility_band, terms.volatility_call_ms) == (2_000, 3_000)
    exchange = Exchange(born)
    carol = exchange.accounts["carol"]
    assert carol.balance("USD").available == exchange.money.supply["USD"] == 1_000_500_000
    assert carol.group_name == "desk" and carol.group is not exchange.accounts["alice"].group


@pytest.mark.parametrize(("word", "number"), [("none", 0), ("credit", 1), ("funded", 2)])
def test_each_settlement_is_the_engines(word: str, number: int) -> None:
    assert Settlement[word.upper()] == number
    text = MINIMAL + MONEY + FUNDED.replace("funded", word)
    assert genesis(text).instruments[0].settlement == number


def test_every_genesis_bound_reaches_the_engine() -> None:
    bounds = {each.name: each.default for each in fields(Bounds) if each.metadata["genesis"]}
    changed = {name: value + 1 for name, value in bounds.items()}
    lines = "".join(f"{name} = {value}\n" for name, value in changed.items())
    limits = genesis(f"{MINIMAL}[bounds]\n{lines}").limits._asdict()
    limits["session_idle_ms"] = limits.pop("session_idle_ns") // 1_000_000
    del limits["session_recent_ns"]
    assert limits == changed


def test_the_defaults_of_file_and_engine_are_the_same() -> None:
    assert genesis(MINIMAL).limits == Limits()


def test_a_balance_of_nothing_says_nothing() -> None:
    text = MINIMAL + MONEY + CAROL
    nothing = text.replace("}", ', ETH = "0.0" }') + MONEY.replace("USD", "ETH").replace(
        '"BTC"', '"XRP"'
    )
    assert parsed(nothing).accounts == parsed(text).accounts


def test_the_cluster_in_the_repository_can_trade_all_it_has() -> None:
    config = load_config(ROOT / "cluster.toml")
    exchange = Exchange(genesis_of(config))
    for name in ("demo", "alice", "bob"):
        balances = exchange.accounts[name].balances
        assert {currency: balance.available for currency, balance in balances.items()} == {
            "BTC": 10**14,
            "ETH": 10**14,
            "USD": 10**16,
        }
    assert config.default_account == "demo"
    assert exchange.engine_version == 2


def test_a_joiner_gets_the_money_of_the_genesis() -> None:
    config = parsed(WHOLE + "[bounds]\nstops_max = 7\n")
    again = parse_config(render_whole(config), Path("cluster.toml"))
    assert again.genesis_text() == config.genesis_text()
    assert genesis_of(again) == genesis_of(config)


# What must be equal on all nodes.

OLD = MINIMAL + BOB + BTC_USD + 'qty_max = "1000"\nreference_price = "0"\n'


@pytest.mark.parametrize(
    "text",
    [
        OLD + 'settlement = "none"\nmaker_fee = "0"\ntaker_fee = "-0.0"\n',
        OLD + "[bounds]\nfills_max = 10000\napi_keys_max = 16\n",
        OLD.replace(ALICE, ALICE + "balances = { }\n"),
    ],
    ids=["terms", "bounds", "balances"],
)
def test_the_text_of_an_older_file_is_what_it_was(text: str) -> None:
    assert parsed(text).genesis_text() == GENESIS


def test_a_golden_journal_is_still_of_its_cluster() -> None:
    folder = ROOT / "tests" / "golden" / "journals" / "0001-engine-1"
    config = load_config(folder / "cluster.toml")
    identity = DataDirectory(folder / "node-1").identity
    assert (identity.cluster_id, identity.genesis_digest) == ("golden-1", genesis_digest(config))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "USD"\ndecimals = 6', 'name = "USD"\ndecimals = 7'),
        ('"2"', '"3"'),
        ('group = "desk"', 'group = "other"'),
        ('"funded"', '"credit"'),
        ('"7.5"', '"7.6"'),
        ("3000", "3001"),
        ("[bounds]\nstops_max = 7", "[bounds]\nstops_max = 8"),
    ],
)
def test_the_text_tells_all_that_is_new(old: str, new: str) -> None:
    text = WHOLE + "[bounds]\nstops_max = 7\n"
    assert old in text
    assert parsed(text.replace(old, new)).genesis_text() != parsed(text).genesis_text()


def test_the_text_tells_money_in_one_order() -> None:
    turned = MINIMAL + CAROL.replace(
        'USD = "1000.500000", BTC = "2"', 'BTC = "2.00", USD = "1000.5"'
    )
    assert parsed(turned + FUNDED + RULES + MONEY).genesis_text() == parsed(WHOLE).genesis_text()
    assert parsed(WHOLE).genesis_text().splitlines()[-7:-1] == [
        "currency BTC 3",
        "currency USD 6",
        "account alice trader",
        "account carol trader group=desk",
        "balance carol BTC 2",
        "balance carol USD 1000.5",
    ]


@pytest.mark.parametrize(
    "text",
    [
        MINIMAL + MONEY,
        MINIMAL + ALICE.replace("alice", "dora") + 'group = "desk"\n',
        MINIMAL + BTC_USD + 'qty_min = "0.002"\n',
    ],
    ids=["currency", "group", "terms"],
)
def test_what_engine_version_1_does_not_know_begins_with_2(text: str) -> None:
    assert Exchange(genesis(text)).engine_version == 2


@pytest.mark.parametrize("more", ["", "[bounds]\nfills_max = 7\n"], ids=["plain", "bounds"])
def test_every_other_cluster_begins_with_1(more: str) -> None:
    assert Exchange(genesis(MINIMAL + BTC_USD + more)).engine_version == 1


# What is refused.


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("decimals = 2", 'entry 1: name is missing; write for example name = "USD"'),
        ('name = "USD"', "currency USD: decimals is missing; write for example decimals = 8"),
        (
            'name = "usd"\ndecimals = 2',
            'currency usd: name "usd" is not 1 to 16 of A-Z 0-9; write for example name = "USD"',
        ),
        (
            'name = "USD"\ndecimals = 19',
            "currency USD: decimals 19 is out of range; write a number from 0 to 18",
        ),
        (
            'name = "USD"\ndecimals = 2\nsign = "$"',
            "currency USD: unknown key sign; known: name, decimals",
        ),
        (
            'name = "USD"\ndecimals = 2\n[[currencies]]\nname = "USD"\ndecimals = 3',
            "currency USD: the name is taken twice; remove one of them",
        ),
    ],
)
def test_bad_currency_is_refused(lines: str, message: str) -> None:
    error = refusal(f"{MINIMAL}[[currencies]]\n{lines}\n")
    assert str(error) == f"cluster.toml: [currencies] {message}"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            'balances = "much"',
            'balances is "much", not a table; write for example balances = { USD = "1000" }',
        ),
        (
            'balances = { EUR = "1" }',
            "balances: EUR is not in [[currencies]]; known: BTC, USD",
        ),
        (
            "balances = { USD = 1000 }",
            'balances: USD 1000 is a number without quotes; write it in quotes: USD = "1000"',
        ),
        (
            'balances = { USD = "-1" }',
            "balances: USD -1 is below 0; write 0 or more",
        ),
        (
            'balances = { BTC = "0.0015" }',
            'balances: BTC 0.0015 has more than 3 decimals; write for example BTC = "0.001"',
        ),
        (
            'balances = { BTC = "9223372036854775.808" }',
            "balances: with it all accounts have 9223372036854775.808 BTC, more than 64 bits "
            "hold; write less, or fewer decimals for BTC",
        ),
        (
            'group = "the desk"',
            'group "the desk" is not 1 to 32 of a-z 0-9 . _ -, beginning with a letter or digit; '
            'write for example group = "desk"',
        ),
    ],
)
def test_bad_balance_or_group_is_refused(lines: str, message: str) -> None:
    error = refusal(f'{MINIMAL}{MONEY}[[accounts]]\nname = "dora"\n{lines}\n')
    assert str(error) == f"cluster.toml: [accounts] account dora: {message}"


def test_what_all_accounts_have_together_must_fit() -> None:
    half = 'balances = { BTC = "5000000000000000" }\n'
    text = MINIMAL.replace(ALICE, ALICE + half) + MONEY
    parsed(text)
    error = refusal(text + BOB + half)
    assert "account bob: balances: with it all accounts have 10000000000000000 BTC" in str(error)


def test_a_balance_without_any_currency_says_how_to_write_one() -> None:
    error = refusal(MINIMAL + CAROL)
    assert error.hint == 'write [[currencies]] with name = "BTC" and decimals = 8'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            'settlement = "cash"',
            'settlement is "cash", which is none of its words; '
            'write one of "none", "credit", "funded"',
        ),
        (
            "settlement = 2",
            'settlement is 2, which is none of its words; write one of "none", "credit", "funded"',
        ),
        (
            'maker_fee = "0.25"',
            "maker_fee 0.25 is finer than a tenth of a basis point; "
            'write for example maker_fee = "0.2"',
        ),
        (
            'taker_fee = "-5000.1"',
            "taker_fee -5000.1 is more than half of the amount; write basis points, 5000 at most",
        ),
        (
            "taker_fee = 7.5",
            "taker_fee 7.5 is a float, which cannot hold it exactly; "
            'write it in quotes: taker_fee = "7.5"',
        ),
        ('qty_min = "0"', "qty_min 0 is not positive; write more than 0"),
        (
            'qty_min = "0.0015"',
            "qty_min 0.0015 is not a whole multiple of lot_size 0.001; "
            'write for example qty_min = "0.001"',
        ),
        (
            'qty_min = "101"',
            "qty_min 101 is above qty_max 100; exchange them or widen the range",
        ),
        (
            'notional_min = "0.000001"',
            "notional_min 0.000001 is not a whole multiple of tick_size x lot_size 0.00001; "
            'write for example notional_min = "0.00001"',
        ),
        (
            'notional_max = "5"\nnotional_min = "6"',
            "notional_min 6 is above notional_max 5; exchange them or widen the range",
        ),
        (
            'volatility_band = "5"',
            "volatility_band needs volatility_call_ms; "
            "write both, such as volatility_call_ms = 5000, or neither",
        ),
        (
            "volatility_call_ms = 5000",
            "volatility_call_ms needs volatility_band; "
            'write both, such as volatility_band = "1000", or neither',
        ),
        (
            'volatility_band = "5"\nvolatility_call_ms = 0',
            "volatility_call_ms 0 is out of range; write a number from 1 to 86400000",
        ),
    ],
)
def test_bad_rules_of_an_instrument_are_refused(lines: str, message: str) -> None:
    error = refusal(f"{MINIMAL}{MONEY}{BTC_USD}{LIMITS}{lines}\n")
    assert str(error) == f"cluster.toml: [instruments] instrument BTC-USD: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            FUNDED + MONEY.replace("BTC", "XRP"),
            'settlement "funded" needs BTC in [[currencies]]; '
            'write [[currencies]] with name = "BTC" and decimals = 8',
        ),
        (
            FUNDED.replace("funded", "credit") + MONEY.replace("USD", "EUR"),
            'settlement "credit" needs USD in [[currencies]]; '
            'write [[currencies]] with name = "USD" and decimals = 8',
        ),
        (
            FUNDED.replace('price_min = "0"\n', "") + MONEY,
            'settlement "funded" needs a price_min of 0 or more; write price_min = "0.01"',
        ),
        (
            FUNDED.replace('price_min = "0"', 'price_min = "-1"') + MONEY,
            'settlement "funded" needs a price_min of 0 or more; write price_min = "0.01"',
        ),
        (
            FUNDED + MONEY.replace("decimals = 3", "decimals = 2"),
            "lot_size 0.001 is finer than 2 decimals of BTC; "
            "write decimals = 3 for BTC, or larger steps",
        ),
        (
            FUNDED + MONEY.replace("decimals = 6", "decimals = 4"),
            "tick_size x lot_size 0.00001 is finer than 4 decimals of USD; "
            "write decimals = 5 for USD, or larger steps",
        ),
    ],
)
def test_money_that_does_not_fit_its_instrument_is_refused(text: str, message: str) -> None:
    error = refusal(MINIMAL + text)
    assert str(error) == f"cluster.toml: [instruments] instrument BTC-USD: {message}"


def test_an_order_worth_more_than_64_bits_is_refused_with_what_would_fit() -> None:
    text = MINIMAL + MONEY + FUNDED.replace('qty_max = "100"', 'qty_max = "100000000"')
    with pytest.raises(ConfigError) as caught:
        genesis(text)
    assert str(caught.value) == (
        "cluster.toml: [instruments] instrument BTC-USD: its largest order is worth more minor "
        'units than 64 bits hold; write qty_max = "46116860.184" or less; '
        "a lower price_max lets it be more"
    )
    assert genesis(text.replace("100000000", "46116860.184")).instruments


def test_more_currencies_than_their_bound_are_refused() -> None:
    assert str(refusal(f"{MINIMAL}{MONEY}[bounds]\ncurrencies_max = 1\n")) == (
        "cluster.toml: [currencies] there are 2 currencies, more than [bounds] currencies_max = 1; "
        "write currencies_max = 2 or more"
    )


def test_bounds_of_the_shapes_are_replaced_one_by_one() -> None:
    config = parsed(MINIMAL + "[bounds]\ncancel_page = 5\n")
    assert config.bounds == replace(Bounds(), cancel_page=5)
