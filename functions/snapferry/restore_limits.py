"""The destination's limits of recoveries, which are meant for a cluster at work, lifted meanwhile.

Restores of several domains may run side by side: the first to begin lifts the limits, the last to
end gives them back. Where one doesn't come to its end, the roll-back gives them back.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from opensearchpy import OpenSearch

from snapferry import table
from snapferry.cluster_settings import ClusterSetting
from snapferry.errors import AccessDenied, RequestRefused
from snapferry.journal import Changeable, GivenBack, Journal, Place, destination_side
from snapferry.request import DomainJob

# Not that of settings in general: these are given back before the others.
_KIND = "restore_limit"

# Each is what a node, or the cluster's manager, does at once; 0 bytes a second are no limit.
_LIMITS: Mapping[str, int] = {
    # A shard spends much of its restore on waiting: for the manager, for S3, for its engine. The
    # files are fetched by at most five threads a node, and four shards for each keep them busy.
    "cluster.routing.allocation.node_initial_primaries_recoveries": 20,
    # By default a node's restores share 40 MB/s, less than the slowest disk.
    "indices.recovery.max_bytes_per_sec": 0,
    # Replicas are copied from the primaries; more at once would keep a small node from anything
    # else.
    "cluster.routing.allocation.node_concurrent_recoveries": 4,
    # The highest value that every version takes.
    "indices.recovery.max_concurrent_file_chunks": 5,
    # Before it places a shard, the manager reads its size from the snapshot.
    "cluster.snapshot.info.max_concurrent_fetches": 20,
}

CHANGEABLES: Mapping[str, Callable[[OpenSearch, str], Changeable]] = {_KIND: ClusterSetting}


def lift(journal: Journal, destination: OpenSearch, job: DomainJob) -> list[str]:
    """Lifts the limits while a domain's restore runs, if the input doesn't say otherwise.

    Amazon OpenSearch Service lets nobody change them, so those of a domain stay. A limit that is
    wider already isn't touched. Where it is set both persistently and transiently, the transient
    value counts.

    Sources: https://docs.opensearch.org/latest/api-reference/cluster-api/cluster-settings/ and
    https://docs.aws.amazon.com/opensearch-service/latest/developerguide/supported-operations.html

    Args:
        journal: of the migration.
        destination: the cluster that takes the indices.
        job: whose restore begins.

    Returns:
        The settings that the cluster doesn't know or doesn't let anybody change.
    """
    if not _may_lift(job):
        return []
    journal.items.put_item(Item=_running(journal, job))
    refused = []
    for place, limit in _to_lift(destination, job):
        try:
            journal.change(place, ClusterSetting(destination, place.key), str(limit))
        except (AccessDenied, RequestRefused):
            refused.append(place.key.partition("/")[2])
    return refused


def foresee(destination: OpenSearch, job: DomainJob) -> list[Place]:
    """What `lift` will change."""
    if not _may_lift(job):
        return []
    return [place for place, _ in _to_lift(destination, job)]


def notes(job: DomainJob) -> list[str]:
    """What people have to know of limits that stay though the input wants them lifted."""
    wanted = job.destination.lift_restore_limits and job.mode != "snapshot_only"
    if not wanted or _may_lift(job):
        return []
    return [
        f"the limits of recoveries of {job.destination.endpoint} stay as they are, because Amazon "
        "OpenSearch Service lets nobody change them: restores are slower than with other clusters"
    ]


def give_back(journal: Journal, destination: OpenSearch, job: DomainJob) -> GivenBack:
    """Gives the limits back once no restore of the migration runs there any more.

    A restore that begins at this very moment may find them given back: that makes it slower.

    Args:
        journal: of the migration.
        destination: the cluster that took the indices.
        job: whose restore has ended.

    Returns:
        What came of it; nothing where another domain's restore still runs.
    """
    item = _running(journal, job)
    journal.items.delete_item(Key=item)
    if any(table.query(journal.items, journal.migration_id, _running_at(job))):
        return GivenBack()
    return journal.give_back(
        lambda place: CHANGEABLES[place.kind](destination, place.key),
        kinds=CHANGEABLES.keys(),
        side=_side(job),
    )


def _may_lift(job: DomainJob) -> bool:
    return job.destination.lift_restore_limits and not job.destination.is_domain


def _to_lift(destination: OpenSearch, job: DomainJob) -> Iterator[tuple[Place, int]]:
    """The limits that are narrower than they are to be, with what they are to be."""
    answer = destination.cluster.get_settings(flat_settings=True, include_defaults=True)
    for name, limit in _LIMITS.items():
        scope = "transient" if name in answer["transient"] else "persistent"
        value = answer[scope].get(name, answer["defaults"].get(name))
        if value is None or not _is_wider(value, limit):
            yield Place(_side(job), _KIND, f"{scope}/{name}"), limit


def _running(journal: Journal, job: DomainJob) -> dict[str, str]:
    """The item that says that a domain's restore runs."""
    return {"migration_id": journal.migration_id, "record": _running_at(job) + job.domain.name}


def _running_at(job: DomainJob) -> str:
    """What the items of the restores at one destination begin with."""
    return f"restore#{job.destination.endpoint}#"


def _side(job: DomainJob) -> str:
    return destination_side(job.destination.endpoint)


def _is_wider(value: Any, limit: int) -> bool:
    """Whether a value of a setting, such as `8` or `40mb`, limits no more than a number does."""
    [number] = re.findall(r"^-?[\d.]+", str(value))
    return float(number) <= 0 if limit == 0 else float(number) >= limit
