from dataclasses import replace

import pytest

from snapferry import repositories, snapshots
from snapferry.errors import AclRefused, Conflict, SnapshotFailed, SnapshotInProgress, Unavailable
from snapferry.journal import GivenBack, Journal
from snapferry.request import DomainJob
from tests.unit.conftest import MakeJob, Side, Storage
from tests.unit.fakes import Bucket, FakeIndex, FakeSnapshot, Fault

SNAPSHOT = "snapferry-m-1-logs-1"
RUNNING = Fault(
    "PUT /_snapshot/.*/.*",
    (
        503,
        {
            "error": {
                "type": "concurrent_snapshot_execution_exception",
                "reason": "[cs-automated:2026-11-23] a snapshot is already running",
            },
            "status": 503,
        },
    ),
)


@pytest.fixture
def source(source: Side, storage: Storage, job: DomainJob) -> Side:
    """A source with two indices, and with the repository."""
    source.cluster.indices = {
        "logs": FakeIndex(shards=2, primary_bytes=3_000),
        "orders": FakeIndex(primary_bytes=1_000),
        "other": FakeIndex(),
    }
    repositories.register_source(storage.journal, source.client, job)
    return source


def taken(bucket: Bucket) -> FakeSnapshot:
    return bucket["snapferry/logs"][SNAPSHOT]


def test_a_snapshot_holds_the_indices_of_the_round_and_no_global_state(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob
) -> None:
    assert snapshots.start(storage.journal, source.client, job, 1, ["logs", "orders"]) == SNAPSHOT

    assert set(taken(bucket).indices) == {"logs", "orders"}
    [request] = source.cluster.sent("PUT /_snapshot/.*/.*")
    assert request.body["include_global_state"] is False
    assert request.body["partial"] is False
    assert request.parameters["wait_for_completion"] == "false"


def test_a_repeated_start_finds_the_snapshot_of_the_first(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    first = snapshots.start(storage.journal, source.client, job, 1, ["logs"])

    assert snapshots.start(storage.journal, source.client, job, 1, ["logs"]) == first
    assert len(source.cluster.sent("PUT /_snapshot/.*/.*")) == 1


def test_a_snapshot_that_an_earlier_migration_has_left_is_not_taken_for_ones_own(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob
) -> None:
    """Of the same name, and the stack has forgotten it."""
    bucket["snapferry/logs"] = {SNAPSHOT: FakeSnapshot({"logs": FakeIndex()}, 0, 1.0)}

    with pytest.raises(Conflict, match="start under another name"):
        snapshots.start(storage.journal, source.client, job, 1, ["logs"])


def test_each_round_takes_a_snapshot_of_its_own(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob
) -> None:
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])
    snapshots.start(storage.journal, source.client, job, 2, ["logs"])

    assert set(bucket["snapferry/logs"]) == {SNAPSHOT, "snapferry-m-1-logs-2"}


def test_a_gateway_timeout_is_benign_where_the_snapshot_has_started(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob
) -> None:
    source.cluster.faults = [
        Fault("PUT /_snapshot/.*/.*", (504, "<html>504 GATEWAY_TIMEOUT</html>"), takes_effect=True)
    ]

    assert snapshots.start(storage.journal, source.client, job, 1, ["logs"]) == SNAPSHOT
    assert set(taken(bucket).indices) == {"logs"}


def test_a_start_that_is_seen_late_is_not_refused_for_being_there(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob
) -> None:
    """It may be in the cluster's state only after the answer that it wasn't there."""
    refusal = {
        "type": "invalid_snapshot_name_exception",
        "reason": "snapshot with the same name is already in-progress",
    }
    source.cluster.faults = [
        Fault("PUT /_snapshot/.*/.*", (400, {"error": refusal}), takes_effect=True)
    ]

    assert snapshots.start(storage.journal, source.client, job, 1, ["logs"]) == SNAPSHOT
    assert set(taken(bucket).indices) == {"logs"}


