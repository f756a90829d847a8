"""The deployed stack in a world of its own, which all tests of the layer share."""

from collections.abc import Iterator

import pytest

from snapferry_sandbox import deployment, world
from tests.sandbox.migrations import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    # Waits of the state machines are cut short: nothing here is large.
    with world.running(world.Options(time_scale=0.2), print) as up:
        yield Sandbox(deployment.deploy(up, print))
