"""A migration's job, and the product's own clients of the two clusters."""

import uuid
from collections.abc import Iterator

import pytest
from opensearchpy import OpenSearch

from snapferry import clients, repositories, request
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
        }.items():
            environment.setenv(name, value)
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
def registered(job: DomainJob, source: OpenSearch, destination: OpenSearch) -> Iterator[DomainJob]:
    """The job, with its repository on both sides."""
    repositories.register_source(source, job)
    repositories.register_destination(destination, job)
    yield job
    repositories.unregister(destination, job)
    repositories.unregister(source, job)