def test_a_gateway_timeout_is_a_failure_where_no_snapshot_has_started(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    source.cluster.faults = [Fault("PUT /_snapshot/.*/.*", (504, "<html>GATEWAY_TIMEOUT</html>"))]

    with pytest.raises(Unavailable, match="GATEWAY_TIMEOUT"):
        snapshots.start(storage.journal, source.client, job, 1, ["logs"])


def test_by_the_way_of_the_acl_no_snapshot_starts_before_the_domain_can_write(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob
) -> None:
    """The bucket was opened a moment before; a snapshot would lose its shards one by one."""
    job = job.model_copy(update={"way": "acl"})
    repositories.register_source(storage.journal, source.client, job)
    registered = dict(source.cluster.repositories)
    reason = {"type": "amazon_s3_exception", "reason": "The bucket does not allow ACLs"}
    source.cluster.faults = [
        Fault("PUT /_snapshot/[^/]*", (500, {"error": {"caused_by": reason}, "status": 500}))
    ]

    with pytest.raises(AclRefused):
        snapshots.start(storage.journal, source.client, job, 1, ["logs"])
    assert not bucket.get("snapferry/logs")
    assert snapshots.start(storage.journal, source.client, job, 1, ["logs"]) == SNAPSHOT
    assert source.cluster.repositories == registered


def test_an_automated_snapshot_in_the_way_is_told_apart(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    source.cluster.faults = [RUNNING]

    with pytest.raises(SnapshotInProgress, match="cs-automated"):
        snapshots.start(storage.journal, source.client, job, 1, ["logs"])
    assert snapshots.start(storage.journal, source.client, job, 1, ["logs"]) == SNAPSHOT


def test_progress_counts_what_is_new_and_what_is_reused(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    snapshots.start(storage.journal, source.client, job, 1, ["logs", "orders"])
    source.index("orders").primary_bytes = 1_600
    source.cluster.bytes_per_second = 100
    source.cluster.pass_time(60)
    snapshots.start(storage.journal, source.client, job, 2, ["logs", "orders"])
    source.cluster.pass_time(2)

    progress = snapshots.check(source.client, job, job.snapshot(2), hold_seconds=0)

    assert not progress.ended
    assert progress.phase == "snapshot"
    assert progress.elapsed_seconds == 2
    assert (progress.bytes_done, progress.bytes_total) == (200, 600)
    assert progress.bytes_reused == 4_000
    assert (progress.files_done, progress.files_total) == (2, 6)
    assert (progress.shards_done, progress.shards_total) == (0, 3)


def test_an_end_is_complete(source: Side, storage: Storage, job: DomainJob) -> None:
    snapshots.start(storage.journal, source.client, job, 1, ["logs", "orders"])

    progress = snapshots.check(source.client, job, SNAPSHOT, hold_seconds=0)

    assert progress.ended
    assert progress.bytes_done == progress.bytes_total == 4_000
    assert progress.files_done == progress.files_total == 40
    assert progress.shards_done == progress.shards_total == 3


def test_all_copied_but_not_ended_is_not_taken_for_nothing_copied(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob
) -> None:
    """The cluster leaves `processed` out as soon as it equals `incremental`."""
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])
    taken(bucket).unfinished = True
    finalizing = {
        "snapshots": [
            {
                "state": "STARTED",
                "shards_stats": {"done": 0, "failed": 0, "total": 2},
                "stats": {
                    "incremental": {"file_count": 30, "size_in_bytes": 3_000},
                    "total": {"file_count": 30, "size_in_bytes": 3_000},
                    "time_in_millis": 600_000,
                },
            }
        ]
    }
    source.cluster.faults = [Fault("GET .*/_status", (200, finalizing))]

    progress = snapshots.check(source.client, job, SNAPSHOT, hold_seconds=0)

    assert not progress.ended
    assert (progress.bytes_done, progress.files_done) == (3_000, 30)


GATEWAY_TIMEOUT = Fault("GET .*/_status", (504, "<html>504 GATEWAY_TIMEOUT</html>"), times=2)


def test_an_end_whose_files_take_too_long_to_read_has_the_figures_of_the_look_before(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    source.cluster.bytes_per_second = 1_000
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])
    source.cluster.pass_time(2)
    before = snapshots.check(source.client, job, SNAPSHOT, hold_seconds=0)
    source.cluster.pass_time(1.5)
    source.cluster.faults = [replace(GATEWAY_TIMEOUT)]

    progress = snapshots.check(source.client, job, SNAPSHOT, hold_seconds=0, before=before)

    assert (before.ended, before.bytes_done) == (False, 2_000)
    assert (progress.ended, progress.elapsed_seconds) == (True, 3.5)
    assert progress.bytes_done == progress.bytes_total == 3_000
    assert progress.files_done == progress.files_total == 30
    assert progress.shards_done == progress.shards_total == 2
    with pytest.raises(Unavailable, match="GATEWAY_TIMEOUT"):
        snapshots.check(source.client, job, SNAPSHOT, hold_seconds=0)


