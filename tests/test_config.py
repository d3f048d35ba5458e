"""What cluster.toml may say, and the exact words that answer when it says something else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, fields, replace
from decimal import Decimal
from pathlib import Path

import pytest

from raftbook.config import (
    AccountConfig,
    Bounds,
    ClusterConfig,
    InstrumentConfig,
    NodeAddress,
    Timings,
    find_config,
    load_config,
    parse_config,
    render_config,
)
from raftbook.config_limits import BOUND_RULES, TIMING_RULES, LimitRule
from raftbook.errors import ConfigError
from raftbook.replica.appends import APPEND_BYTES_MAX, APPEND_ENTRIES_MAX
from raftbook.replica.proposer import FORWARD_BYTES_MAX
from raftbook.replica.shipping import PIECE_BYTES
from raftbook.storage.snapshot_header import HEADER_BYTES
from raftbook.wire import pages
from raftbook.wire.entry import pack_request
from raftbook.wire.packing import pack

ROOT = Path(__file__).resolve().parent.parent

CLUSTER = """
[cluster]
name = "demo"
id = "demo-1"
default_account = "alice"
"""
NODE_1 = """
[[nodes]]
id = 1
host = "127.0.0.1"
raft_port = 7001
client_port = 7101
http_port = 8001
"""
NODE_3 = """
[[nodes]]
id = 3
host = "127.0.0.1"
raft_port = 7003
client_port = 7103
http_port = 8003
"""
BTC_USD = """
[[instruments]]
symbol = "BTC-USD"
base = "BTC"
quote = "USD"
tick_size = "0.01"
lot_size = "0.001"
"""
ALICE = """
[[accounts]]
name = "alice"
"""
MINIMAL = CLUSTER + NODE_1 + ALICE


def parsed(text: str) -> ClusterConfig:
    return parse_config(text, Path("cluster.toml"))


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    return caught.value


# What is accepted.


def test_file_in_the_repository_is_the_rendered_default() -> None:
    assert (ROOT / "cluster.toml").read_text(encoding="utf-8") == render_config()


def test_file_in_the_repository_starts_three_nodes_on_this_machine() -> None:
    config = load_config(ROOT / "cluster.toml")
    assert config.nodes == (
        NodeAddress(1, "127.0.0.1", 7001, 7101, 8001),
        NodeAddress(2, "127.0.0.1", 7002, 7102, 8002),
        NodeAddress(3, "127.0.0.1", 7003, 7103, 8003),
    )
    for instrument, base, lot in zip(
        config.instruments, ("BTC", "ETH"), ("0.001", "0.01"), strict=True
    ):
        assert (instrument.symbol, instrument.base, instrument.quote) == (
            f"{base}-USD",
            base,
            "USD",
        )
        assert (instrument.tick_size, instrument.lot_size) == (Decimal("0.01"), Decimal(lot))
        assert instrument.price_min == Decimal("0.01")  # spot: no order at zero or below
        assert (instrument.settlement, instrument.taker_fee) == ("funded", 0)
    assert [(account.name, account.operator) for account in config.accounts] == [
        ("alice", False),
        ("bob", False),
        ("demo", True),
    ]
    for account in config.accounts:
        assert [name for name, _ in account.balances] == ["BTC", "ETH", "USD"]
    assert config.default_account == "demo"
    assert (config.timings, config.bounds) == (Timings(), Bounds())
    assert (config.data_dir, config.secret_file) == (ROOT / "data", ROOT / "cluster.secret")


def test_commented_defaults_say_the_defaults() -> None:
    text = render_config()
    tables = text[text.index("# [timings]") :]
    uncommented = re.sub(r"^# (\[|\w+ = )", r"\1", tables, flags=re.MULTILINE)
    config = parsed(text.replace(tables, uncommented))
    assert (config.timings, config.bounds) == (Timings(), Bounds())
    assert "\nfeed_events_kept = 20000" in uncommented


def test_rendered_text_is_read_back() -> None:
    node = NodeAddress(255, "::1", 1, 2, 65535)
    instrument = InstrumentConfig(
        symbol="POWER.DE-2",
        base="MWH",
        quote="EUR",
        tick_size=Decimal("0.05"),
        lot_size=Decimal("0.1"),
        qty_max=Decimal("100"),
        price_min=Decimal("-500"),
        price_max=Decimal("4000.00"),
        band_low=Decimal("-100"),
        band_high=Decimal("1000"),
        notional_max=Decimal("50000"),
        collar=Decimal("2.5"),
        reference_price=Decimal("80.05"),
    )
    account = AccountConfig("desk", operator=True, secret='back\\slash "quote" é\n')
    config = parsed(
        render_config(
            name="energy",
            cluster_id="energy-7",
            data_dir="/var/lib/raftbook",
            secret_file="secrets/peer",
            default_account="desk",
            nodes=[node],
            instruments=[instrument],
            accounts=[account],
        )
    )
    assert (config.name, config.cluster_id) == ("energy", "energy-7")
    assert (config.nodes, config.instruments) == ((node,), (instrument,))
    assert config.accounts == (account,)
    assert config.data_dir == Path("/var/lib/raftbook")
    assert config.secret_file == Path.cwd() / "secrets" / "peer"


def test_one_node_one_account_and_no_instrument_are_enough() -> None:
    config = parsed(MINIMAL)
    assert config.nodes == (NodeAddress(1, "127.0.0.1", 7001, 7101, 8001),)
    assert config.instruments == ()
    assert config.accounts == (AccountConfig("alice", operator=False, secret=None),)


def test_nine_nodes_are_accepted() -> None:
    nodes = [NodeAddress(i, f"10.0.0.{i}", 7000, 7100, 8000) for i in range(1, 10)]
    assert parsed(render_config(nodes=nodes)).nodes == tuple(nodes)


def test_equal_ports_on_different_hosts_are_accepted() -> None:
    text = MINIMAL + NODE_1.replace("id = 1", "id = 2").replace("127.0.0.1", "node2.example")
    assert parsed(text).nodes[1] == NodeAddress(2, "node2.example", 7001, 7101, 8001)


def test_relative_paths_resolve_against_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "cluster.toml"
    file.write_text(MINIMAL.replace("[cluster]", '[cluster]\ndata_dir = "state/here"'))
    config = load_config(file)
    assert config.data_dir == tmp_path / "state" / "here"
    assert config.secret_file == tmp_path / "cluster.secret"


def test_timings_and_bounds_are_read() -> None:
    config = parsed(MINIMAL + "[timings]\nstep_interval_ms = 10\n[bounds]\naccounts_max = 7\n")
    assert config.timings == replace(Timings(), step_interval_ms=10)
    assert config.bounds == replace(Bounds(), accounts_max=7)


def test_defaults_are_those_of_the_design() -> None:
    assert Timings() == Timings(
        election_timeout_min_ms=300,
        election_timeout_max_ms=600,
        heartbeat_interval_ms=60,
        step_interval_ms=20,
        request_deadline_ms=2000,
        leader_fallback_ms=1200,
        handshake_timeout_ms=3000,
        idle_timeout_ms=60000,
        reconnect_min_ms=50,
        reconnect_max_ms=1000,
    )
    assert Bounds() == Bounds(
        frame_bytes_max=4 * 1024 * 1024,
        entry_bytes_max=256 * 1024,
        entry_requests_max=4096,
        requests_pending_max=65536,
        connections_max=1024,
        sessions_max=10000,
        sessions_per_account_max=1000,
        session_idle_ms=86_400_000,
        reply_window=1024,
        closed_orders_max=1000,
        open_orders_max=200_000,
        book_orders_max=2_000_000,
        accounts_max=10_000,
        instruments_max=1000,
        trades_kept=1000,
        feed_events_kept=20_000,
        entries_kept=4096,
        snapshot_every_entries=20_000,
        snapshot_every_bytes=64 * 1024 * 1024,
        fills_max=10_000,
        stops_max=10_000,
        triggers_max=1_000,
        cancel_page=1_000,
        expiries_page=5_000,
        transfers_kept=10_000,
        currencies_max=1_000,
        api_keys_max=16,
        drop_copies_max=16,
        auction_page=10_000,
        pegs_max=1_000,
        pegs_page=1_000,
        hidden_max=10_000,
        peer_buffer_bytes_max=64 * 1024 * 1024,
        client_buffer_bytes_max=16 * 1024 * 1024,
    )


def test_default_lies_in_its_own_range() -> None:
    for limit in [*fields(Timings), *fields(Bounds)]:
        assert limit.metadata["low"] <= limit.default <= limit.metadata["high"], limit.name


def test_values_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Timings().step_interval_ms = 5  # type: ignore[misc]


def test_secret_is_not_shown() -> None:
    assert "s3cret" not in repr(AccountConfig("alice", secret="s3cret"))


def test_node_is_found_by_its_id() -> None:
    assert parsed(MINIMAL + NODE_3).node(3).raft_port == 7003


def test_unknown_node_id_lists_those_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(MINIMAL + NODE_3).node(2)
    assert str(caught.value) == "cluster.toml: [nodes] there is no node 2; the nodes are 1, 3"


# What must be equal on all nodes.

GENESIS = """\
raftbook genesis 1
cluster_id demo-1
bound accounts_max 10000
bound book_orders_max 2000000
bound closed_orders_max 1000
bound instruments_max 1000
bound open_orders_max 200000
bound reply_window 1024
bound session_idle_ms 86400000
bound sessions_max 10000
bound sessions_per_account_max 1000
bound trades_kept 1000
account alice trader
account bob operator
instrument symbol=BTC-USD base=BTC quote=USD tick_size=0.01 lot_size=0.001 qty_max=1000 \
price_min=- price_max=- band_low=- band_high=- notional_max=- collar=- reference_price=0
"""
BOB = '[[accounts]]\nname = "bob"\noperator = true\n'
BTC_USD_TERMS = BTC_USD + 'qty_max = "1000"\nreference_price = "0"\n'


def test_genesis_text_is_one_fact_a_line() -> None:
    assert parsed(MINIMAL + BOB + BTC_USD_TERMS).genesis_text() == GENESIS


@pytest.mark.parametrize(
    "text",
    [
        CLUSTER + BTC_USD_TERMS + BOB + ALICE + NODE_3 + NODE_1,
        MINIMAL + BOB + BTC_USD_TERMS.replace('"1000"', '"1000.000"').replace('"0"', '"-0.00"'),
        MINIMAL + BOB + BTC_USD_TERMS.replace("0.001", "0.00100"),
        MINIMAL + 'secret = "s3cret"\n' + BOB + BTC_USD_TERMS,
        MINIMAL + BOB + BTC_USD_TERMS + "[timings]\nstep_interval_ms = 10\n",
        MINIMAL + BOB + BTC_USD_TERMS + "[bounds]\nconnections_max = 10\n",
        MINIMAL.replace('"demo"', '"other"') + BOB + BTC_USD_TERMS,
    ],
    ids=["order", "zeros", "lot zeros", "secret", "timings", "connections", "name"],
)
def test_genesis_text_ignores_what_may_differ(text: str) -> None:
    assert parsed(text).genesis_text() == GENESIS


@pytest.mark.parametrize(
    "text",
    [
        MINIMAL.replace('"demo-1"', '"demo-2"') + BOB + BTC_USD_TERMS,
        MINIMAL + BOB.replace("true", "false") + BTC_USD_TERMS,
        MINIMAL + BOB + BTC_USD_TERMS.replace('"1000"', '"1001"'),
        MINIMAL + BOB + BTC_USD_TERMS + 'band_low = "1"\n',
        MINIMAL + BOB,
        MINIMAL + BOB + BTC_USD_TERMS + "[bounds]\ntrades_kept = 10\n",
    ],
    ids=["cluster id", "operator", "qty_max", "band", "instrument", "bound"],
)
def test_genesis_text_shows_what_must_not_differ(text: str) -> None:
    assert parsed(text).genesis_text() != GENESIS


# Which file.


def test_explicit_file_wins(tmp_path: Path) -> None:
    named, other = tmp_path / "a.toml", tmp_path / "b.toml"
    named.touch()
    other.touch()
    assert find_config(str(named), {"RAFTBOOK_CONFIG": str(other)}) == named


def test_environment_wins_over_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cluster.toml").touch()
    Path("other.toml").touch()
    assert find_config(None, {"RAFTBOOK_CONFIG": "other.toml"}) == Path("other.toml")


def test_folder_is_searched_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cluster.toml").touch()
    assert find_config(None, {"RAFTBOOK_CONFIG": ""}) == Path("cluster.toml")


@pytest.mark.parametrize(
    ("explicit", "environ", "message"),
    [
        ("x.toml", {}, "x.toml: there is no such file; --config names it; correct that"),
        (
            None,
            {"RAFTBOOK_CONFIG": "y.toml"},
            "y.toml: there is no such file; RAFTBOOK_CONFIG names it; correct that",
        ),
        (
            None,
            {},
            "cluster.toml: there is no such file here; write one with: raftbook init, "
            "or name yours with --config or RAFTBOOK_CONFIG",
        ),
    ],
)
def test_missing_file_says_who_named_it(
    explicit: str | None,
    environ: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if explicit or environ:
        Path("cluster.toml").touch()  # must not be taken in place of the one that was named
    with pytest.raises(ConfigError) as caught:
        find_config(explicit, environ)
    assert str(caught.value) == message


def test_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: cannot be read: Is a directory; check the name and the permissions"
    )


def test_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cluster.toml"
    file.write_bytes(b'[cluster]\nname = "caf\xe9"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(caught.value) == f"{file}: byte 21 is not UTF-8; save it as UTF-8"


# What is refused, word for word.


def test_error_carries_its_place() -> None:
    error = refusal(MINIMAL + NODE_3.replace("7003", "7001"))
    assert (error.file, error.table, error.key) == ("cluster.toml", "nodes", "raft_port")
    assert error.problem == "node 3: raft port 7001 is already node 1's"
    assert error.hint == "give each node its own port"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            CLUSTER + NODE_1.replace('"127.0.0.1"', "127.0.0.1"),
            "cluster.toml: line 9, column 13: expected newline or end of document after a "
            "statement; the line reads: host = 127.0.0.1",
        ),
        (
            '[cluster]\nname "demo"\n',
            "cluster.toml: line 2, column 6: expected '=' after a key in a key/value pair; "
            'the line reads: name "demo"',
        ),
        (
            '[cluster]\nname = """demo',
            "cluster.toml: end of document: unterminated string; "
            "a quote or a bracket is not closed",
        ),
        (
            CLUSTER + 'name = "again"\n',
            "cluster.toml: line 6, column 15: cannot overwrite a value; "
            'the line reads: name = "again"',
        ),
    ],
)
def test_syntax_error_shows_the_line(text: str, message: str) -> None:
    assert str(refusal(text)) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "[cluster] is missing; write [cluster] with name, id and default_account"),
        (NODE_1, "[cluster] is missing; write [cluster] with name, id and default_account"),
        (
            CLUSTER + ALICE,
            "[nodes] is missing; write [[nodes]] once for every node, at least one",
        ),
        (
            CLUSTER + NODE_1,
            '[accounts] is missing; write [[accounts]] with name = "demo", at least one',
        ),
        (MINIMAL + "[node]\n", "unknown table [node]; did you mean nodes?"),
        (
            MINIMAL + "[zzz]\n",
            "unknown table [zzz]; "
            "known: cluster, nodes, timings, bounds, currencies, instruments, accounts",
        ),
        (
            'data_dir = "x"\n' + MINIMAL,
            "key data_dir stands outside any table; move it under its table, such as [cluster]",
        ),
        (
            CLUSTER + NODE_1.replace("[[nodes]]", "[nodes]") + ALICE,
            "[nodes] must be a list of tables; write [[nodes]], with two brackets, above every "
            "node",
        ),
        (
            "nodes = [1]\n" + CLUSTER + ALICE,
            "[nodes] must be a list of tables; write [[nodes]], with two brackets, above every "
            "node",
        ),
        (
            CLUSTER.replace("[cluster]", "[[cluster]]") + NODE_1 + ALICE,
            "[cluster] must be one table; write [cluster] once, on a line of its own",
        ),
        (
            MINIMAL + "[[timings]]\n",
            "[timings] must be one table; write [timings] once, on a line of its own",
        ),
    ],
)
def test_bad_table_is_refused(text: str, message: str) -> None:
    assert str(refusal(text)).removeprefix("cluster.toml: ") == message


