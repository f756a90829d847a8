"""Snapshot repositories: the source writes, the destination reads the same path."""

from typing import Any

from opensearchpy import OpenSearch

from snapferry.errors import NotFound
from snapferry.request import DomainJob


def register_source(source: OpenSearch, job: DomainJob) -> None:
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
        "canned_acl": "bucket-owner-full-control",
        # Without a limit of its own a node writes 40 MB/s.
        "max_snapshot_bytes_per_sec": "0",
        # Since 2.17 a domain may otherwise put shards outside the base path, where neither the
        # bucket's policy nor the destination finds them.
        "shard_path_type": "FIXED",
        **_place(job),
    }
    source.snapshot.create_repository(
        repository=job.repository, body={"type": "s3", "settings": settings}
    )


def register_destination(destination: OpenSearch, job: DomainJob) -> list[str]:
    """Registers the same path at the destination, read-only, and reads the list of snapshots.

    A read-only repository is registered without a look at the bucket; the list is that look.

    Returns:
        The names of the snapshots that the destination sees.

    Raises:
        AccessDenied: by the cluster or by the bucket.
    """
    settings = {
        "bucket": job.bucket.name,
        "base_path": job.base_path,
        "region": job.bucket.region,
        "max_restore_bytes_per_sec": "0",
        **job.destination.repository_settings,
        "readonly": "true",
    }
    destination.snapshot.create_repository(
        repository=job.repository, body={"type": "s3", "settings": settings}
    )
    answer = destination.snapshot.get(repository=job.repository, snapshot="_all")
    return [snapshot["snapshot"] for snapshot in answer["snapshots"]]


def unregister(cluster: OpenSearch, job: DomainJob) -> None:
    """Takes the migration's repository off a cluster; its objects in the bucket stay."""
    try:
        cluster.snapshot.delete_repository(repository=job.repository)
    except NotFound:
        return


def _place(job: DomainJob) -> dict[str, Any]:
    """Where the bucket is: us-east-1 is reached by its endpoint, every other by its region."""
    if job.bucket.region == "us-east-1":
        return {"endpoint": "s3.amazonaws.com"}
    return {"region": job.bucket.region}
