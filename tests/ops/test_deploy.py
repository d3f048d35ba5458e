"""The files of deploy/: what a dashboard or an alert asks for is there, as is what is copied."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from raftbook.config import load_config
from tests.gateway.door import Door, at_the_door
from tests.web.asgi import app_of, get

DEPLOY = Path(__file__).parents[2] / "deploy"
_METRIC = re.compile(r"\b(?:raftbook|process)_[a-z_]+\b")
_PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}  # Linux alone has them


def _expressions() -> Iterator[str]:
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        assert panel["description"], panel["title"]
        for target in panel["targets"]:
            yield target["expr"]
    rules = (DEPLOY / "prometheus-rules.yml").read_text()
    yield from re.findall(r"^ +expr: (.+)$", rules, re.MULTILINE)


def test_every_metric_that_is_asked_for_is_there(tmp_path: Path) -> None:
    told: set[str] = set()

    async def scene(door: Door) -> None:
        text = (await get(app_of(door, tmp_path), "/metrics")).body.decode()
        for family in text_string_to_metric_families(text):
            told.add(f"{family.name}_total" if family.type == "counter" else family.name)
            told.update(sample.name for sample in family.samples)

    at_the_door(tmp_path, scene)
    asked = {name for expression in _expressions() for name in _METRIC.findall(expression)}
    # Of a peer, or of what has not happened yet, there is no sample: then the family counts.
    assert asked - told - _PROCESS == set()
    assert len(asked) > 20


def test_every_event_that_an_alert_names_is_shown_before_it_happens(tmp_path: Path) -> None:
    told: set[tuple[str, str, str]] = set()

    async def scene(door: Door) -> None:
        text = (await get(app_of(door, tmp_path), "/metrics")).body.decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                told.update((sample.name, *label) for label in sample.labels.items())

    at_the_door(tmp_path, scene)
    selected = re.compile(r"(raftbook_[a-z_]+)\{([^}]*)\}")
    named = re.compile(r'(event|kind|code|role)=~?"([^"]+)"')
    asked = {
        (metric, label, value)
        for expression in _expressions()
        for metric, labels in selected.findall(expression)
        for label, values in named.findall(labels)
        for value in values.split("|")
    }
    assert len(asked) > 5
    assert asked - told == set()


def test_the_example_cluster_is_one() -> None:
    config = load_config(DEPLOY / "cluster.toml")
    assert [node.host for node in config.nodes] == ["node1", "node2", "node3"]
    assert {node.http_port for node in config.nodes} == {8001}


def test_the_image_has_what_the_package_needs() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    project: dict[str, Any] = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())
    assert "'.[gateway,top]'" in text
    assert {"gateway", "top"} <= set(project["project"]["optional-dependencies"])
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (DEPLOY.parent / name).exists(), name