NAME_RULE = "1 to 32 of a-z 0-9 . _ -, beginning with a letter or digit"


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        ('name = "demo"', "", 'name is missing; write for example name = "demo"'),
        ('id = "demo-1"', "", 'id is missing; write for example id = "demo-1"'),
        (
            'default_account = "alice"',
            "",
            'default_account is missing; write for example default_account = "alice"',
        ),
        (
            'default_account = "alice"',
            'default_account = "alise"',
            'default_account "alise" is not in [[accounts]]; did you mean alice?',
        ),
        (
            'default_account = "alice"',
            'default_account = "zed"',
            'default_account "zed" is not in [[accounts]]; known: alice',
        ),
        ('name = "demo"', 'nmae = "demo"', "unknown key nmae; did you mean name?"),
        (
            'name = "demo"',
            "xyz = 1",
            "unknown key xyz; known: name, id, data_dir, secret_file, default_account",
        ),
        (
            'name = "demo"',
            "name = 7",
            'name is 7, not a string that is not empty; write for example name = "demo"',
        ),
        (
            'name = "demo"',
            'name = ""',
            'name is "", not a string that is not empty; write for example name = "demo"',
        ),
        (
            'name = "demo"',
            'name = "My Book"',
            f'name "My Book" is not {NAME_RULE}; write for example name = "demo"',
        ),
        (
            'name = "demo"',
            'name = "line\\nbreak"',
            f'name "line\\nbreak" is not {NAME_RULE}; write for example name = "demo"',
        ),
        (
            'id = "demo-1"',
            'id = "-1"',
            f'id "-1" is not {NAME_RULE}; write for example id = "demo-1"',
        ),
        (
            'name = "demo"',
            'name = "demo"\ndata_dir = ["x"]',
            "data_dir is a list, not a string that is not empty; "
            'write for example data_dir = "data"',
        ),
        (
            'name = "demo"',
            'name = "demo"\nsecret_file = {}',
            "secret_file is a table, not a string that is not empty; "
            'write for example secret_file = "cluster.secret"',
        ),
    ],
)
def test_bad_cluster_key_is_refused(line: str, replacement: str, message: str) -> None:
    assert line in MINIMAL
    error = refusal(MINIMAL.replace(line, replacement, 1))
    assert str(error) == f"cluster.toml: [cluster] {message}"


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        ("id = 3", "", "entry 2: id is missing; write for example id = 1"),
        (
            "id = 3",
            "id = true",
            "entry 2: id is true, not a whole number; write for example id = 1",
        ),
        ("id = 3", 'id = "3"', 'node 3: id is "3", not a whole number; write for example id = 1'),
        ("id = 3", "id = 3.0", "entry 2: id is 3.0, not a whole number; write for example id = 1"),
        ("id = 3", "id = 0", "node 0: id 0 is out of range; write a number from 1 to 255"),
        ("id = 3", "id = 256", "node 256: id 256 is out of range; write a number from 1 to 255"),
        ("id = 3", "id = 1", "node 1: the id is taken twice; give each node its own id"),
        ("id = 3", "id = 3\nport = 1", "node 3: unknown key port; did you mean raft_port?"),
        (
            "raft_port = 7003",
            "",
            "node 3: raft_port is missing; write for example raft_port = 7001",
        ),
        (
            "raft_port = 7003",
            "raft_port = true",
            "node 3: raft_port is true, not a whole number; write for example raft_port = 7001",
        ),
        (
            "raft_port = 7003",
            "raft_port = 0",
            "node 3: raft_port 0 is out of range; write a number from 1 to 65535",
        ),
        (
            "http_port = 8003",
            "http_port = 65536",
            "node 3: http_port 65536 is out of range; write a number from 1 to 65535",
        ),
        (
            "raft_port = 7003",
            "raft_port = 7001",
            "node 3: raft port 7001 is already node 1's; give each node its own port",
        ),
        (
            "client_port = 7103",
            "client_port = 7001",
            "node 3: client port 7001 is already node 1's raft port; give each its own port",
        ),
        (
            "http_port = 8003",
            "http_port = 7103",
            "node 3: http port 7103 is already its own client port; give each its own port",
        ),
        (
            'host = "127.0.0.1"',
            "",
            'node 3: host is missing; write for example host = "127.0.0.1"',
        ),
        (
            'host = "127.0.0.1"',
            'host = "10.0.0.3:7003"',
            'node 3: host "10.0.0.3:7003" is neither an address nor a host name; '
            'write it alone, without a port: host = "127.0.0.1"',
        ),
        (
            'host = "127.0.0.1"',
            'host = "10.0.0.300"',
            'node 3: host "10.0.0.300" is neither an address nor a host name; '
            'write it alone, without a port: host = "127.0.0.1"',
        ),
        (
            'host = "127.0.0.1"',
            'host = "0.0.0.0"',
            'node 3: host "0.0.0.0" can be listened on but not dialled; '
            "write the address at which its peers reach it",
        ),
    ],
)
def test_bad_node_is_refused(line: str, replacement: str, message: str) -> None:
    assert line in NODE_3
    error = refusal(MINIMAL + NODE_3.replace(line, replacement))
    assert str(error) == f"cluster.toml: [nodes] {message}"


