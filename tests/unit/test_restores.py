import time
from collections.abc import Callable, Sequence

import pytest

from snapferry import repositories, restores, snapshots
from snapferry.errors import Conflict, RequestRefused, RestoreFailed, Unavailable
from snapferry.ownership import Ownership
from snapferry.request import DomainJob
from tests.unit.conftest import MakeJob, Side, Storage
from tests.unit.fakes import FakeIndex, Fault

NAMES = ["logs", "orders"]


@pytest.fixture
def source(source: Side, destination: Side, storage: Storage, job: DomainJob) -> Side:
    """A source with two indices, the repository on both sides, and the first snapshot."""
    source.cluster.indices = {
        "logs": FakeIndex(shards=2, documents=30, primary_bytes=3_000),
        "orders": FakeIndex(documents=10, primary_bytes=1_000, aliases={"sales": {}}),
    }
    repositories.register_source(storage.journal, source.client, job)
    repositories.register_destination(storage.journal, destination.client, job)
    snapshots.start(storage.journal, source.client, job, 1, NAMES)
    return source


type Restore = Callable[..., dict[str, str]]


@pytest.fixture
def restore(source: Side, destination: Side, storage: Storage, job: DomainJob) -> Restore:
    """Restores a round; returns name and uuid of what was restored."""

    def start(
        job: DomainJob = job, round_number: int = 1, names: Sequence[str] = ()
    ) -> dict[str, str]:
        selected = source.listed()
        in_snapshot = names or [index.name for index in selected]
        ownership = Ownership(storage.records, job)
        restores.start(destination.client, ownership, job, round_number, selected, in_snapshot)
        return {index.name: destination.index(index.name).uuid for index in selected}

    return start


def test_the_first_round_restores_without_aliases_and_global_state(
    destination: Side, restore: Restore
) -> None:
    restored = restore()

    assert destination.index("logs").documents == 30
    assert destination.index("orders").aliases == {}
    assert restored == {name: destination.index(name).uuid for name in NAMES}
    [request] = destination.cluster.sent("POST .*/_restore")
    assert request.body["include_global_state"] is False
    assert request.body["partial"] is False
    assert request.parameters["wait_for_completion"] == "false"


@pytest.mark.parametrize(
    ("asked", "replicas"), [({}, 2), ({"domain__replicas": 0}, 0)], ids=["source", "asked"]
)
def test_replicas_are_those_of_the_source_unless_asked_for_otherwise(
    source: Side,
    destination: Side,
    storage: Storage,
    restore: Restore,
    make_job: MakeJob,
    asked: dict[str, int],
    replicas: int,
) -> None:
    source.index("logs").replicas = 2
    job = make_job(**asked)
    snapshots.start(storage.journal, source.client, job, 2, NAMES)

    restore(job, round_number=2)

    assert destination.index("logs").replicas == replicas


def test_a_later_round_goes_over_the_closed_indices_and_copies_the_difference(
    source: Side, destination: Side, storage: Storage, restore: Restore, job: DomainJob
) -> None:
    restored = restore()
    source.index("logs").documents = 35
    source.index("logs").primary_bytes = 3_500
    snapshots.start(storage.journal, source.client, job, 2, NAMES)

    again = restore(round_number=2)

    assert again == restored
    assert destination.index("logs").documents == 35
    assert destination.index("logs").reused_bytes == 3_000
    assert [request.path for request in destination.cluster.sent("POST .*/_close")] == [
        "/logs,orders/_close"
    ]
    progress = restores.check(destination.client, source.listed(), time.time(), hold_seconds=0)
    assert (progress.bytes_total, progress.bytes_reused) == (500, 4_000)


def test_an_index_that_was_closed_by_an_attempt_that_failed_is_not_closed_again(
    source: Side, destination: Side, storage: Storage, restore: Restore, job: DomainJob
) -> None:
    restore()
    snapshots.start(storage.journal, source.client, job, 2, NAMES)
    destination.index("logs").open = False

    restore(round_number=2)

    assert [request.path for request in destination.cluster.sent("POST .*/_close")] == [
        "/orders/_close"
    ]


