"""One cluster for all the tests that leave it as whole as they found it."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster, running_cluster


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes; one for all tests of a module."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