def test_ten_nodes_are_refused() -> None:
    nodes = [NodeAddress(i, f"10.0.0.{i}", 7000, 7100, 8000) for i in range(1, 11)]
    assert str(refusal(render_config(nodes=nodes))) == (
        "cluster.toml: [nodes] there are 10 nodes; 9 is the most; 5 already survive the loss of 2"
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", 'entry 2: name is missing; write for example name = "alice"'),
        (
            'name = "Bob"',
            f'account Bob: name "Bob" is not {NAME_RULE}; write for example name = "alice"',
        ),
        ('name = "alice"', "account alice: the name is taken twice; remove one of them"),
        (
            'name = "bob"\noperator = 1',
            "account bob: operator is 1, not true or false; write for example operator = false",
        ),
        (
            'name = "bob"\nsecret = 1234',
            "account bob: secret is not usable; write a string that is not empty, "
            "or remove the key for an open account",
        ),
        (
            'name = "bob"\nsecret = ""',
            "account bob: secret is not usable; write a string that is not empty, "
            "or remove the key for an open account",
        ),
        ('name = "bob"\nscret = "x"', "account bob: unknown key scret; did you mean secret?"),
    ],
)
def test_bad_account_is_refused(lines: str, message: str) -> None:
    error = refusal(f"{MINIMAL}[[accounts]]\n{lines}\n")
    assert str(error) == f"cluster.toml: [accounts] {message}"


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        (
            'symbol = "BTC-USD"',
            "",
            'entry 1: symbol is missing; write for example symbol = "BTC-USD"',
        ),
        (
            'symbol = "BTC-USD"',
            'symbol = "btc/usd"',
            'instrument btc/usd: symbol "btc/usd" is not 1 to 32 of A-Z 0-9 . _ -, beginning '
            'with a letter or digit; write for example symbol = "BTC-USD"',
        ),
        (
            'base = "BTC"',
            'base = "btc"',
            'instrument BTC-USD: base "btc" is not 1 to 16 of A-Z 0-9; '
            'write for example base = "BTC"',
        ),
        (
            'quote = "USD"',
            'quote = "BTC"',
            "instrument BTC-USD: quote is the same as base; write two different ones",
        ),
        (
            'tick_size = "0.01"',
            "",
            'instrument BTC-USD: tick_size is missing; write for example tick_size = "0.01"',
        ),
        (
            'tick_size = "0.01"',
            "tick_size = 0.05",
            "instrument BTC-USD: tick_size 0.05 is a float, which cannot hold it exactly; "
            'write it in quotes: tick_size = "0.05"',
        ),
        (
            'tick_size = "0.01"',
            "tick_size = 1",
            "instrument BTC-USD: tick_size 1 is a number without quotes; "
            'write it in quotes: tick_size = "1"',
        ),
        (
            'tick_size = "0.01"',
            "tick_size = nan",
            "instrument BTC-USD: tick_size nan is a float, which cannot hold it exactly; "
            'write it in quotes: tick_size = "0.01"',
        ),
        (
            'tick_size = "0.01"',
            "tick_size = 1e-2",
            "instrument BTC-USD: tick_size 1e-2 is a float, which cannot hold it exactly; "
            'write it in quotes: tick_size = "0.01"',
        ),
        *[
            (
                'tick_size = "0.01"',
                f'tick_size = "{text}"',
                f'instrument BTC-USD: tick_size is "{text}", not a plain decimal number in '
                'quotes; write for example tick_size = "0.01"',
            )
            for text in ("NaN", "Infinity", "-Infinity", "1e-2", "1_000", " 1", "0x1", ".5", "٣")
        ],
        (
            'tick_size = "0.01"',
            "tick_size = true",
            "instrument BTC-USD: tick_size is true, not a plain decimal number in quotes; "
            'write for example tick_size = "0.01"',
        ),
        (
            'tick_size = "0.01"',
            'tick_size = "0"',
            "instrument BTC-USD: tick_size 0 is not positive; write more than 0",
        ),
        (
            'lot_size = "0.001"',
            'lot_size = "-0.001"',
            "instrument BTC-USD: lot_size -0.001 is not positive; write more than 0",
        ),
        (
            'lot_size = "0.001"',
            'lot_sice = "0.001"',
            "instrument BTC-USD: unknown key lot_sice; did you mean lot_size?",
        ),
    ],
)
def test_bad_instrument_is_refused(line: str, replacement: str, message: str) -> None:
    assert line in BTC_USD
    error = refusal(MINIMAL + BTC_USD.replace(line, replacement))
    assert str(error) == f"cluster.toml: [instruments] {message}"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            'qty_max = "1.0005"',
            "qty_max 1.0005 is not a whole multiple of lot_size 0.001; "
            'write for example qty_max = "1"',
        ),
        (
            'price_max = "0.005"',
            "price_max 0.005 is not a whole multiple of tick_size 0.01; "
            'write for example price_max = "0.01"',
        ),
        (
            'price_min = "-7.125"',
            "price_min -7.125 is not a whole multiple of tick_size 0.01; "
            'write for example price_min = "-7.12"',
        ),
        (
            'notional_max = "0.000015"',
            "notional_max 0.000015 is not a whole multiple of tick_size x lot_size 0.00001; "
            'write for example notional_max = "0.00001"',
        ),
        ('qty_max = "0"', "qty_max 0 is not positive; write more than 0"),
        ('collar = "-1"', "collar -1 is not positive; write more than 0"),
        (
            'qty_max = "9223372036854775.808"',
            "qty_max 9223372036854775.808 is 9223372036854775808 times lot_size, more than 64 "
            "bits hold; write less, or a larger lot_size",
        ),
        (
            'price_min = "5"\nprice_max = "5"',
            "price_min 5 is not below price_max 5; exchange them or widen the range",
        ),
        (
            'band_low = "9"\nband_high = "8.5"',
            "band_low 9 is not below band_high 8.5; exchange them or widen the range",
        ),
        (
            "band_low = 1.5",
            "band_low 1.5 is a float, which cannot hold it exactly; write it in "
            'quotes: band_low = "1.5"',
        ),
    ],
)
def test_bad_instrument_terms_are_refused(lines: str, message: str) -> None:
    error = refusal(f"{MINIMAL}{BTC_USD}{lines}\n")
    assert str(error) == f"cluster.toml: [instruments] instrument BTC-USD: {message}"