@pytest.mark.parametrize("shards", [2, 5], ids=["closed", "deleted"])
def test_a_block_that_came_along_keeps_no_later_round_from_restoring_over_it(
    source: Side,
    destination: Side,
    storage: Storage,
    restore: Restore,
    job: DomainJob,
    shards: int,
) -> None:
    restore()
    destination.index("logs").settings = {"index.blocks.read_only": "true"}
    source.index("logs").settings = {"index.blocks.read_only": "true"}
    source.index("logs").shards = shards
    snapshots.start(storage.journal, source.client, job, 2, NAMES)

    restore(round_number=2)

    assert destination.index("logs").restored_from == job.snapshot(2)
    # It is the index's own, as at the source.
    assert destination.index("logs").settings == {"index.blocks.read_only": "true"}


def test_where_shards_may_lie_does_not_come_along(
    source: Side, destination: Side, storage: Storage, restore: Restore, job: DomainJob
) -> None:
    known = {"index.version.created": "136408227", "index.routing_partition_size": "1"}
    source.index("logs").settings = known | {
        "index.routing.allocation.require.box_type": "hot",
        "index.routing.allocation.include._name": "node-1,node-2",
        "index.routing.allocation.total_shards_per_node": "1",
    }
    snapshots.start(storage.journal, source.client, job, 2, NAMES)

    restore(round_number=2)

    assert destination.index("logs").settings == known


def test_what_a_later_migration_leaves_out_stays_and_is_still_its_own(
    source: Side, destination: Side, storage: Storage, restore: Restore, make_job: MakeJob
) -> None:
    restore()
    narrower = make_job(domain__indices={"include": ["logs"]})
    snapshots.start(storage.journal, source.client, narrower, 2, ["logs"])
    selected = source.listed("logs")

    ownership = Ownership(storage.records, narrower)
    restores.start(destination.client, ownership, narrower, 2, selected, ["logs"])

    assert destination.index("orders").open
    present = {index.name: index for index in destination.listed()}
    assert Ownership(storage.records, narrower).of(present) == {"logs", "orders"}


def test_what_is_caught_up_is_left_open_and_is_still_its_own(
    source: Side, destination: Side, storage: Storage, restore: Restore, job: DomainJob
) -> None:
    restore()
    copy = destination.index("orders")
    source.index("logs").documents += 1
    snapshots.start(storage.journal, source.client, job, 2, ["logs"])

    restore(round_number=2, names=["logs"])

    assert destination.index("orders") is copy
    assert copy.open
    assert destination.index("logs").documents == source.index("logs").documents
    present = {index.name: index for index in destination.listed()}
    assert Ownership(storage.records, job).of(present) == {"logs", "orders"}


def test_what_is_gone_at_the_source_goes_at_the_destination(
    source: Side, destination: Side, storage: Storage, restore: Restore, job: DomainJob
) -> None:
    restore()
    del source.cluster.indices["orders"]
    snapshots.start(storage.journal, source.client, job, 2, ["logs"])

    restore(round_number=2)

    assert set(destination.cluster.indices) == {"logs"}


def test_what_an_earlier_migration_left_and_the_source_lost_stays_for_those_who_use_it(
    source: Side, destination: Side, storage: Storage, restore: Restore, job: DomainJob
) -> None:
    restore()
    del source.cluster.indices["orders"]
    later = job.model_copy(update={"migration_id": "m-2"})
    repositories.register_source(storage.journal, source.client, later)
    repositories.register_destination(storage.journal, destination.client, later)
    for round_number in (1, 2):
        snapshots.start(storage.journal, source.client, later, round_number, ["logs"])

        restore(later, round_number)

    assert set(destination.cluster.indices) == {"logs", "orders"}
    present = {index.name: index for index in destination.listed()}
    assert Ownership(storage.records, later).of(present) == {"logs"}


