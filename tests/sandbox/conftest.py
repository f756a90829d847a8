"""The order of the sandbox's tests, how many are generated, what they share, and their ends."""

from collections.abc import Iterator

import pytest

from tests.sandbox import listening
from tests.sandbox.migrations import Sandbox, Started, wait_until


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is held against all other tests comes after them; worlds of their own come last."""
    last = ("test_least_privilege.py", "test_engines.py")
    items.sort(key=lambda item: last.index(item.path.name) if item.path.name in last else -1)


def pytest_report_collectionfinish(items: list[pytest.Item]) -> list[str]:
    """Of how many states how many cases are tried."""
    cases = [
        item.callspec.params
        for item in items
        if isinstance(item, pytest.Function)
        and item.originalname == "test_a_migration_that_is_stopped_leaves_nothing"
    ]
    stopped_at = {(case["state_machine"], case["state"]) for case in cases}
    return (
        [f"Migrations stopped in {len(cases)} cases at {len(stopped_at)} states"] if cases else []
    )


@pytest.fixture(autouse=True)
def _stopped_where_it_failed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ends what a test that failed has left running, as its leases are in the way of later ones."""
    # A sandbox isn't brought up for the tests of its parts.
    wanted = "sandbox" in request.fixturenames
    sandbox: Sandbox | None = request.getfixturevalue("sandbox") if wanted else None
    failures = request.session.testsfailed
    yield
    if sandbox is None or request.session.testsfailed == failures:
        return
    sandbox.faults.clear()
    for execution_arn in sandbox.running("migrate"):
        started = Started(execution_arn.rpartition(":")[2], execution_arn)
        sandbox.abort(started)
        sandbox.roll_back_of(started)
    wait_until(lambda: not sandbox.running("roll_back"))


@pytest.fixture(scope="session")
def told(sandbox: Sandbox) -> listening.Told:
    """Two migrations that several modules look at."""
    return listening.listen(sandbox)
