"""The order of the sandbox's tests, how many are generated, and what they share."""

import pytest

from tests.sandbox import listening
from tests.sandbox.migrations import Sandbox


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


@pytest.fixture(scope="session")
def told(sandbox: Sandbox) -> listening.Told:
    """Two migrations that several modules look at."""
    return listening.listen(sandbox)
