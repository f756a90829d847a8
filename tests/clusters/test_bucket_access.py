"""Both ways into the bucket, on an S3 that enforces policies, ACLs and ownership."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from opensearchpy import OpenSearch

from snapferry import access, clients, repositories, snapshots
from snapferry.errors import AccessDenied, AclRefused, BucketDenied
from snapferry.journal import BUCKET, GivenBack, Journal, Place, destination_side
from snapferry.request import DomainJob
from tests.sandbox.migrations import Sandbox, fill

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

THEIRS = {
    "Sid": "Theirs",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:DeleteBucket",
    "Resource": "arn:aws:s3:::snapferry-migration",
}
LATE = THEIRS | {"Sid": "Late", "Action": "s3:PutLifecycleConfiguration"}


def permissions(s3: "S3Client", bucket: str) -> Any:
    """The bucket's policy, ownership and ACL, as canonical JSON."""
    try:
        policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    except ClientError as error:
        policy = error.response["Error"]["Code"]
    ownership = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
    grants = s3.get_bucket_acl(Bucket=bucket)["Grants"]
    return json.dumps([policy, ownership, grants], sort_keys=True)


def put_policy(sandbox: Sandbox, *statements: Any) -> None:
    sandbox.bucket.put_bucket_policy(
        Bucket=sandbox.world.s3.bucket,
        Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )


@pytest.fixture(autouse=True)
def before(sandbox: Sandbox) -> Iterator[str]:
    """The permissions of a bucket that has a policy of its own; they are the same afterwards."""
    put_policy(sandbox, THEIRS)
    found = permissions(sandbox.bucket, sandbox.world.s3.bucket)
    yield found
    assert permissions(sandbox.bucket, sandbox.world.s3.bucket) == found
    sandbox.bucket.delete_bucket_policy(Bucket=sandbox.world.s3.bucket)


@pytest.fixture
def bucket(job: DomainJob) -> access.BucketPermissions:
    made = clients.bucket(job.bucket)
    assert made
    return made


@pytest.fixture
def journal(job: DomainJob) -> Journal:
    return clients.journal(job.migration_id)


@pytest.fixture
def give_back(
    job: DomainJob,
    journal: Journal,
    bucket: access.BucketPermissions,
    source: OpenSearch,
    destination: OpenSearch,
) -> Iterator[Callable[[], GivenBack]]:
    """Gives back what the journal holds, at the latest after the test."""
    changeables = {**access.CHANGEABLES, **repositories.CHANGEABLES}
    sides = {BUCKET: bucket, destination_side(job.destination.endpoint): destination}

    def run() -> GivenBack:
        def find(place: Place) -> Any:
            return changeables[place.kind](sides.get(place.side, source), place.key)

        return journal.give_back(find)

    yield run
    assert run().failed == []


def probe_files(sandbox: Sandbox, job: DomainJob) -> list[str]:
    """Objects of snapshots below the job's path."""
    answer = sandbox.bucket.list_objects_v2(
        Bucket=sandbox.world.s3.bucket, Prefix=f"{job.base_path}/snap-"
    )
    return [item["Key"] for item in answer.get("Contents", [])]


def register(journal: Journal, source: OpenSearch, destination: OpenSearch, job: DomainJob) -> None:
    repositories.register_source(journal, source, job)
    repositories.register_destination(journal, destination, job)


def take_snapshot(source: OpenSearch, job: DomainJob, index: str) -> None:
    source.snapshot.create(
        repository=job.repository,
        snapshot=job.snapshot(1),
        body={"indices": index, "include_global_state": False},
        params={"wait_for_completion": "true"},
    )


@pytest.mark.usefixtures("before")
def test_the_policy_lets_the_source_write_and_the_destination_read(
    sandbox: Sandbox,
    job: DomainJob,
    bucket: access.BucketPermissions,
    journal: Journal,
    source: OpenSearch,
    destination: OpenSearch,
    give_back: Callable[[], GivenBack],
    before: str,
) -> None:
    with pytest.raises(BucketDenied):
        register(journal, source, destination, job)
    give_back()

    access.let_source_write(journal, bucket, [job], "policy")
    register(journal, source, destination, job)
    assert access.prove(journal, bucket, source, destination, job) == "policy"
    assert probe_files(sandbox, job) == []

    fill(sandbox.source, "allowed-1", 10)
    take_snapshot(source, job, "allowed-1")
    [seen] = destination.snapshot.get(repository=job.repository, snapshot="_all")["snapshots"]
    assert seen["indices"] == ["allowed-1"]

    outcome = give_back()
    assert (outcome.failed, outcome.foreign, outcome.waiting) == ([], [], 0)
    assert permissions(sandbox.bucket, bucket.name) == before
    with pytest.raises(BucketDenied):
        register(journal, source, destination, job)