def test_an_index_with_another_number_of_shards_is_restored_anew(
    source: Side, destination: Side, storage: Storage, restore: Restore, job: DomainJob
) -> None:
    restore()
    source.cluster.indices["logs"] = FakeIndex(shards=5, documents=1)
    snapshots.start(storage.journal, source.client, job, 2, NAMES)

    restore(round_number=2)

    assert destination.index("logs").shards == 5


def test_an_index_of_someone_else_is_left_alone(destination: Side, restore: Restore) -> None:
    destination.cluster.indices = {"orders": FakeIndex(documents=7), "other": FakeIndex()}

    with pytest.raises(Conflict, match="orders"):
        restore()

    assert destination.index("orders").open
    assert destination.index("orders").documents == 7
    assert not destination.cluster.sent("(POST|DELETE) .*")


def test_an_index_that_someone_made_in_place_of_ours_is_left_alone(
    source: Side, destination: Side, storage: Storage, restore: Restore, job: DomainJob
) -> None:
    restore()
    destination.cluster.indices["orders"] = FakeIndex(documents=7)
    snapshots.start(storage.journal, source.client, job, 2, NAMES)

    with pytest.raises(Conflict, match="orders"):
        restore(round_number=2)

    assert destination.index("orders").documents == 7
    assert not destination.cluster.sent("POST .*/_close")


def test_an_open_index_that_comes_between_is_a_conflict(
    destination: Side, restore: Restore
) -> None:
    listing = destination.cluster.client("destination").cat.indices(format="json", h="index")
    destination.cluster.indices = {"orders": FakeIndex()}
    destination.cluster.faults = [Fault("GET /_cat/indices", (200, listing))]

    with pytest.raises(Conflict, match="open index with same name already exists"):
        restore()


def test_a_repeated_start_lets_the_first_go_on(
    destination: Side, storage: Storage, restore: Restore, job: DomainJob
) -> None:
    destination.cluster.bytes_per_second = 100
    first = restore()

    # As after a time-out: what the first attempt restored was not recorded.
    ownership = Ownership(storage.records, job)
    ownership.hand_over()
    assert restore() == first
    assert ownership.of({index.name: index for index in destination.listed()}) == set(NAMES)
    assert len(destination.cluster.sent("POST .*/_restore")) == 1
    assert not destination.cluster.sent("POST .*/_close")


def test_what_a_function_that_died_had_requested_is_restored_over_by_the_next_migration(
    source: Side, destination: Side, storage: Storage, restore: Restore, job: DomainJob
) -> None:
    destination.cluster.faults = [
        Fault("POST .*/_restore", (504, "<html>GATEWAY_TIMEOUT</html>"), takes_effect=True)
    ]
    with pytest.raises(Unavailable):
        restore()
    later = job.model_copy(update={"migration_id": "m-2"})
    repositories.register_source(storage.journal, source.client, later)
    repositories.register_destination(storage.journal, destination.client, later)
    snapshots.start(storage.journal, source.client, later, 1, NAMES)

    restore(later)

    assert destination.index("logs").reused_bytes == 3_000
    assert destination.index("logs").restored_from == later.snapshot(1)


def test_what_an_earlier_attempt_requested_may_not_show_yet(
    destination: Side, restore: Restore
) -> None:
    """It is neither somebody else's nor to be requested again."""
    destination.cluster.faults = [
        Fault("POST .*/_restore", (504, "<html>GATEWAY_TIMEOUT</html>"), takes_effect=True)
    ]
    with pytest.raises(Unavailable):
        restore()
    made = [destination.index(name) for name in NAMES]
    for index in made:
        index.replicas = 0
        index.lost = {number: {} for number in range(index.shards)}
    with pytest.raises(Unavailable, match="logs, orders: an earlier request may be restoring it"):
        restore()

    for index in made:
        index.lost = {}
    assert restore().keys() == set(NAMES)
    assert len(destination.cluster.sent("POST .*/_restore")) == 1


