"""Snapshot repositories: the source writes, the destination reads the same path."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opensearchpy import OpenSearch

from snapferry.errors import Conflict, NotFound, RequestRefused
from snapferry.journal import Journal, Place, destination_side, side_of
from snapferry.request import OWN_PREFIX, Bucket, DomainJob

_KIND = "repository"
# How a domain refuses a setting: it seldom says which.
_NOT_OFFERED = re.compile(
    "payload is not allowed|canned_?acl|shard_path_type|max_(?:snapshot|restore)_bytes_per_sec",
    re.IGNORECASE,
)
_SNAPSHOT_LIMIT = "max_snapshot_bytes_per_sec"
_RESTORE_LIMIT = "max_restore_bytes_per_sec"


@dataclass(frozen=True)
class Repository:
    """A registered repository, as a value that changes: where it lies and how it is written.

    Attributes:
        cluster: where it is registered.
        name: its name.
        settings: with which it is registered.
    """

    cluster: OpenSearch
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> Any:
        """`bucket`, `base_path` and `canned_acl`: a cluster may add other settings of its own."""
        try:
            answer = self.cluster.snapshot.get_repository(repository=self.name)
        except NotFound:
            return None
        return _identity(answer[self.name]["settings"])

    def write(self, value: Any) -> None:
        """Registers it, or unregisters it; its objects in the bucket stay."""
        if value is not None:
            self.cluster.snapshot.create_repository(
                repository=self.name, body={"type": "s3", "settings": dict(self.settings)}
            )
            return
        try:
            self.cluster.snapshot.delete_repository(repository=self.name)
        except NotFound:
            return


CHANGEABLES = {_KIND: Repository}


def refuse_other_writers(source: OpenSearch, job: DomainJob) -> None:
    """Makes sure that no other repository of the domain writes to the path.

    A cluster remembers for each repository what lies there: what one has written the next snapshot
    of the other takes for damage. A bucket's lease keeps migrations from each other.

    Source: https://docs.opensearch.org/latest/tuning-your-cluster/availability-and-recovery/snapshots/snapshot-restore/

    Raises:
        Conflict: naming the repository.
    """
    for name, repository in source.snapshot.get_repository().items():
        settings = repository.get("settings", {})
        if (
            not name.startswith(OWN_PREFIX)
            and settings.get("bucket") == job.bucket.name
            and settings.get("base_path", "").strip("/") == job.base_path
            and str(settings.get("readonly")).lower() != "true"
        ):
            raise Conflict(
                f"the source's repository {name} writes to {job.base_path} of the bucket "
                f"{job.bucket.name}, too, and two that write to one path break each other's "
                "snapshots. What to do: give another base_path; or, if nothing takes snapshots by "
                f"it any more, unregister it (DELETE _snapshot/{name}: the snapshots stay) or "
                "register it with readonly: true"
            )


def register_source(journal: Journal, source: OpenSearch, job: DomainJob) -> None:
    """Registers the bucket's path at the domain, to be written as the snapshot role.

    The domain tries it by writing a small object, so that a missing right shows here. Where it
    refuses a setting that Amazon's documentation doesn't name, it is left out.

    Source: https://docs.aws.amazon.com/opensearch-service/latest/developerguide/managedomains-snapshot-registerdirectory.html

    Raises:
        AccessDenied: by the domain or by `iam:PassRole`.
        AclRefused: by the bucket; the proof says whether another way may help.
        BucketDenied: likewise.
        RequestRefused: by the domain, whatever is left out.
    """
    _register(journal, _at_source(job), source, _source_settings(job), _left_out(job))


def _source_settings(job: DomainJob) -> dict[str, Any]:
    return {
        "bucket": job.bucket.name,
        "base_path": job.base_path,
        "role_arn": job.domain.snapshot_role_arn,
        # Otherwise the objects are the source account's alone.
        **({"canned_acl": "bucket-owner-full-control"} if job.way == "policy" else {}),
        # Without a limit of its own a node writes 40 MB/s.
        _SNAPSHOT_LIMIT: "0",
        # Since 2.17 a domain may otherwise put shards outside the base path, where neither the
        # bucket's policy nor the destination finds them.
        "shard_path_type": "FIXED",
        **_bucket_location(job.bucket, job.domain.region, job.domain.snapshot_role_arn),
    }


def prove_writable(source: OpenSearch, job: DomainJob) -> None:
    """Registers the domain's repository once more, as it is: each of its nodes writes by it then.

    A domain may not offer the request that does nothing else.

    Raises:
        AclRefused, BucketDenied: where one can't write.
    """
    shown = source.snapshot.get_repository(repository=job.repository)[job.repository]["settings"]
    # A domain may show others of its own, or not the role, and has refused what else isn't there.
    settings = {
        name: value
        for name, value in _source_settings(job).items()
        if name in shown or name == "role_arn"
    }
    Repository(source, job.repository, settings).write(_identity(settings))


def register_destination(journal: Journal, destination: OpenSearch, job: DomainJob) -> None:
    """Registers the same path at the destination, read-only; a domain reads as its snapshot role.

    That takes no look at the bucket: whether the destination can read is shown by
    `snapferry.access.prove`. Where a domain refuses the speed, it is left out, unless the input has
    it: Amazon's documentation doesn't name it.

    Raises:
        AccessDenied: by the cluster, or by `iam:PassRole`.
        RequestRefused: by the cluster, whatever is left out.
    """
    role_arn = job.destination.snapshot_role_arn
    location = (
        {
            "role_arn": role_arn,
            **_bucket_location(job.bucket, str(job.destination.region), role_arn),
        }
        if role_arn
        else {"region": job.bucket.region}
    )
    settings = {
        "bucket": job.bucket.name,
        "base_path": job.base_path,
        _RESTORE_LIMIT: "0",
        **location,
        **job.destination.repository_settings,
        "readonly": "true",
    }
    left_out: list[set[str]] = [set()]
    if job.destination.is_domain and _RESTORE_LIMIT not in job.destination.repository_settings:
        left_out.append({_RESTORE_LIMIT})
    _register(journal, _at_destination(job), destination, settings, left_out)


def foresee(job: DomainJob) -> list[Place]:
    """What both registrations will change."""
    return [_at_source(job), _at_destination(job)]


def _register(
    journal: Journal,
    place: Place,
    cluster: OpenSearch,
    settings: Mapping[str, Any],
    left_out: Iterable[set[str]],
) -> None:
    """Registers a repository without the first of what may be left out that lets it be.

    Raises:
        RequestRefused: as it was with all settings.
    """
    refusals: list[RequestRefused] = []
    for names in left_out:
        offered = {name: value for name, value in settings.items() if name not in names}
        try:
            journal.change(place, Repository(cluster, place.key, offered), _identity(offered))
        except RequestRefused as error:
            if not _NOT_OFFERED.search(str(error)):
                raise
            refusals.append(error)
        else:
            return
    raise refusals[0]


def _at_source(job: DomainJob) -> Place:
    return Place(side_of(job.domain.name), _KIND, job.repository)


def _at_destination(job: DomainJob) -> Place:
    return Place(destination_side(job.destination.endpoint), _KIND, job.repository)


def _identity(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings.get(name) for name in ("bucket", "base_path", "canned_acl")}


def _left_out(job: DomainJob) -> Iterator[set[str]]:
    """What is left out of the source's settings, one attempt after the other, its speed at last.

    Without an ACL of its own, the bucket may refuse the objects: then its ACL is the way.
    """
    forced = job.bucket.access is not None and job.bucket.access.way != "automatic"
    for speed in (set[str](), {_SNAPSHOT_LIMIT}):
        yield speed
        yield {"shard_path_type", *speed}
        if job.way == "policy" and not forced:
            yield {"canned_acl", *speed}
            yield {"canned_acl", "shard_path_type", *speed}


def _bucket_location(bucket: Bucket, domain_region: str, role_arn: str) -> dict[str, str]:
    """Where the bucket is for a domain: by its region, us-east-1 by the endpoint of all regions.

    A domain of another region needs both. The endpoint is that of one partition.
    """
    endpoint = {"endpoint": "s3.amazonaws.com"}
    if bucket.region != domain_region and role_arn.startswith("arn:aws:"):
        return {"region": bucket.region, **endpoint}
    return endpoint if bucket.region == "us-east-1" else {"region": bucket.region}
