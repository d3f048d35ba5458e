"""The order of the suite: what takes long begins first, so that the workers end together."""

import pytest

SLOW = ("e2e", "chaos", "sim", "core")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_place)  # within a folder the order stays


def _place(item: pytest.Item) -> int:
    folder = item.path.relative_to(item.config.rootpath).parts[1]
    return SLOW.index(folder) if folder in SLOW else len(SLOW)
