"""Snapshots at a real source, restored at a real destination."""

import time
from collections.abc import Callable, Sequence

import pytest
from opensearchpy import OpenSearch

from snapferry import clients, indices, repositories, restores, snapshots
from snapferry.errors import Conflict, RestoreFailed, SnapshotFailed, SnapshotInProgress
from snapferry.indices import Index
from snapferry.journal import Journal
from snapferry.ownership import Ownership
from snapferry.progress import Progress
from snapferry.request import DomainJob
from tests.clusters.conftest import GiveBack
from tests.sandbox.migrations import Sandbox, fill

_PATIENCE_SECONDS = 60


def listed(source: OpenSearch, *names: str) -> list[Index]:
    present = indices.list_all(source)
    return [present[name] for name in names]


type Copy = Callable[[int, Sequence[Index]], Progress]


@pytest.fixture
def take(registered: DomainJob, journal: Journal, source: OpenSearch) -> Copy:
    """Takes a round's snapshot."""

    def start(number: int, selected: Sequence[Index]) -> Progress:
        names = [index.name for index in selected]
        snapshot = snapshots.start(journal, source, registered, number, names)
        return snapshots.check(source, registered, snapshot, _PATIENCE_SECONDS)

    return start


@pytest.fixture
def restore(registered: DomainJob, ownership: Ownership, destination: OpenSearch) -> Copy:
    """Restores it."""

    def start(number: int, selected: Sequence[Index]) -> Progress:
        started_at = time.time()
        names = [index.name for index in selected]
        restores.start(destination, ownership, registered, number, selected, names)
        return restores.check(destination, selected, started_at, _PATIENCE_SECONDS)

    return start


def test_second_round_copies_what_is_new(
    sandbox: Sandbox,
    registered: DomainJob,
    source: OpenSearch,
    destination: OpenSearch,
    take: Copy,
    restore: Copy,
) -> None:
    fill(sandbox.source, "rounds-1", 5000, shards=2)
    sandbox.source.indices.forcemerge(index="rounds-1", max_num_segments=1)
    selected = listed(source, "rounds-1")

    first_snapshot = take(1, selected)
    first = restore(1, selected)
    restored = indices.list_all(destination)["rounds-1"]
    fill(sandbox.source, "rounds-1", 50, first=5000)
    second_snapshot = take(2, selected)
    second = restore(2, selected)

    for progress in (first_snapshot, first, second_snapshot, second):
        assert progress.ended
        assert progress.bytes_done == progress.bytes_total > 0
        assert progress.shards_done == progress.shards_total == 2
    assert first.bytes_reused == 0
    for progress in (second_snapshot, second):
        assert progress.bytes_total < progress.bytes_reused
    assert indices.count(destination, ["rounds-1"]) == {"rounds-1": 5050}
    again = indices.list_all(destination)["rounds-1"]
    assert again.uuid == restored.uuid
    # By this an index is known whose restore wasn't noted any more.
    assert indices.restored_from(destination, ["rounds-1"]) == {
        "rounds-1": {(registered.repository, registered.snapshot(2))}
    }
    # Policies go by this.
    assert again.created_at_milliseconds == selected[0].created_at_milliseconds
    assert restored.created_at_milliseconds == selected[0].created_at_milliseconds


@pytest.mark.parametrize("shards", [1, 2], ids=["closed", "deleted"])
def test_nodes_and_blocks_of_the_source_are_not_in_the_way(
    sandbox: Sandbox,
    source: OpenSearch,
    destination: OpenSearch,
    take: Copy,
    restore: Copy,
    shards: int,
) -> None:
    name = f"bound-{shards}"
    nodes = ",".join(node["name"] for node in sandbox.source.cat.nodes(format="json", h="name"))
    bound = {"index.routing.allocation.include._name": nodes, "index.blocks.read_only": True}
    unbound = {"index.blocks.read_only": None}
    for number, count in ((1, 1), (2, shards)):
        fill(sandbox.source, name, 10, shards=count)
        sandbox.source.indices.put_settings(index=name, body=bound)
        selected = listed(source, name)
        take(number, selected)

        assert restore(number, selected).ended

        settings = indices.settings(destination, [name])[name]
        assert settings["index.blocks.read_only"] == "true"
        assert not any(key.startswith("index.routing.allocation") for key in settings)
        sandbox.source.indices.put_settings(index=name, body=unbound)
        if shards > 1:
            sandbox.source.indices.delete(index=name)
    sandbox.destination.indices.put_settings(index=name, body=unbound)


