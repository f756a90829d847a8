"""Marks each test with its layer, deals layers to processes, and holds what they share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from snapferry_sandbox import deployment, world
from tests.sandbox.migrations import Sandbox


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The layer is the name of the folder that a test lies in."""
    for item in items:
        item.add_marker(item.path.relative_to(Path(__file__).parent).parts[0])


class LayerScheduling(LoadScopeScheduling):
    """A layer runs in one process, and those that use the one world in the same."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/sandbox/parts/"):
            return "parts"
        layer = nodeid.split("/")[1]
        return "world" if layer in ("clusters", "sandbox") else layer


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LayerScheduling:
    """What deals tests to processes, where there are several.

    Source: https://pytest-xdist.readthedocs.io/en/stable/how-to.html
    """
    return LayerScheduling(config, log)


@pytest.fixture(scope="session")
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A world with the deployed stack; its parameter, if there is one, says which engines."""
    options: world.Options = getattr(request, "param", world.Options(destination_domain=True))
    # Waits of the state machines are cut short: nothing here is large.
    wanted = options.model_copy(update={"time_scale": 0.1})
    with world.running(wanted, print) as up:
        assert (up.sources[0].version, up.destinations[0].version) == (
            wanted.source,
            wanted.destination,
        ), "a sandbox of other engines is up: take it down"
        yield Sandbox(deployment.deploy(up, print))