def test_a_status_that_cannot_be_read_is_no_end(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    source.cluster.bytes_per_second = 1_000
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])
    before = snapshots.check(source.client, job, SNAPSHOT, hold_seconds=0)
    source.cluster.faults = [replace(GATEWAY_TIMEOUT)]

    with pytest.raises(Unavailable, match="GATEWAY_TIMEOUT"):
        snapshots.check(source.client, job, SNAPSHOT, hold_seconds=0, before=before)


def test_a_check_stays_until_the_end(source: Side, storage: Storage, job: DomainJob) -> None:
    source.cluster.bytes_per_second = 1_000
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])

    progress = snapshots.check(
        source.client, job, SNAPSHOT, hold_seconds=60, sleep=source.cluster.pass_time
    )

    assert progress.ended
    assert 3 <= progress.elapsed_seconds < 3.5


def test_a_snapshot_whose_files_are_not_listed_yet_has_not_ended(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob
) -> None:
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])
    source.cluster.pass_time(3600)
    taken(bucket).unfinished = True

    assert not snapshots.check(source.client, job, SNAPSHOT, 0).ended


def test_a_check_leaves_when_its_time_is_over(
    source: Side, storage: Storage, job: DomainJob
) -> None:
    source.cluster.bytes_per_second = 0
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])

    progress = snapshots.check(source.client, job, SNAPSHOT, hold_seconds=0.05)

    assert not progress.ended


@pytest.mark.parametrize("state", ["PARTIAL", "FAILED"])
def test_an_incomplete_snapshot_is_a_failure_with_its_reasons(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob, state: str
) -> None:
    snapshots.start(storage.journal, source.client, job, 1, ["logs", "orders"])
    taken(bucket).doomed = state
    taken(bucket).failures = [("logs", 1, "IOException: node-2 left the cluster")]

    with pytest.raises(SnapshotFailed) as caught:
        snapshots.check(source.client, job, SNAPSHOT, hold_seconds=0)

    assert f"{SNAPSHOT} in snapferry-m-1-logs is {state}, not SUCCESS" in str(caught.value)
    assert "logs[1]: IOException: node-2 left the cluster" in str(caught.value)
    assert "What to do: bring the source's indices to green health" in str(caught.value)


def test_a_shard_that_fails_is_told_with_its_reason_once_the_snapshot_has_ended(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob
) -> None:
    source.cluster.bytes_per_second = 1_000
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])
    taken(bucket).doomed = "PARTIAL"
    taken(bucket).failures = [("logs", 0, "disk is full")]

    with pytest.raises(SnapshotFailed, match=r"is PARTIAL, .*logs\[0\]: disk is full"):
        snapshots.check(
            source.client, job, SNAPSHOT, hold_seconds=60, sleep=source.cluster.pass_time
        )


def test_a_failure_without_reasons_says_so(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob
) -> None:
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])
    taken(bucket).doomed = "FAILED"

    with pytest.raises(SnapshotFailed, match="the source names no reason"):
        snapshots.check(source.client, job, SNAPSHOT, hold_seconds=0)


