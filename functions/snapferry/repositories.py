"""Snapshot repositories: the source writes, the destination reads the same path."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opensearchpy import OpenSearch

from snapferry.errors import NotFound
from snapferry.journal import Journal, Place, destination_side, side_of
from snapferry.request import DomainJob

_KIND = "repository"


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


def register_source(journal: Journal, source: OpenSearch, job: DomainJob) -> None:
    """Registers the bucket's path at the domain, to be written as the snapshot role.

    The domain tries it by writing a small object, so that a missing right shows here.

    Source: https://docs.aws.amazon.com/opensearch-service/latest/developerguide/managedomains-snapshot-registerdirectory.html

    Raises:
        AccessDenied: by the domain, by `iam:PassRole` or by the bucket.
    """
    settings = {
        "bucket": job.bucket.name,
        "base_path": job.base_path,
        "role_arn": job.domain.snapshot_role_arn,
        # Otherwise the objects are the source account's alone.
        **({"canned_acl": "bucket-owner-full-control"} if job.way == "policy" else {}),
        # Without a limit of its own a node writes 40 MB/s.
        "max_snapshot_bytes_per_sec": "0",
        # Since 2.17 a domain may otherwise put shards outside the base path, where neither the
        # bucket's policy nor the destination finds them.
        "shard_path_type": "FIXED",
        **_place(job),
    }
    journal.change(
        _at_source(job),
        Repository(source, job.repository, settings),
        _identity(settings),
    )


def register_destination(journal: Journal, destination: OpenSearch, job: DomainJob) -> None:
    """Registers the same path at the destination, read-only; a domain reads as its snapshot role.

    That takes no look at the bucket: whether the destination can read is shown by
    `snapferry.access.prove`.

    Raises:
        AccessDenied: by the cluster, or by `iam:PassRole`.
    """
    role_arn = job.destination.snapshot_role_arn
    settings = {
        "bucket": job.bucket.name,
        "base_path": job.base_path,
        "max_restore_bytes_per_sec": "0",
        **({"role_arn": role_arn, **_place(job)} if role_arn else {"region": job.bucket.region}),
        **job.destination.repository_settings,
        "readonly": "true",
    }
    journal.change(
        _at_destination(job),
        Repository(destination, job.repository, settings),
        _identity(settings),
    )


def foresee(job: DomainJob) -> list[Place]:
    """What both registrations will change."""
    return [_at_source(job), _at_destination(job)]


def _at_source(job: DomainJob) -> Place:
    return Place(side_of(job.domain.name), _KIND, job.repository)


def _at_destination(job: DomainJob) -> Place:
    return Place(destination_side(job.destination.endpoint), _KIND, job.repository)


def _identity(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings.get(name) for name in ("bucket", "base_path", "canned_acl")}


def _place(job: DomainJob) -> dict[str, Any]:
    """Where the bucket is for a domain: us-east-1 by its endpoint, any other by its region."""
    if job.bucket.region == "us-east-1":
        return {"endpoint": "s3.amazonaws.com"}
    return {"region": job.bucket.region}
