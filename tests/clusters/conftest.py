"""A migration's job, and the product's own clients of the two clusters."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from opensearchpy import OpenSearch

from snapferry import access, clients, repositories, request, roll_back
from snapferry.journal import Journal
from snapferry.ownership import Ownership
from snapferry.request import DomainJob
from tests import kept_clients
from tests.sandbox.migrations import Sandbox, granted


# Not for the whole session: other layers have an environment and rights of their own.
@pytest.fixture(scope="module", autouse=True)
def lambda_environment(sandbox: Sandbox) -> Iterator[None]:
    """What a function of the stack has in its environment."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in sandbox.function_environment.items():
            environment.setenv(name, value)
        kept_clients.forget()
        yield
        kept_clients.forget()


@pytest.fixture(scope="module", autouse=True)
def rights(sandbox: Sandbox, lambda_environment: None) -> Iterator[None]:  # noqa: ARG001
    """What a migration is granted when it begins."""
    migration_id = f"test-{uuid.uuid4().hex[:12]}"
    [job], _ = request.parse(sandbox.request("*"), migration_id)
    with granted(job):
        yield


@pytest.fixture
def job(sandbox: Sandbox) -> DomainJob:
    """The job of a migration of its own, in a path of its own."""
    migration_id = f"test-{uuid.uuid4().hex[:12]}"
    [job], _ = request.parse(
        sandbox.request("*", bucket__base_path=f"snapferry/{migration_id}"), migration_id
    )
    return job


@pytest.fixture
def source(job: DomainJob) -> OpenSearch:
    return clients.source(job.domain)


@pytest.fixture
def destination(job: DomainJob) -> OpenSearch:
    return clients.destination(job.destination)


@pytest.fixture
def journal(job: DomainJob) -> Journal:
    return clients.journal(job.migration_id)


@pytest.fixture
def ownership(job: DomainJob) -> Ownership:
    return Ownership(clients.records(job.migration_id), job)


@contextmanager
def bucket_let_write(job: DomainJob) -> Iterator[None]:
    """The bucket lets the domain write, by a journal apart from the migration's."""
    bucket = clients.bucket(job.bucket)
    changes = clients.journal(f"{job.migration_id}-bucket")
    access.let_source_write(changes, bucket, [job], job.way)
    yield
    outcome = changes.give_back(lambda place: access.CHANGEABLES[place.kind](bucket, place.key))
    assert (outcome.failed, outcome.foreign) == ([], [])


@pytest.fixture
def writable_bucket(job: DomainJob) -> Iterator[None]:
    with bucket_let_write(job):
        yield


type GiveBack = Callable[[], dict[str, Any]]


@pytest.fixture
def give_back(job: DomainJob, journal: Journal) -> GiveBack:
    """Gives back what the migration has changed so far."""
    records = clients.records(job.migration_id)
    records.write("jobs", [job.model_dump(mode="json")])
    return partial(
        roll_back.give_back, journal, records, clients.sides(records), leave_at=float("inf")
    )


@pytest.fixture
def registered(
    job: DomainJob,
    journal: Journal,
    source: OpenSearch,
    destination: OpenSearch,
    ownership: Ownership,
    give_back: GiveBack,
    writable_bucket: None,  # noqa: ARG001
) -> Iterator[DomainJob]:
    """The job, with its repository on both sides."""
    repositories.register_source(journal, source, job)
    repositories.register_destination(journal, destination, job)
    yield job
    ownership.hand_over()
    outcome = give_back()
    assert (outcome["failed"], outcome["waiting"]) == ([], 0)