def test_deleting_goes_by_the_api_and_may_be_repeated(
    source: Side, storage: Storage, bucket: Bucket, make_job: MakeJob
) -> None:
    job = make_job()
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])
    bucket["snapferry/logs"]["theirs"] = FakeSnapshot({}, new_bytes=0, began_at=0)
    snapshots.start(storage.journal, source.client, job, 2, ["logs"])

    snapshots.delete(source.client, job, 2)
    snapshots.delete(source.client, job, 2)

    assert set(bucket["snapferry/logs"]) == {"theirs"}


def test_deleting_does_not_swallow_other_failures(source: Side, job: DomainJob) -> None:
    source.cluster.faults = [Fault("DELETE .*", (503, {"message": "busy"}))]

    with pytest.raises(Unavailable, match="busy"):
        snapshots.delete(source.client, job, 1)


def give_back(side: Side, journal: Journal) -> GivenBack:
    return journal.give_back(
        lambda place: snapshots.CHANGEABLES[place.kind](side.client, place.key),
        kinds=snapshots.CHANGEABLES,
    )


def test_a_snapshot_that_runs_is_ended(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob
) -> None:
    source.cluster.bytes_per_second = 0
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])
    bucket["snapferry/logs"]["theirs"] = FakeSnapshot({}, new_bytes=0, began_at=0)

    outcome = give_back(source, storage.journal)

    assert outcome.done == [f"running snapshot {job.repository}/{SNAPSHOT} (source/logs)"]
    assert set(bucket["snapferry/logs"]) == {"theirs"}


@pytest.mark.parametrize("state", [None, "PARTIAL", "FAILED"])
def test_a_snapshot_that_has_ended_is_data_and_stays(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob, state: str | None
) -> None:
    source.cluster.bytes_per_second = 1_000
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])
    taken(bucket).doomed = state
    source.cluster.pass_time(3)

    assert len(give_back(source, storage.journal).done) == 1
    assert set(bucket["snapferry/logs"]) == {SNAPSHOT}
    assert not source.cluster.sent("DELETE .*")


@pytest.mark.parametrize("gone", ["snapshot", "repository"])
def test_a_snapshot_that_is_gone_is_given_back(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob, gone: str
) -> None:
    source.cluster.bytes_per_second = 0
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])
    (source.cluster.repositories if gone == "repository" else bucket["snapferry/logs"]).clear()

    assert len(give_back(source, storage.journal).done) == 1


def test_a_snapshot_whose_start_was_never_answered_is_ended(
    source: Side, storage: Storage, bucket: Bucket, job: DomainJob
) -> None:
    source.cluster.bytes_per_second = 0
    source.cluster.faults = [
        Fault("PUT /_snapshot/.*/.*", (504, "<html>GATEWAY_TIMEOUT</html>"), takes_effect=True),
    ]
    snapshots.start(storage.journal, source.client, job, 1, ["logs"])

    give_back(source, storage.journal)

    assert bucket["snapferry/logs"] == {}


@pytest.mark.parametrize(
    ("running", "began_seconds_ago", "wait_seconds"),
    [
        (True, [], 300),
        (False, [], 0),
        (False, [7_100, 3_500], 400),
        # It ends before the next one.
        (False, [3_100], 0),
        # The service has paused them.
        (False, [7_300], 0),
    ],
)
def test_a_last_snapshot_waits_for_those_of_the_service(
    source: Side, running: bool, began_seconds_ago: list[int], wait_seconds: int
) -> None:
    now = 1_800_000_000.0
    source.cluster.snapshots_of_others = [{"state": "STARTED"}] * running
    source.cluster.automated = {"cs-automated-enc": [now - ago for ago in began_seconds_ago]}

    assert snapshots.seconds_until_free(source.client, 300, now) == wait_seconds
    # One is always due in the time of what takes longer.
    long = snapshots.seconds_until_free(source.client, 1_801, now)
    assert long == (wait_seconds if running else 0)


def test_up_to_half_an_hour_is_kept_free(source: Side) -> None:
    now = 1_800_000_000.0
    source.cluster.automated = {"cs-automated-enc": [now - 1_802]}

    assert snapshots.seconds_until_free(source.client, 1_800, now) == 1_798 + 300
    assert snapshots.seconds_until_free(source.client, 1_801, now) == 0
