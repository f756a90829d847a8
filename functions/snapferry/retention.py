"""Retention: the snapshots of a series that are too many or too old are deleted.

By the API alone, which knows the objects that snapshots share. A run of a series has the lease of
the bucket, so that no other migration uses any of its snapshots meanwhile.
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from opensearchpy import OpenSearch

from snapferry.errors import NotFound
from snapferry.journal import Place, side_of
from snapferry.records import Records
from snapferry.request import SERIES_TIME, DomainJob, Retention


def expire(source: OpenSearch, records: Records, job: DomainJob, now: datetime) -> int:
    """Deletes the snapshots that the series of a job doesn't keep, and notes their names.

    What else lies in the repository, whoever took it, is left alone.

    Sources: https://docs.opensearch.org/latest/api-reference/snapshots/get-snapshot/ and
    https://docs.opensearch.org/latest/api-reference/snapshots/delete-snapshot/

    Args:
        source: the domain, where the repository is registered.
        records: of the migration.
        job: whose snapshots.
        now: from where ages are counted.

    Returns:
        How many were deleted, those of an earlier attempt included.

    Raises:
        SnapshotInProgress: the domain is taking another one; try again later.
    """
    if job.series is None or job.series.retention is None:
        return 0
    answer = source.snapshot.get(
        repository=job.repository, snapshot=f"{job.series.prefix}*", ignore_unavailable=True
    )
    gone = deleted(records, job.domain.name)
    for name in _expired(answer["snapshots"], job.series.prefix, job.series.retention, now):
        if name not in gone:
            gone = [*gone, name]
            records.write(_name(job.domain.name), gone)
        with contextlib.suppress(NotFound):
            source.snapshot.delete(repository=job.repository, snapshot=name)
    return len(gone)


def foresee(job: DomainJob) -> list[Place]:
    """What `expire` deletes from; the domain lists them once its repository is registered."""
    if job.series is None or job.series.retention is None:
        return []
    return [Place(side_of(job.domain.name), "expired_snapshots", f"{job.series.prefix}*")]


def deleted(records: Records, domain: str) -> list[str]:
    """The names of the snapshots of a domain that were deleted, the oldest first."""
    names: list[str] = records.read(_name(domain), default=[])
    return names


def _expired(
    snapshots: Sequence[Mapping[str, Any]], prefix: str, retention: Retention, now: datetime
) -> list[str]:
    """The names of those that aren't kept, the oldest first.

    Incomplete ones don't count, and go when the complete ones of their time do.
    """
    # Their names are in the order of their times.
    ended = {
        snapshot["snapshot"]: snapshot["state"]
        for snapshot in sorted(snapshots, key=itemgetter("snapshot"))
        if re.fullmatch(rf"{re.escape(prefix)}\d{{8}}t\d{{6}}z", snapshot["snapshot"])
        and snapshot["state"] != "IN_PROGRESS"
    }
    complete = [name for name, state in ended.items() if state == "SUCCESS"]
    kept = complete if retention.count is None else complete[-retention.count :]
    if retention.age_days is not None:
        oldest = f"{prefix}{now - timedelta(days=retention.age_days):{SERIES_TIME}}"
        kept = [name for name in kept if name >= oldest] or complete[-1:]
    return [name for name in ended if kept and name < kept[0]]


def _name(domain: str) -> str:
    return f"{domain}/expired-snapshots"
