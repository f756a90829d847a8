from typing import Any

import pytest

from snapferry import repositories
from snapferry.errors import Conflict, RequestRefused
from snapferry.journal import GivenBack, Journal
from snapferry.request import DomainJob
from tests.unit.conftest import DOMAIN_AS_DESTINATION, MakeJob, Side, Storage
from tests.unit.fakes import Answer, Bucket, FakeSnapshot, Fault


def test_the_source_writes_as_the_snapshot_role_and_the_bucket_owns_it(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    repositories.register_source(storage.journal, source.client, job)

    assert source.cluster.repositories["snapferry-m-1-logs"] == {
        "bucket": "company-migration",
        "base_path": "snapferry/logs",
        "region": "eu-west-1",
        "role_arn": "arn:aws:iam::111111111111:role/SnapferrySnapshot",
        "canned_acl": "bucket-owner-full-control",
        "max_snapshot_bytes_per_sec": "0",
        "shard_path_type": "FIXED",
    }
    [request] = source.cluster.sent("PUT .*")
    assert request.body["type"] == "s3"
    assert "verify" not in request.parameters


@pytest.mark.parametrize(
    ("domain_region", "bucket_region", "place"),
    [
        ("eu-west-1", "eu-west-1", {"region": "eu-west-1"}),
        ("us-east-1", "us-east-1", {"endpoint": "s3.amazonaws.com"}),
        ("eu-west-1", "us-east-1", {"region": "us-east-1", "endpoint": "s3.amazonaws.com"}),
        ("us-east-1", "eu-west-1", {"region": "eu-west-1", "endpoint": "s3.amazonaws.com"}),
    ],
)
def test_a_bucket_of_another_region_is_reached_by_the_endpoint_of_all(
    source: Side,
    storage: Storage,
    make_job: MakeJob,
    domain_region: str,
    bucket_region: str,
    place: dict[str, str],
) -> None:
    repositories.register_source(
        storage.journal,
        source.client,
        make_job(domain__region=domain_region, bucket__region=bucket_region),
    )

    settings = source.cluster.repositories["snapferry-m-1-logs"]
    assert {name: settings[name] for name in ("region", "endpoint") if name in settings} == place


def test_another_partition_has_no_endpoint_of_all_regions(
    source: Side, storage: Storage, make_job: MakeJob
) -> None:
    job = make_job(
        domain__region="cn-north-1",
        domain__access_role_arn="arn:aws-cn:iam::111111111111:role/SnapferryDomainAccess",
        domain__snapshot_role_arn="arn:aws-cn:iam::111111111111:role/SnapferrySnapshot",
        bucket__region="cn-northwest-1",
    )

    repositories.register_source(storage.journal, source.client, job)

    settings = source.cluster.repositories["snapferry-m-1-logs"]
    assert settings["region"] == "cn-northwest-1"
    assert "endpoint" not in settings


NOT_OFFERED = (401, {"Message": "Your request: '/_snapshot/x' payload is not allowed."})
AUTOMATIC = {"role_arn": "arn:aws:iam::222222222222:role/SnapferryBucketAccess"}
UNKNOWN_SPEED = (400, {"error": {"reason": "unknown setting [max_snapshot_bytes_per_sec]"}})
UNKNOWN_SETTING = (400, {"error": {"reason": "unknown setting [shard_path_type]"}})


@pytest.mark.parametrize(
    ("refusals", "answer", "left_out"),
    [
        (1, NOT_OFFERED, {"shard_path_type"}),
        (1, UNKNOWN_SETTING, {"shard_path_type"}),
        (2, NOT_OFFERED, {"canned_acl"}),
        (3, NOT_OFFERED, {"canned_acl", "shard_path_type"}),
        (4, NOT_OFFERED, {"max_snapshot_bytes_per_sec"}),
        (4, UNKNOWN_SPEED, {"max_snapshot_bytes_per_sec"}),
        (5, NOT_OFFERED, {"max_snapshot_bytes_per_sec", "shard_path_type"}),
        (7, NOT_OFFERED, {"max_snapshot_bytes_per_sec", "canned_acl", "shard_path_type"}),
    ],
)
def test_a_setting_that_a_domain_refuses_is_left_out(
    source: Side,
    storage: Storage,
    make_job: MakeJob,
    refusals: int,
    answer: Answer,
    left_out: set[str],
) -> None:
    """Without an ACL of its own the proof says which way the bucket needs."""
    source.cluster.faults = [Fault("PUT /_snapshot/.*", answer, times=refusals)]
    job = make_job(bucket__access=AUTOMATIC)

    repositories.register_source(storage.journal, source.client, job)

    first, *_, last = source.cluster.sent("PUT /_snapshot/.*")
    assert first.body["settings"].keys() - last.body["settings"].keys() == left_out
    assert source.cluster.repositories[job.repository] == last.body["settings"]
    assert len(give_back(source, storage.journal).done) == 1
    assert source.cluster.repositories == {}


@pytest.mark.parametrize(
    ("access", "answer", "attempts"),
    [
        ({**AUTOMATIC, "way": "policy"}, NOT_OFFERED, 4),
        (None, NOT_OFFERED, 8),
        (AUTOMATIC, NOT_OFFERED, 8),
        (AUTOMATIC, (400, {"error": {"reason": "NoSuchBucket"}}), 1),
    ],
    ids=["policy only", "by hand", "whatever is left out", "for another reason"],
)
def test_a_refusal_is_told_where_nothing_else_may_be_left_out(
    source: Side,
    storage: Storage,
    make_job: MakeJob,
    access: dict[str, str] | None,
    answer: Answer,
    attempts: int,
) -> None:
    source.cluster.faults = [Fault("PUT /_snapshot/.*", answer, times=float("inf"))]

    with pytest.raises(RequestRefused, match="What to do: "):
        repositories.register_source(
            storage.journal, source.client, make_job(bucket__access=access)
        )

    assert len(source.cluster.sent("PUT /_snapshot/.*")) == attempts


def test_the_destination_reads_the_same_path(
    source: Side, destination: Side, storage: Storage, job: DomainJob
) -> None:
    repositories.register_source(storage.journal, source.client, job)
    repositories.register_destination(storage.journal, destination.client, job)

    settings = destination.cluster.repositories[job.repository]
    written = source.cluster.repositories[job.repository]
    assert {name: settings[name] for name in ("bucket", "base_path", "region")} == {
        name: written[name] for name in ("bucket", "base_path", "region")
    }
    assert settings["readonly"] == "true"
    assert settings["max_restore_bytes_per_sec"] == "0"


@pytest.mark.parametrize(
    ("region", "place"),
    [
        ("eu-central-1", {"region": "eu-central-1"}),
        ("eu-west-1", {"region": "eu-west-1", "endpoint": "s3.amazonaws.com"}),
        ("us-east-1", {"region": "us-east-1", "endpoint": "s3.amazonaws.com"}),
    ],
)
def test_a_domain_as_destination_reads_as_its_snapshot_role(
    destination: Side, storage: Storage, make_job: MakeJob, region: str, place: dict[str, str]
) -> None:
    job = make_job(destination=DOMAIN_AS_DESTINATION, bucket__region=region)

    repositories.register_destination(storage.journal, destination.client, job)

    assert destination.cluster.repositories[job.repository] == {
        "bucket": "company-migration",
        "base_path": "snapferry/logs",
        "role_arn": DOMAIN_AS_DESTINATION["snapshot_role_arn"],
        "max_restore_bytes_per_sec": "0",
        "readonly": "true",
        **place,
    }


@pytest.mark.parametrize(
    "answer",
    [
        NOT_OFFERED,
        (400, {"error": {"reason": "unknown setting [max_restore_bytes_per_sec]"}}),
    ],
)
def test_a_domain_as_destination_that_refuses_a_limit_of_restores_does_without(
    destination: Side, storage: Storage, make_job: MakeJob, answer: Answer
) -> None:
    destination.cluster.faults = [Fault("PUT /_snapshot/.*", answer)]
    job = make_job(destination=DOMAIN_AS_DESTINATION)

    repositories.register_destination(storage.journal, destination.client, job)

    first, last = destination.cluster.sent("PUT /_snapshot/.*")
    left_out = first.body["settings"].keys() - last.body["settings"].keys()
    assert left_out == {"max_restore_bytes_per_sec"}
    assert destination.cluster.repositories[job.repository]["readonly"] == "true"
    assert len(give_back(destination, storage.journal).done) == 1


OWN_LIMIT = {"repository_settings": {"max_restore_bytes_per_sec": "100mb"}}


@pytest.mark.parametrize(
    ("cluster", "answer", "attempts"),
    [
        (DOMAIN_AS_DESTINATION, NOT_OFFERED, 2),
        (DOMAIN_AS_DESTINATION, (400, {"error": {"reason": "NoSuchBucket"}}), 1),
        (DOMAIN_AS_DESTINATION | OWN_LIMIT, NOT_OFFERED, 1),
        (None, NOT_OFFERED, 1),
    ],
    ids=["whatever is left out", "for another reason", "the input's own limit", "another cluster"],
)
def test_a_destinations_refusal_is_told(
    destination: Side,
    storage: Storage,
    make_job: MakeJob,
    cluster: dict[str, Any] | None,
    answer: Answer,
    attempts: int,
) -> None:
    destination.cluster.faults = [Fault("PUT /_snapshot/.*", answer, times=float("inf"))]
    job = make_job(destination=cluster) if cluster else make_job()

    with pytest.raises(RequestRefused, match="What to do: "):
        repositories.register_destination(storage.journal, destination.client, job)

    assert len(destination.cluster.sent("PUT /_snapshot/.*")) == attempts


@pytest.mark.parametrize("cluster", [{}, DOMAIN_AS_DESTINATION], ids=["cluster", "domain"])
def test_settings_of_the_destination_are_passed_on(
    destination: Side, storage: Storage, make_job: MakeJob, cluster: dict[str, str]
) -> None:
    own = {
        "client": "migration",
        "endpoint": "s3.example.com",
        "max_restore_bytes_per_sec": "100mb",
    }
    job = (
        make_job(destination={**cluster, "repository_settings": own})
        if cluster
        else make_job(destination__repository_settings=own)
    )

    repositories.register_destination(storage.journal, destination.client, job)

    settings = destination.cluster.repositories[job.repository]
    assert settings["client"] == "migration"
    assert settings["endpoint"] == "s3.example.com"
    assert settings["max_restore_bytes_per_sec"] == "100mb"


def test_no_setting_makes_the_destination_a_second_writer(
    destination: Side, storage: Storage, job: DomainJob
) -> None:
    # The input refuses it; this holds even for a job that got past it.
    forged = job.destination.model_copy(update={"repository_settings": {"readonly": "false"}})

    repositories.register_destination(
        storage.journal, destination.client, job.model_copy(update={"destination": forged})
    )

    assert destination.cluster.repositories[job.repository]["readonly"] == "true"


@pytest.mark.parametrize(
    ("name", "changes", "refused"),
    [
        ("nightly", {}, True),
        ("nightly", {"base_path": "/snapferry/logs/"}, True),
        ("nightly", {"readonly": "false"}, True),
        ("nightly", {"readonly": "true"}, False),
        ("nightly", {"base_path": "snapferry/logs/2"}, False),
        ("nightly", {"bucket": "theirs"}, False),
        # One migration at a time holds the bucket.
        ("snapferry-m-0-logs", {}, False),
    ],
)
def test_nobody_else_may_write_to_the_path(
    source: Side, job: DomainJob, name: str, changes: dict[str, str], refused: bool
) -> None:
    source.cluster.automated["cs-automated"] = [1.0]
    source.cluster.repositories[name] = {
        "bucket": "company-migration",
        "base_path": "snapferry/logs",
        **changes,
    }

    if not refused:
        repositories.refuse_other_writers(source.client, job)
        return
    with pytest.raises(Conflict, match=r"repository nightly .*snapferry/logs.* What to do: "):
        repositories.refuse_other_writers(source.client, job)


def test_registering_twice_changes_nothing(source: Side, storage: Storage, job: DomainJob) -> None:
    repositories.register_source(storage.journal, source.client, job)
    once = dict(source.cluster.repositories)
    repositories.register_source(storage.journal, source.client, job)

    assert source.cluster.repositories == once


def test_a_job_whose_bucket_needs_its_acl_writes_without_one_of_its_own(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    repositories.register_source(storage.journal, source.client, job)
    other_way = job.model_copy(update={"way": "acl"})
    repositories.register_source(storage.journal, source.client, other_way)

    assert "canned_acl" not in source.cluster.repositories[job.repository]


def give_back(side: Side, journal: Journal) -> GivenBack:
    return journal.give_back(
        lambda place: repositories.CHANGEABLES[place.kind](side.client, place.key)
    )


def test_a_proof_registers_what_was_registered_once_more(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    job = job.model_copy(update={"way": "acl"})
    repositories.register_source(storage.journal, source.client, job)
    registered = source.cluster.repositories["snapferry-m-1-logs"]
    # The domain has refused the one, shows another of its own, and doesn't show the role.
    del registered["shard_path_type"]
    before = dict(registered)
    registered["compress"] = "true"
    del registered["role_arn"]

    repositories.prove_writable(source.client, job)

    assert source.cluster.repositories["snapferry-m-1-logs"] == before


def test_giving_back_leaves_other_repositories_and_the_snapshots(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob
) -> None:
    source.cluster.repositories["cs-automated"] = {"base_path": "theirs"}
    bucket["snapferry/logs"] = {"earlier": FakeSnapshot({}, new_bytes=0, began_at=0)}
    repositories.register_source(storage.journal, source.client, job)

    outcome = give_back(source, storage.journal)

    assert outcome.done == [f"repository {job.repository} (source/logs)"]
    assert set(source.cluster.repositories) == {"cs-automated"}
    assert set(bucket["snapferry/logs"]) == {"earlier"}


def test_giving_back_both_ways_of_writing_unregisters(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    repositories.register_source(storage.journal, source.client, job)
    other_way = job.model_copy(update={"way": "acl"})
    repositories.register_source(storage.journal, source.client, other_way)

    assert len(give_back(source, storage.journal).done) == 1
    assert source.cluster.repositories == {}


def test_a_repository_that_is_gone_is_given_back(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    repositories.register_source(storage.journal, source.client, job)
    source.cluster.repositories.clear()

    assert len(give_back(source, storage.journal).done) == 1
    assert not source.cluster.sent("DELETE .*")


def test_one_that_goes_while_it_is_unregistered_is_no_failure(source: Side) -> None:
    repositories.Repository(source.client, "gone").write(None)


def test_a_repository_that_somebody_pointed_elsewhere_stays(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    repositories.register_source(storage.journal, source.client, job)
    theirs = {"bucket": "theirs", "base_path": "theirs"}
    source.cluster.repositories[job.repository] = theirs

    [note] = give_back(source, storage.journal).foreign

    assert '"bucket": "theirs"' in note
    assert source.cluster.repositories == {job.repository: theirs}


def test_settings_that_a_cluster_adds_are_no_change(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    repositories.register_source(storage.journal, source.client, job)
    source.cluster.repositories[job.repository]["compress"] = "true"
    repositories.register_source(storage.journal, source.client, job)

    assert len(source.cluster.sent("PUT .*")) == 1
    assert len(give_back(source, storage.journal).done) == 1


@pytest.mark.parametrize("request_line", ["GET /_snapshot/[^/]*", "DELETE /_snapshot/.*"])
def test_giving_back_does_not_swallow_other_failures(
    source: Side, storage: Storage, job: DomainJob, request_line: str
) -> None:
    repositories.register_source(storage.journal, source.client, job)
    source.cluster.faults = [Fault(request_line, (503, {"message": "busy"}))]

    [failed] = give_back(source, storage.journal).failed

    assert "busy" in failed
    assert len(give_back(source, storage.journal).done) == 1
    assert source.cluster.repositories == {}