def test_largest_admissible_quantity_is_accepted() -> None:
    config = parsed(MINIMAL + BTC_USD + 'qty_max = "9223372036854775.807"\n')
    assert config.instruments[0].qty_max == Decimal("9223372036854775.807")


def test_symbol_taken_twice_is_refused() -> None:
    assert str(refusal(MINIMAL + BTC_USD + BTC_USD)) == (
        "cluster.toml: [instruments] instrument BTC-USD: the symbol is taken twice; "
        "remove one of them"
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "heartbeat_ms = 60",
            "unknown key heartbeat_ms; did you mean heartbeat_interval_ms?",
        ),
        (
            "step_interval_ms = 0",
            "step_interval_ms 0 is out of range; write a number from 1 to 1000",
        ),
        (
            "step_interval_ms = true",
            "step_interval_ms is true, not a whole number; write for example step_interval_ms = 20",
        ),
        (
            "step_interval_ms = 60",
            "step_interval_ms = 60 and heartbeat_interval_ms = 60 (the default) clash: "
            "heartbeats leave in a step; "
            "write step_interval_ms = 59 or less, or heartbeat_interval_ms = 61 or more",
        ),
        (
            "heartbeat_interval_ms = 100",
            "heartbeat_interval_ms = 100 and election_timeout_min_ms = 300 (the default) clash: "
            "three heartbeats must fit into the silence before an election; "
            "write heartbeat_interval_ms = 99 or less, or election_timeout_min_ms = 301 or more",
        ),
        (
            "election_timeout_min_ms = 600\nelection_timeout_max_ms = 600",
            "election_timeout_min_ms = 600 and election_timeout_max_ms = 600 clash: "
            "only a spread keeps two nodes from standing at the same moment; "
            "write election_timeout_min_ms = 599 or less, or election_timeout_max_ms = 601 or more",
        ),
        (
            "leader_fallback_ms = 180",
            "heartbeat_interval_ms = 60 (the default) and leader_fallback_ms = 180 clash: "
            "a leader must not give up over one lost heartbeat; "
            "write heartbeat_interval_ms = 59 or less, or leader_fallback_ms = 181 or more",
        ),
        (
            "leader_fallback_ms = 1201",
            "leader_fallback_ms = 1201 and election_timeout_max_ms = 600 (the default) clash: "
            "a leader that is cut off must give up soon after the others have elected another; "
            "write leader_fallback_ms = 1200 or less, or election_timeout_max_ms = 601 or more",
        ),
        (
            "request_deadline_ms = 600",
            "election_timeout_max_ms = 600 (the default) and request_deadline_ms = 600 clash: "
            "a request should outlive an election; "
            "write election_timeout_max_ms = 599 or less, or request_deadline_ms = 601 or more",
        ),
        (
            "request_deadline_ms = 60000",
            "request_deadline_ms = 60000 and idle_timeout_ms = 60000 (the default) clash: "
            "a client that waits is not idle; "
            "write request_deadline_ms = 59999 or less, or idle_timeout_ms = 60001 or more",
        ),
        (
            "idle_timeout_ms = 2500",
            "handshake_timeout_ms = 3000 (the default) and idle_timeout_ms = 2500 clash: "
            "a handshake is no idling; "
            "write handshake_timeout_ms = 2500 or less, or idle_timeout_ms = 3000 or more",
        ),
        (
            "reconnect_min_ms = 1001",
            "reconnect_min_ms = 1001 and reconnect_max_ms = 1000 (the default) clash: "
            "the wait grows; "
            "write reconnect_min_ms = 1000 or less, or reconnect_max_ms = 1001 or more",
        ),
        (
            "heartbeat_interval_ms = 2\nstep_interval_ms = 2",
            "step_interval_ms = 2 and heartbeat_interval_ms = 2 clash: heartbeats leave in a "
            "step; write step_interval_ms = 1 or less, or heartbeat_interval_ms = 3 or more",
        ),
    ],
)
def test_bad_timings_are_refused(lines: str, message: str) -> None:
    error = refusal(f"{MINIMAL}[timings]\n{lines}\n")
    assert str(error) == f"cluster.toml: [timings] {message}"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("frames_max = 1", "unknown key frames_max; did you mean frame_bytes_max?"),
        ("trades_kept = 0", "trades_kept 0 is out of range; write a number from 1 to 1000000"),
        (
            "entry_bytes_max = 2097152",
            "entry_bytes_max = 2097152 and frame_bytes_max = 4194304 (the default) clash: "
            "an entry travels in a frame; "
            "write entry_bytes_max = 2097151 or less, or frame_bytes_max = 4194305 or more",
        ),
        (
            "peer_buffer_bytes_max = 65536",
            "frame_bytes_max = 4194304 (the default) and peer_buffer_bytes_max = 65536 clash: "
            "a frame is buffered; "
            "write peer_buffer_bytes_max = 4194304 or more",
        ),
        (
            "client_buffer_bytes_max = 65536",
            "frame_bytes_max = 4194304 (the default) and client_buffer_bytes_max = 65536 clash: "
            "a frame is buffered; "
            "write client_buffer_bytes_max = 4194304 or more",
        ),
        (
            "frame_bytes_max = 1048576",
            "frame_bytes_max = 1048576 is too small: nodes send each other pieces of 1 MiB, "
            "and their framing; write frame_bytes_max = 2097152 or more",
        ),
        (
            "pending_bytes_max = 65536",
            "entry_bytes_max = 262144 (the default) and pending_bytes_max = 65536 clash: "
            "one request may fill it; "
            "write entry_bytes_max = 65536 or less, or pending_bytes_max = 262144 or more",
        ),
        (
            "snapshot_every_bytes = 65536",
            "entry_bytes_max = 262144 (the default) and snapshot_every_bytes = 65536 clash: "
            "one entry is written; "
            "write entry_bytes_max = 65536 or less, or snapshot_every_bytes = 262144 or more",
        ),
        (
            "requests_pending_max = 100",
            "entry_requests_max = 4096 (the default) and requests_pending_max = 100 clash: "
            "an entry is made of these; "
            "write entry_requests_max = 100 or less, or requests_pending_max = 4096 or more",
        ),
        (
            "sessions_max = 10",
            "sessions_per_account_max = 1000 (the default) and sessions_max = 10 clash: "
            "one account is part of all; "
            "write sessions_per_account_max = 10 or less, or sessions_max = 1000 or more",
        ),
        (
            "book_orders_max = 10",
            "open_orders_max = 200000 (the default) and book_orders_max = 10 clash: "
            "one account is part of all; "
            "write open_orders_max = 10 or less, or book_orders_max = 200000 or more",
        ),
    ],
)
def test_bad_bounds_are_refused(lines: str, message: str) -> None:
    error = refusal(f"{MINIMAL}[bounds]\n{lines}\n")
    assert str(error) == f"cluster.toml: [bounds] {message}"


