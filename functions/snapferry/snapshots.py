"""Snapshots at the source: start one, look until it ends, delete it."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from opensearchpy import OpenSearch

from snapferry import repositories
from snapferry.errors import Conflict, NotFound, RequestRefused, SnapshotFailed, Unavailable
from snapferry.journal import Journal, Place, side_of
from snapferry.progress import Progress
from snapferry.request import DomainJob

_LOOK_EVERY_SECONDS = 0.25
_KIND = "running_snapshot"
# Histories have their limit, and a snapshot may run for days.
_LOOK_AGAIN_SECONDS = 300
_AUTOMATED = "cs-automated"
_AUTOMATED_EVERY_SECONDS = 3_600


@dataclass(frozen=True)
class RunningSnapshot:
    """A snapshot while it runs, as a value that changes; one that has ended is data.

    Attributes:
        cluster: which takes it.
        path: its repository and its name, with a slash between them.
        indices: that it is to hold.
    """

    cluster: OpenSearch
    path: str
    indices: Sequence[str] = ()

    def read(self) -> Any:
        """Whether it runs: True or None."""
        repository, _, snapshot = self.path.partition("/")
        try:
            answer = self.cluster.snapshot.get(
                repository=repository, snapshot=snapshot, ignore_unavailable=True
            )
        except NotFound:  # the repository
            return None
        running = any(info["state"] == "IN_PROGRESS" for info in answer["snapshots"])
        return running or None

    def write(self, value: Any) -> None:
        """Starts it, or ends it by deleting it."""
        repository, _, snapshot = self.path.partition("/")
        if value is None:
            self.cluster.snapshot.delete(repository=repository, snapshot=snapshot)
        else:
            self.cluster.snapshot.create(
                repository=repository,
                snapshot=snapshot,
                body={
                    "indices": ",".join(self.indices),
                    "include_global_state": False,
                    "partial": False,
                },
                params={"wait_for_completion": "false"},
            )


CHANGEABLES = {_KIND: RunningSnapshot}


def seconds_until_free(cluster: OpenSearch, needed_seconds: float, now: float) -> int:
    """How long until nothing else takes a snapshot for a while; 0 if nothing does.

    A domain takes one of its own each hour, and one at a time. What takes longer than half an hour
    doesn't wait for that, which would always be due.

    Sources: https://docs.opensearch.org/latest/api-reference/snapshots/get-snapshot-status/ and
    https://docs.aws.amazon.com/opensearch-service/latest/developerguide/managedomains-snapshots.html

    Args:
        cluster: either side.
        needed_seconds: how long ours, or its restore, will take.
        now: in seconds of the epoch.
    """
    if cluster.snapshot.status()["snapshots"]:
        return _LOOK_AGAIN_SECONDS
    if needed_seconds > _AUTOMATED_EVERY_SECONDS / 2:
        return 0
    for repository in cluster.snapshot.get_repository():
        if repository.startswith(_AUTOMATED):
            rows = cluster.cat.snapshots(
                repository=repository, format="json", h="start_epoch", s="start_epoch"
            )
            for row in rows[-1:]:
                due_in_seconds = int(row["start_epoch"]) + _AUTOMATED_EVERY_SECONDS - now
                if 0 <= due_in_seconds < needed_seconds:
                    return round(due_in_seconds) + _LOOK_AGAIN_SECONDS
    return 0


def start(
    journal: Journal, source: OpenSearch, job: DomainJob, round_number: int, names: Sequence[str]
) -> str:
    """Starts the snapshot of a round, unless an earlier attempt has started it.

    Args:
        journal: of the migration.
        source: the domain.
        job: whose snapshot.
        round_number: counted from 1.
        names: the indices, by their names.

    Returns:
        The snapshot's name.

    Raises:
        SnapshotInProgress: another one runs, such as the domain's automated one; try again later.
        AclRefused, BucketDenied: the bucket isn't open to the domain yet; likewise.
        Conflict: there is a snapshot of this name that the migration hasn't started.
    """
    snapshot = job.snapshot(round_number)
    place = _place(job, round_number)
    if _exists(source, job, snapshot):
        if all(change.place != place for change in journal.changes()):
            raise Conflict(
                f"{job.repository} has a snapshot {snapshot} already, of an earlier migration of "
                f"the name {job.migration_id}. What to do: start under another name."
            )
        return snapshot
    if job.way == "acl":
        # The bucket was opened for writing just now, and that takes some seconds until it holds
        # everywhere: in the snapshot shards would fail one by one.
        repositories.prove_writable(source, job)
    try:
        journal.change(place, RunningSnapshot(source, place.key, names), True)
    except (Unavailable, RequestRefused):
        # A domain answers 504 when the start takes longer than its patience; it goes on anyway, and
        # may be seen only when the next attempt is refused for its name.
        if not _exists(source, job, snapshot):
            raise
    return snapshot


def foresee(job: DomainJob) -> list[Place]:
    """The snapshots that will be running.

    Of a migration one for each round and a last one at the most, otherwise a single one.
    """
    most = job.cutover.rounds + 1 if job.mode in ("migrate", "plan") else 1
    return [_place(job, number) for number in range(1, most + 1)]


def _place(job: DomainJob, round_number: int) -> Place:
    path = f"{job.repository}/{job.snapshot(round_number)}"
    return Place(side_of(job.domain.name), _KIND, path)


def check(
    source: OpenSearch,
    job: DomainJob,
    snapshot: str,
    hold_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    before: Progress | None = None,
) -> Progress:
    """Looks at a snapshot, at most `hold_seconds` long, until it has ended.

    Args:
        source: the domain.
        job: whose snapshot.
        snapshot: its name.
        hold_seconds: how long to stay and look again, so that an end is seen at once.
        sleep: waits between looks.
        before: what an earlier call has seen, if there was one.

    Returns:
        How far it is.

    Raises:
        SnapshotFailed: it ended, but not as SUCCESS, or lacks shards.
    """
    leave_at = time.monotonic() + hold_seconds
    while True:
        before = _look(source, job, snapshot, before)
        if before.ended or time.monotonic() >= leave_at:
            return before
        sleep(_LOOK_EVERY_SECONDS)


def delete(source: OpenSearch, job: DomainJob, rounds: int) -> None:
    """Deletes the snapshots of all rounds by the API; those that are gone already are passed by.

    Args:
        source: the domain.
        job: whose snapshots.
        rounds: how many there are.

    Raises:
        SnapshotInProgress: the domain is taking another one; try again later.
    """
    for round_number in range(1, rounds + 1):
        with contextlib.suppress(NotFound):
            source.snapshot.delete(repository=job.repository, snapshot=job.snapshot(round_number))


def _exists(source: OpenSearch, job: DomainJob, snapshot: str) -> bool:
    answer = source.snapshot.get(
        repository=job.repository, snapshot=snapshot, ignore_unavailable=True
    )
    return bool(answer["snapshots"])


def _look(source: OpenSearch, job: DomainJob, snapshot: str, before: Progress | None) -> Progress:
    """Reads how a snapshot stands, and from `_status` bytes and files.

    `_status` says SUCCESS as soon as the shards are copied, also of a PARTIAL snapshot. But there
    is no snapshot before its list of files is written, and until then the destination doesn't see
    it: so the state is that of the snapshot itself. Once that has ended, `_status` reads a file of
    each shard, which may take longer than anybody waits: then what was seen before has to do.

    Source: https://docs.opensearch.org/latest/api-reference/snapshots/get-snapshot-status/
    """
    answer = source.snapshot.get(repository=job.repository, snapshot=snapshot)
    info: dict[str, Any] = answer["snapshots"][0]
    ended = info["state"] == "SUCCESS" and not info.get("failures")
    if not (ended or info["state"] == "IN_PROGRESS"):
        raise SnapshotFailed(_failure(job, info))
    try:
        # A cluster would name each shard of each index besides.
        status = source.snapshot.status(
            repository=job.repository,
            snapshot=snapshot,
            params={"filter_path": "snapshots.stats,snapshots.shards_stats"},
        )["snapshots"][0]
    except Unavailable:
        if not (ended and before):
            raise
        return replace(
            before,
            ended=True,
            elapsed_seconds=info["duration_in_millis"] / 1000,
            bytes_done=before.bytes_total,
            files_done=before.files_total,
            shards_done=before.shards_total,
        )
    stats, shards = status["stats"], status["shards_stats"]
    incremental = stats["incremental"]
    # `processed` is left out once everything was processed, which is before the end.
    done = stats.get("processed", incremental)
    return Progress(
        phase="snapshot",
        ended=ended,
        elapsed_seconds=stats["time_in_millis"] / 1000,
        bytes_done=done["size_in_bytes"],
        bytes_total=incremental["size_in_bytes"],
        bytes_reused=stats["total"]["size_in_bytes"] - incremental["size_in_bytes"],
        files_done=done["file_count"],
        files_total=incremental["file_count"],
        shards_done=shards["done"],
        shards_total=shards["total"],
    )


def _failure(job: DomainJob, info: dict[str, Any]) -> str:
    reasons = [
        f"{failure['index']}[{failure['shard_id']}]: {failure['reason']}"
        for failure in info.get("failures", [])
    ]
    return (
        f"the snapshot {info['snapshot']} in {job.repository} is {info['state']}, not "
        f"SUCCESS: {'; '.join(reasons[:5]) or 'the source names no reason'}. What to do: bring the "
        "source's indices to green health, then start the migration again."
    )
