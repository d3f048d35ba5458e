"""Ends what a test leaves running, so that only our own leaks are complained about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.replica.harness import Cluster


@pytest.fixture(autouse=True)
def end_clusters() -> Iterator[None]:
    yield
    for cluster in list(Cluster.alive):
        for node_id in list(cluster.replicas):
            cluster.crash(node_id)