def test_a_request_that_is_carried_out_late_is_in_nobodys_way(
    destination: Side, restore: Restore
) -> None:
    refusal = {
        "type": "snapshot_restore_exception",
        "reason": "cannot restore index [logs] because an open index with same name already exists",
    }
    destination.cluster.faults = [
        Fault("POST .*/_restore", (500, {"error": refusal}), takes_effect=True)
    ]

    assert restore().keys() == set(NAMES)


def test_what_people_restored_after_a_restore_was_refused_is_left_alone(
    source: Side, destination: Side, restore: Restore
) -> None:
    destination.cluster.faults = [Fault("POST .*/_restore", (400, {"error": "no such setting"}))]
    with pytest.raises(RequestRefused):
        restore()
    theirs = FakeIndex(
        documents=7,
        created_at_milliseconds=source.index("logs").created_at_milliseconds,
        restored_from="by-hand",
        restored_by="nightly",
    )
    destination.cluster.indices = {"logs": theirs}

    with pytest.raises(Conflict, match="logs"):
        restore()

    assert destination.index("logs").documents == 7


def test_the_same_snapshot_by_another_repository_is_another_restore(
    destination: Side, restore: Restore, job: DomainJob
) -> None:
    restore()
    # An earlier migration has restored less of it.
    destination.index("logs").restored_by = "snapferry-m-0-logs"
    del destination.cluster.indices["orders"]

    restore()

    assert len(destination.cluster.sent("POST .*/_restore")) == 2
    assert destination.index("logs").restored_by == job.repository
    assert set(destination.cluster.indices) == set(NAMES)


def test_an_index_that_goes_between_two_attempts_keeps_none_from_ending(
    source: Side, destination: Side, storage: Storage, restore: Restore, job: DomainJob
) -> None:
    restore()
    del destination.cluster.indices["orders"]

    ownership = Ownership(storage.records, job)
    restores.start(destination.client, ownership, job, 1, source.listed(), NAMES)

    present = {index.name: index for index in destination.listed()}
    assert ownership.of(present) == {"logs"}
    assert len(destination.cluster.sent("POST .*/_restore")) == 1


def test_progress_counts_bytes_files_and_shards(
    source: Side, destination: Side, restore: Restore
) -> None:
    destination.cluster.bytes_per_second = 100
    restore()
    destination.cluster.pass_time(10)

    progress = restores.check(destination.client, source.listed(), time.time() - 10, hold_seconds=0)

    assert not progress.ended
    assert progress.phase == "restore"
    assert 10 <= progress.elapsed_seconds < 11
    assert (progress.bytes_done, progress.bytes_total) == (2_000, 4_000)
    assert (progress.shards_done, progress.shards_total) == (1, 3)
    assert progress.files_done < progress.files_total == 30


def test_copies_of_replicas_are_not_counted(
    source: Side, destination: Side, restore: Restore
) -> None:
    source.index("logs").replicas = 3
    restore()

    progress = restores.check(destination.client, source.listed(), time.time(), hold_seconds=0)

    assert progress.ended
    assert progress.bytes_done == progress.bytes_total == 4_000


def test_before_the_cluster_has_made_the_indices_nothing_is_done(
    source: Side, destination: Side
) -> None:
    progress = restores.check(destination.client, source.listed(), time.time(), hold_seconds=0)

    assert not progress.ended
    assert (progress.bytes_done, progress.bytes_total, progress.shards_done) == (0, 0, 0)


def test_a_check_stays_until_the_end(source: Side, destination: Side, restore: Restore) -> None:
    destination.cluster.bytes_per_second = 1_000
    restore()

    progress = restores.check(
        destination.client,
        source.listed(),
        time.time(),
        hold_seconds=60,
        sleep=destination.cluster.pass_time,
    )

    assert progress.ended
    assert 3 <= destination.cluster.now_seconds < 3.5


def test_a_check_leaves_when_its_time_is_over(
    source: Side, destination: Side, restore: Restore
) -> None:
    destination.cluster.bytes_per_second = 0
    restore()

    progress = restores.check(destination.client, source.listed(), time.time(), hold_seconds=0.05)

    assert not progress.ended


