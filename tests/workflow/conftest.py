"""The product's state machines on one LocalStack, their handlers in the tests."""

from collections.abc import Iterator
from typing import Any

import pytest

from snapferry_sandbox import localstack
from tests.workflow.fake_handlers import Payload, serve
from tests.workflow.migration import Migration
from tests.workflow.state_machines import StateMachines

# A Wait of 1000 seconds takes one, which is long enough to be seen.
TIME_SCALE = 0.001


def migration_of(payload: Payload) -> str:
    """The id of the migration that a handler is called for."""
    if "execution_arn" in payload and "migration_id" not in payload:
        return str(payload["execution_arn"]).rpartition(":")[2]
    jobs = [payload["job"]] if "job" in payload else payload.get("jobs", [])
    return str((jobs[0] if jobs else payload)["migration_id"])


class Migrations:
    """The migrations of all tests, by their ids."""

    def __init__(self) -> None:
        self._migrations: dict[str, Migration] = {}

    def add(self, state_machines: StateMachines) -> Migration:
        migration = Migration(state_machines, f"migration-{len(self._migrations) + 1}")
        self._migrations[migration.migration_id] = migration
        return migration

    def answer(self, handler: str, payload: Payload) -> Any:
        return self._migrations[migration_of(payload)].answer(handler, payload)


@pytest.fixture(scope="session")
def migrations() -> Migrations:
    return Migrations()


@pytest.fixture(scope="session")
def aws(
    migrations: Migrations, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[localstack.LocalStack]:
    folder = tmp_path_factory.mktemp("localstack")
    with serve(migrations.answer) as url:
        started = localstack.start(
            folder / "localstack",
            folder / "logs",
            lambda_environment={"FAKE_HANDLERS_URL": url},
            time_scale=TIME_SCALE,
        )
        try:
            yield started
        finally:
            started.process.stop(timeout_seconds=0)


@pytest.fixture(scope="session")
def state_machines(aws: localstack.LocalStack) -> StateMachines:
    return StateMachines(aws.endpoint)


@pytest.fixture
def migration(migrations: Migrations, state_machines: StateMachines) -> Migration:
    return migrations.add(state_machines)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name == "test_coverage.py")
