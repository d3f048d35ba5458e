"""What `raftbook connect` does beyond what the transcript in golden/connect.txt shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli.invocation import Invocation
from cli.main import run
from raftbook.config import load_config, render_config
from tests.cli.market import Market


def test_an_account_with_a_secret_gets_a_key_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text(render_config().replace('name = "bob"\n', 'name = "bob"\nsecret = "s"\n'))
    market = Market(load_config(path))
    line = ["connect", "ccxt", "--config", str(path), "--account", "bob", "-o", "json"]
    assert run(line, invocation=Invocation(connect=market.connect, environ={})) == 0
    document = json.loads(capsys.readouterr().out)
    account = market.machine.exchange.accounts_by_key[document["key"]]
    assert account.name == "bob"
    assert account.api_keys == {document["key"]: document["secret"]}
    assert document["secret"] != "s"
    assert f'"{document["key"]}", "secret": "{document["secret"]}"' in document["snippet"]


def test_a_cluster_without_http_ports_has_no_snippet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text(re.sub("http_port = .*\n", "", render_config()))
    line = ["connect", "ccxt", "--config", str(path)]
    assert run(line, invocation=Invocation(environ={})) == 2
    assert "has an http_port; write http_port = 8001 under [[nodes]]" in capsys.readouterr().err
