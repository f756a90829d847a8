import pytest

from snapferry import repositories
from snapferry.errors import AccessDenied, Unavailable
from snapferry.request import DomainJob
from tests.unit.conftest import MakeJob, Side
from tests.unit.fakes import Bucket, FakeSnapshot, Fault


def test_the_source_writes_as_the_snapshot_role_and_the_bucket_owns_it(
    source: Side, job: DomainJob
) -> None:
    repositories.register_source(source.client, job)

    assert source.cluster.repositories["snapferry-m-1-logs"] == {
        "bucket": "company-migration",
        "base_path": "snapferry/logs",
        "region": "eu-west-1",
        "role_arn": "arn:aws:iam::111111111111:role/SnapferrySnapshot",
        "canned_acl": "bucket-owner-full-control",
        "max_snapshot_bytes_per_sec": "0",
        "shard_path_type": "FIXED",
    }
    [request] = source.cluster.requests
    assert request.body["type"] == "s3"
    assert "verify" not in request.parameters


def test_a_bucket_in_us_east_1_is_reached_by_its_endpoint(source: Side, make_job: MakeJob) -> None:
    repositories.register_source(source.client, make_job(bucket__region="us-east-1"))

    settings = source.cluster.repositories["snapferry-m-1-logs"]
    assert settings["endpoint"] == "s3.amazonaws.com"
    assert "region" not in settings


def test_the_destination_reads_the_same_path(
    source: Side, destination: Side, job: DomainJob
) -> None:
    repositories.register_source(source.client, job)
    repositories.register_destination(destination.client, job)

    settings = destination.cluster.repositories[job.repository]
    written = source.cluster.repositories[job.repository]
    assert {name: settings[name] for name in ("bucket", "base_path", "region")} == {
        name: written[name] for name in ("bucket", "base_path", "region")
    }
    assert settings["readonly"] == "true"
    assert settings["max_restore_bytes_per_sec"] == "0"


def test_settings_of_the_destination_are_passed_on(destination: Side, make_job: MakeJob) -> None:
    job = make_job(
        destination__repository_settings={
            "client": "migration",
            "endpoint": "s3.example.com",
            "max_restore_bytes_per_sec": "100mb",
        }
    )

    repositories.register_destination(destination.client, job)

    settings = destination.cluster.repositories[job.repository]
    assert settings["client"] == "migration"
    assert settings["endpoint"] == "s3.example.com"
    assert settings["max_restore_bytes_per_sec"] == "100mb"


def test_no_setting_makes_the_destination_a_second_writer(
    destination: Side, job: DomainJob
) -> None:
    # The input refuses it; this holds even for a job that got past it.
    forged = job.destination.model_copy(update={"repository_settings": {"readonly": "false"}})

    repositories.register_destination(
        destination.client, job.model_copy(update={"destination": forged})
    )

    assert destination.cluster.repositories[job.repository]["readonly"] == "true"


def test_the_destination_proves_that_it_can_read(
    destination: Side, bucket: Bucket, job: DomainJob
) -> None:
    bucket["snapferry/logs"] = {"earlier": FakeSnapshot({}, new_bytes=0, began_at=0)}

    assert repositories.register_destination(destination.client, job) == ["earlier"]


def test_a_destination_that_cannot_read_says_so(destination: Side, job: DomainJob) -> None:
    reason = "Access Denied (Service: Amazon S3; Status Code: 403; Error Code: AccessDenied)"
    destination.cluster.faults = [
        Fault(
            "GET /_snapshot/.*/_all",
            (500, {"error": {"type": "repository_exception", "reason": reason}, "status": 500}),
        )
    ]

    with pytest.raises(AccessDenied, match=r"^destination .*the destination's own identity"):
        repositories.register_destination(destination.client, job)


def test_registering_twice_changes_nothing(source: Side, job: DomainJob) -> None:
    repositories.register_source(source.client, job)
    once = dict(source.cluster.repositories)
    repositories.register_source(source.client, job)

    assert source.cluster.repositories == once


def test_unregistering_leaves_other_repositories_and_the_snapshots(
    source: Side, bucket: Bucket, job: DomainJob
) -> None:
    source.cluster.repositories["cs-automated"] = {"base_path": "theirs"}
    bucket["snapferry/logs"] = {"earlier": FakeSnapshot({}, new_bytes=0, began_at=0)}
    repositories.register_source(source.client, job)

    repositories.unregister(source.client, job)

    assert set(source.cluster.repositories) == {"cs-automated"}
    assert set(bucket["snapferry/logs"]) == {"earlier"}


def test_unregistering_what_is_gone_is_no_failure(source: Side, job: DomainJob) -> None:
    repositories.unregister(source.client, job)


def test_unregistering_does_not_swallow_other_failures(source: Side, job: DomainJob) -> None:
    source.cluster.faults = [Fault("DELETE /_snapshot/.*", (503, {"message": "busy"}))]

    with pytest.raises(Unavailable, match="busy"):
        repositories.unregister(source.client, job)
