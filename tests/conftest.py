"""Marks each test with its layer, and holds what layers share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from snapferry_sandbox import deployment, world
from tests.sandbox.migrations import Sandbox


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The layer is the name of the folder that a test lies in."""
    for item in items:
        item.add_marker(item.path.relative_to(Path(__file__).parent).parts[0])


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A world with the deployed stack."""
    # Waits of the state machines are cut short: nothing here is large.
    with world.running(world.Options(time_scale=0.2), print) as up:
        yield Sandbox(deployment.deploy(up, print))
