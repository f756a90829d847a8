"""Snapshots at a real source, restored at a real destination."""

import time
from collections.abc import Sequence

import pytest
from opensearchpy import OpenSearch

from snapferry import indices, restores, snapshots, verification
from snapferry.errors import Conflict, RestoreFailed, SnapshotFailed
from snapferry.indices import Index
from snapferry.progress import Progress
from snapferry.request import DomainJob
from tests.sandbox.migrations import Sandbox, fill

_PATIENCE_SECONDS = 60


def listed(source: OpenSearch, *names: str) -> list[Index]:
    present = indices.list_all(source)
    return [present[name] for name in names]


def take(source: OpenSearch, job: DomainJob, number: int, selected: Sequence[Index]) -> Progress:
    snapshot = snapshots.start(source, job, number, [index.name for index in selected])
    return snapshots.check(source, job, snapshot, _PATIENCE_SECONDS)


def restore(
    destination: OpenSearch,
    job: DomainJob,
    number: int,
    selected: Sequence[Index],
    restored: dict[str, str],
) -> Progress:
    started_at = time.time()
    restores.start(destination, job, number, selected, restored)
    return restores.check(destination, selected, started_at, _PATIENCE_SECONDS)


def test_second_round_copies_what_is_new(
    sandbox: Sandbox, registered: DomainJob, source: OpenSearch, destination: OpenSearch
) -> None:
    fill(sandbox.source, "rounds-1", 5000, shards=2)
    sandbox.source.indices.forcemerge(index="rounds-1", max_num_segments=1)
    selected = listed(source, "rounds-1")

    first_snapshot = take(source, registered, 1, selected)
    first = restore(destination, registered, 1, selected, {})
    restored = restores.uuids(destination, selected)
    fill(sandbox.source, "rounds-1", 50, first=5000)
    second_snapshot = take(source, registered, 2, selected)
    second = restore(destination, registered, 2, selected, restored)

    for progress in (first_snapshot, first, second_snapshot, second):
        assert progress.ended
        assert progress.bytes_done == progress.bytes_total > 0
        assert progress.shards_done == progress.shards_total == 2
    assert first.bytes_reused == 0
    for progress in (second_snapshot, second):
        assert progress.bytes_total < progress.bytes_reused
    assert verification.count(destination, ["rounds-1"]) == {"rounds-1": 5050}
    assert restores.uuids(destination, selected) == restored


def test_starting_twice_is_starting_once(
    sandbox: Sandbox, registered: DomainJob, source: OpenSearch, destination: OpenSearch
) -> None:
    fill(sandbox.source, "twice-1", 100)
    selected = listed(source, "twice-1")
    for _ in range(2):
        assert take(source, registered, 1, selected).ended
        assert restore(destination, registered, 1, selected, {}).ended
    answer = source.snapshot.get(repository=registered.repository, snapshot="_all")
    assert len(answer["snapshots"]) == 1


def test_index_of_somebody_else_stays(
    sandbox: Sandbox, registered: DomainJob, source: OpenSearch, destination: OpenSearch
) -> None:
    fill(sandbox.source, "theirs-1", 10)
    fill(sandbox.destination, "theirs-1", 3)
    selected = listed(source, "theirs-1")
    take(source, registered, 1, selected)
    with pytest.raises(Conflict, match="theirs-1"):
        restore(destination, registered, 1, selected, {})
    assert verification.count(destination, ["theirs-1"]) == {"theirs-1": 3}


def test_snapshot_without_a_shard_fails(
    sandbox: Sandbox, registered: DomainJob, source: OpenSearch
) -> None:
    sandbox.source.indices.create(
        index="unassigned-1",
        body={"settings": {"index.routing.allocation.require._name": "nobody"}},
        params={"wait_for_active_shards": "0"},
    )
    with pytest.raises(SnapshotFailed, match="unassigned-1"):
        take(source, registered, 1, listed(source, "unassigned-1"))
    sandbox.source.indices.delete(index="unassigned-1")


def test_restore_without_its_objects_fails(
    sandbox: Sandbox, registered: DomainJob, source: OpenSearch, destination: OpenSearch
) -> None:
    fill(sandbox.source, "damaged-1", 2000)
    selected = listed(source, "damaged-1")
    take(source, registered, 1, selected)
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
        restore(destination, registered, 1, selected, {})
    sandbox.destination.indices.delete(index="damaged-1")