def test_a_probe_holds_nothing(
    sandbox: Sandbox,
    job: DomainJob,
    bucket: access.BucketPermissions,
    journal: Journal,
    source: OpenSearch,
    destination: OpenSearch,
    give_back: Callable[[], GivenBack],
) -> None:
    fill(sandbox.source, "unwanted-1", 10)
    access.let_source_write(journal, bucket, [job], "policy")
    register(journal, source, destination, job)
    probe = access.ProbeSnapshot(source, f"{job.repository}/probe")

    probe.write(True)

    assert probe.read() is True
    [seen] = destination.snapshot.get(repository=job.repository, snapshot="probe")["snapshots"]
    assert (seen["state"], seen["indices"]) == ("SUCCESS", [])
    probe.write(None)
    assert probe.read() is None
    give_back()
    assert probe.read() is None  # though its repository is gone


def test_by_the_acl_the_bucket_changes_between_writing_and_reading(
    sandbox: Sandbox,
    job: DomainJob,
    bucket: access.BucketPermissions,
    journal: Journal,
    source: OpenSearch,
    destination: OpenSearch,
    give_back: Callable[[], GivenBack],
    before: str,
) -> None:
    job = job.model_copy(update={"way": "acl"})
    access.let_source_write(journal, bucket, [job], "policy")
    # A domain that can't give its objects away.
    with pytest.raises(AclRefused):
        register(journal, source, destination, job)
    give_back()

    access.let_source_write(journal, bucket, [job], "acl")
    register(journal, source, destination, job)
    assert access.prove(journal, bucket, source, destination, job) == "acl"
    assert probe_files(sandbox, job) == []

    fill(sandbox.source, "owned-1", 10)
    take_snapshot(source, job, "owned-1")
    with pytest.raises(BucketDenied):
        destination.snapshot.get(repository=job.repository, snapshot="_all")
    access.let_destination_read(journal, bucket, "acl")
    [seen] = destination.snapshot.get(repository=job.repository, snapshot="_all")["snapshots"]
    assert seen["indices"] == ["owned-1"]
    with pytest.raises(AclRefused):
        source.snapshot.delete(repository=job.repository, snapshot=job.snapshot(1))
    with pytest.raises(AclRefused):
        snapshots.start(journal, source, job, 2, ["owned-1"])
    access.let_source_write(journal, bucket, [job], "acl")
    source.snapshot.delete(repository=job.repository, snapshot=job.snapshot(1))

    outcome = give_back()
    assert (outcome.failed, outcome.foreign, outcome.waiting) == ([], [], 0)
    assert permissions(sandbox.bucket, bucket.name) == before


def test_objects_that_the_destination_cannot_read_ask_for_the_acl(
    sandbox: Sandbox,
    job: DomainJob,
    bucket: access.BucketPermissions,
    journal: Journal,
    source: OpenSearch,
    destination: OpenSearch,
    give_back: Callable[[], GivenBack],
) -> None:
    """In a bucket where objects are the writer's, of a domain that doesn't give them away."""
    ownership = access.ObjectOwnership(bucket)
    was = ownership.read()
    ownership.write("ObjectWriter")
    try:
        access.let_source_write(journal, bucket, [job], "policy")
        register(journal, source, destination, job.model_copy(update={"way": "acl"}))
        waits: list[float] = []

        way = access.prove(journal, bucket, source, destination, job, sleep=waits.append)

        assert way == "acl"
        assert waits
        assert probe_files(sandbox, job) == []
        give_back()
    finally:
        ownership.write(was)


def test_a_statement_that_someone_adds_meanwhile_stays(
    sandbox: Sandbox,
    job: DomainJob,
    bucket: access.BucketPermissions,
    journal: Journal,
    give_back: Callable[[], GivenBack],
) -> None:
    access.let_source_write(journal, bucket, [job], "policy")
    policy = json.loads(sandbox.bucket.get_bucket_policy(Bucket=bucket.name)["Policy"])
    put_policy(sandbox, *policy["Statement"], LATE)

    assert give_back().foreign == []

    policy = json.loads(sandbox.bucket.get_bucket_policy(Bucket=bucket.name)["Policy"])
    assert policy["Statement"] == [THEIRS, LATE]
    put_policy(sandbox, THEIRS)


def test_the_access_role_can_do_nothing_else(bucket: access.BucketPermissions) -> None:
    with pytest.raises(AccessDenied):
        bucket.s3.list_objects_v2(Bucket=bucket.name)
    with pytest.raises(AccessDenied):
        bucket.s3.get_bucket_lifecycle_configuration(Bucket=bucket.name)
