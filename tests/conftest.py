"""Marks each test with its layer: the name of the folder it lies in."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(item.path.relative_to(Path(__file__).parent).parts[0])