def test_a_shard_without_a_trace_is_missed(
    source: Side, destination: Side, restore: Restore
) -> None:
    restore()
    destination.index("logs").lost = {1: {"disk_threshold": "the node is above the watermark"}}
    recoveries = destination.client.indices.recovery(index="logs")["logs"]["shards"]
    assert len([shard for shard in recoveries if shard["type"] == "SNAPSHOT"]) == 1

    progress = restores.check(destination.client, source.listed(), time.time(), hold_seconds=0)

    assert not progress.ended
    assert (progress.shards_done, progress.shards_total) == (2, 3)


def test_an_index_that_is_gone_is_missed(source: Side, destination: Side, restore: Restore) -> None:
    restore()
    del destination.cluster.indices["orders"]

    progress = restores.check(destination.client, source.listed(), time.time(), hold_seconds=0)

    assert not progress.ended
    assert (progress.shards_done, progress.shards_total) == (2, 3)


def test_an_index_that_stays_away_ends_it(
    source: Side, destination: Side, restore: Restore
) -> None:
    restore()
    selected = source.listed()
    del destination.cluster.indices["orders"]

    with pytest.raises(RestoreFailed, match=r"^orders: .*has gone at the destination.* What to do"):
        restores.check(destination.client, selected, time.time() - 100, hold_seconds=0)


def test_a_shard_that_failed_to_be_restored_ends_it_with_the_reason(
    source: Side, destination: Side, restore: Restore
) -> None:
    restore()
    destination.index("logs").lost = {
        1: {
            "restore_in_progress": "shard has failed to be restored from the snapshot [x] - "
            "manually close or delete the index [logs] in order to retry"
        }
    }

    with pytest.raises(RestoreFailed) as caught:
        restores.check(destination.client, source.listed(), time.time(), hold_seconds=0)

    assert "1 shards can't be restored, the first is logs[1]" in str(caught.value)
    assert str(caught.value).count("shard has failed to be restored") == 1
    assert "What to do: remove the cause" in str(caught.value)


def test_a_shard_that_cannot_be_placed_may_still_find_a_place(
    source: Side, destination: Side, restore: Restore
) -> None:
    restore()
    destination.index("orders").lost = {0: {"disk_threshold": "above the high watermark"}}
    selected = source.listed()

    early = restores.check(destination.client, selected, time.time() - 800, hold_seconds=0)
    assert not early.ended
    with pytest.raises(RestoreFailed, match=r"orders\[0\]: .*above the high watermark"):
        restores.check(destination.client, selected, time.time() - 1_000, hold_seconds=0)


def test_a_reason_that_the_cluster_leaves_out_leaves_no_gap(
    source: Side, destination: Side, restore: Restore
) -> None:
    restore()
    destination.index("orders").lost = {0: {"restore_in_progress": "shard has failed"}}
    explanation = destination.client.cluster.allocation_explain(
        body={"index": "orders", "shard": 0, "primary": True}
    )
    del explanation["unassigned_info"]["details"]
    destination.cluster.faults = [Fault(".* /_cluster/allocation/explain", (200, explanation))]

    with pytest.raises(RestoreFailed, match=r"the first is orders\[0\]: shard has failed\. What"):
        restores.check(destination.client, source.listed(), time.time(), hold_seconds=0)


def test_many_indices_are_asked_for_in_pieces(source: Side, destination: Side) -> None:
    job_names = [f"logs-{'x' * 200}-{number:03}" for number in range(40)]
    source.cluster.indices = {name: FakeIndex(documents=1) for name in job_names}
    destination.cluster.indices = {
        name: FakeIndex(restored_from="s", restored_bytes=10) for name in job_names
    }

    progress = restores.check(destination.client, source.listed(), time.time(), hold_seconds=0)

    assert progress.ended
    assert progress.bytes_total == 400
    assert len(destination.cluster.sent("GET .*/_recovery")) > 1
