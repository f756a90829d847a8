"""A migration's job, and the product's own clients of the two clusters."""

import uuid
from collections.abc import Iterator

import pytest
from opensearchpy import OpenSearch

from snapferry import clients, repositories, request, roll_back, security
from snapferry.request import DomainJob
from tests.sandbox.migrations import Sandbox


@pytest.fixture(scope="session", autouse=True)
def lambda_environment(sandbox: Sandbox) -> Iterator[None]:
    """What a function of the stack has in its environment."""
    account = sandbox.world.s3.accounts["destination"]
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "AWS_ACCESS_KEY_ID": account.access_key,
            "AWS_SECRET_ACCESS_KEY": account.secret_key,
            "AWS_DEFAULT_REGION": sandbox.world.aws.region,
            "AWS_ENDPOINT_URL": sandbox.world.aws.endpoint,
            "REQUESTS_CA_BUNDLE": str(sandbox.world.ca_bundle_file),
            "RECORDS_BUCKET": sandbox.world.deployment["records_bucket"],
            "TABLE_NAME": sandbox.world.deployment["table"],
        }.items():
            environment.setenv(name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def rights(sandbox: Sandbox, lambda_environment: None) -> Iterator[None]:  # noqa: ARG001
    """What a migration is granted when it begins."""
    migration_id = f"test-{uuid.uuid4().hex[:12]}"
    [job], _ = request.parse(sandbox.request("*"), migration_id)
    journal, records = clients.journal(migration_id), clients.records(migration_id)
    records.write("jobs", [job.model_dump(mode="json")])
    source, destination = job.domain, job.destination
    security.grant_at_source(
        journal, clients.source(source), clients.source_administrator(source), job
    )
    security.grant_at_destination(
        journal,
        clients.destination(destination),
        clients.destination_administrator(destination),
        job,
        clients.destination_user(destination),
    )
    yield
    outcome = roll_back.give_back(journal, records, clients.sides(records), float("inf"))
    assert not outcome["failed"]


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
def registered(job: DomainJob, source: OpenSearch, destination: OpenSearch) -> Iterator[DomainJob]:
    """The job, with its repository on both sides."""
    journal = clients.journal(job.migration_id)
    repositories.register_source(journal, source, job)
    repositories.register_destination(journal, destination, job)
    yield job
    for cluster in (destination, source):
        repositories.Repository(cluster, job.repository).write(None)