def test_smallest_frame_holds_whatever_a_peer_sends() -> None:
    (frame,) = [limit for limit in fields(Bounds) if limit.name == "frame_bytes_max"]
    low = frame.metadata["low"]
    smallest_request = len(pack_request(1, 1, ((11,),)))
    requests = (b"x" * smallest_request,) * (FORWARD_BYTES_MAX // smallest_request)
    entries = (
        (b"x" * (APPEND_BYTES_MAX // APPEND_ENTRIES_MAX), 2**63, 2**63),
    ) * APPEND_ENTRIES_MAX
    append = {"type": "append", "term": 2**63, "commit_index": 2**63, "prev_index": 2**63}
    header = {"type": "install", "term": 2**63, "header": b"x" * HEADER_BYTES, "offset": 2**63}
    for message in (
        {"type": "forward", "requests": requests},
        {**append, "prev_term": 2**63, "entries": entries},
        {**header, "chunk": b"x" * PIECE_BYTES, "last": True},
    ):
        assert len(pack(message)) <= low, message["type"]
    assert low >= pages.FRAME_BYTES_MAX, "a page must fit the smallest buffer of a client"


def test_clash_hint_leaves_out_what_is_out_of_range() -> None:
    error = refusal(f"{MINIMAL}[timings]\nrequest_deadline_ms = 20\n")
    assert error.hint == "write request_deadline_ms = 601 or more"


@pytest.mark.parametrize(
    ("shape", "rules"),
    [(Timings, TIMING_RULES), (Bounds, BOUND_RULES)],
)
def test_larger_side_of_a_rule_can_always_be_raised(
    shape: type[Timings] | type[Bounds], rules: Sequence[LimitRule]
) -> None:
    high = {limit.name: limit.metadata["high"] for limit in fields(shape)}
    for rule in rules:
        gap = 0 if rule.may_equal else 1
        largest_need = high[rule.smaller] * rule.smaller_times + gap
        assert largest_need <= high[rule.larger] * rule.larger_times, rule


def test_more_accounts_than_their_bound_are_refused() -> None:
    text = f"{MINIMAL}{BOB}[bounds]\naccounts_max = 1\n"
    assert str(refusal(text)) == (
        "cluster.toml: [accounts] there are 2 accounts, more than [bounds] accounts_max = 1; "
        "write accounts_max = 2 or more"
    )


TWO_OF_ONE_NAME = """
[[instruments]]
symbol = "BTC-USD-26"
base = "BTC"
quote = "USD"
tick_size = "0.01"
lot_size = "0.001"
"""


def test_two_instruments_of_one_name_on_an_http_port_are_refused() -> None:
    error = refusal(MINIMAL + BTC_USD + TWO_OF_ONE_NAME)
    assert "BTC-USD and BTC-USD-26 would both be BTCUSD on an http_port" in str(error)


def test_two_instruments_of_one_name_without_http_ports_are_two() -> None:
    text = re.sub("http_port = .*\n", "", MINIMAL) + BTC_USD + TWO_OF_ONE_NAME
    assert len(parsed(text).instruments) == 2


def test_http_port_may_be_left_out() -> None:
    config = parsed(MINIMAL.replace("http_port = 8001\n", ""))
    assert config.nodes[0].http_port is None