def test_starting_twice_is_starting_once(
    sandbox: Sandbox, registered: DomainJob, source: OpenSearch, take: Copy, restore: Copy
) -> None:
    fill(sandbox.source, "twice-1", 100)
    selected = listed(source, "twice-1")
    for _ in range(2):
        assert take(1, selected).ended
        assert restore(1, selected).ended
    answer = source.snapshot.get(repository=registered.repository, snapshot="_all")
    assert len(answer["snapshots"]) == 1


def test_index_of_somebody_else_stays(
    sandbox: Sandbox, source: OpenSearch, destination: OpenSearch, take: Copy, restore: Copy
) -> None:
    fill(sandbox.source, "theirs-1", 10)
    fill(sandbox.destination, "theirs-1", 3)
    selected = listed(source, "theirs-1")
    take(1, selected)
    with pytest.raises(Conflict, match="theirs-1"):
        restore(1, selected)
    assert indices.count(destination, ["theirs-1"]) == {"theirs-1": 3}


def test_snapshot_without_a_shard_fails(sandbox: Sandbox, source: OpenSearch, take: Copy) -> None:
    sandbox.source.indices.create(
        index="unassigned-1",
        body={"settings": {"index.routing.allocation.require._name": "nobody"}},
        params={"wait_for_active_shards": "0"},
    )
    with pytest.raises(SnapshotFailed, match="unassigned-1"):
        take(1, listed(source, "unassigned-1"))
    sandbox.source.indices.delete(index="unassigned-1")


def test_restore_without_its_objects_fails(
    sandbox: Sandbox,
    registered: DomainJob,
    source: OpenSearch,
    take: Copy,
    restore: Copy,
) -> None:
    fill(sandbox.source, "damaged-1", 2000)
    selected = listed(source, "damaged-1")
    take(1, selected)
    bucket = sandbox.world.s3.bucket
    objects = sandbox.bucket.list_objects_v2(
        Bucket=bucket, Prefix=f"{registered.base_path}/indices/"
    )["Contents"]
    # Shard data; its lists stay, so that the restore begins.
    data = [item["Key"] for item in objects if item["Key"].rsplit("/", 1)[1].startswith("__")]
    assert data
    for key in data:
        sandbox.bucket.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(RestoreFailed, match=r"damaged-1\[0\]"):
        restore(1, selected)
    sandbox.destination.indices.delete(index="damaged-1")


def test_snapshot_that_runs_is_ended_by_the_roll_back(
    sandbox: Sandbox,
    registered: DomainJob,
    journal: Journal,
    source: OpenSearch,
    give_back: GiveBack,
) -> None:
    fill(sandbox.source, "slow-1", 5000)
    name = registered.repository
    settings = sandbox.source.snapshot.get_repository(repository=name)[name]["settings"]
    slow = repositories.Repository(source, name, settings | {"max_snapshot_bytes_per_sec": "20kb"})
    slow.write(slow.read())
    snapshot = snapshots.start(journal, source, registered, 1, ["slow-1"])
    assert not snapshots.check(source, registered, snapshot, hold_seconds=0).ended

    assert give_back() == {"done": 3, "waiting": 0, "failed": [], "foreign": [], "kept": []}

    status = sandbox.source.snapshot.status()
    assert status["snapshots"] == []
    repositories.register_source(journal, source, registered)
    left = source.snapshot.get(repository=name, snapshot="_all")
    assert left["snapshots"] == []


@pytest.mark.usefixtures("writable_bucket")
def test_index_that_is_being_restored_is_waited_for(
    sandbox: Sandbox,
    job: DomainJob,
    journal: Journal,
    source: OpenSearch,
    destination: OpenSearch,
    give_back: GiveBack,
) -> None:
    fill(sandbox.source, "restored-1", 5000)
    selected = listed(source, "restored-1")
    slow = job.destination.model_copy(
        update={"repository_settings": {"max_restore_bytes_per_sec": "20kb"}}
    )
    job = job.model_copy(update={"destination": slow})
    repositories.register_source(journal, source, job)
    repositories.register_destination(journal, destination, job)
    snapshot = snapshots.start(journal, source, job, 1, ["restored-1"])
    assert snapshots.check(source, job, snapshot, _PATIENCE_SECONDS).ended
    ownership = Ownership(clients.records(job.migration_id), job)
    restores.start(destination, ownership, job, 1, selected, ["restored-1"])

    with pytest.raises(SnapshotInProgress, match="indices that are being restored"):
        destination.indices.close(index="restored-1")

    sandbox.destination.indices.delete(index="restored-1")
    # The repository is in use until the cluster has noticed that the restore has ended.
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while give_back()["failed"] and time.monotonic() < give_up_at:
        time.sleep(0.2)
    assert journal.open_changes() == []
