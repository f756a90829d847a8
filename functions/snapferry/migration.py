"""The beginning of a migration: from here on its id is known, and what it uses is its own."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from snapferry import leases
from snapferry.errors import LeaseHeld, SnapshotSkipped
from snapferry.fence import Fence
from snapferry.records import Records
from snapferry.request import DomainJob

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

_JOBS = "jobs"


def begin(
    fence: Fence,
    items: "Table",
    records: Records,
    jobs: Sequence[DomainJob],
    execution_arn: str,
    effect: AbstractContextManager[None],
) -> None:
    """Notes the migration and its jobs, and takes the leases of all that it uses.

    Those are its bucket, its domains and its destinations: what two migrations of one domain change
    there, such as rights and write blocks, neither could tell from its own.

    Args:
        fence: of the migration.
        items: the table of the stack.
        records: of the migration.
        jobs: one for each domain, with one bucket.
        execution_arn: of the state machine `migrate`.
        effect: inside of it leases may be taken; it raises where that is over.

    Raises:
        Conflict: there has been a migration of this id before.
        LeaseHeld: another migration uses the bucket, a domain or a destination.
        SnapshotSkipped: so it is, and this is a snapshot of a series.
        MigrationEnded: it is being rolled back already.
    """
    # What is restored without its source leaves that alone.
    sources = {job.domain.host for job in jobs if job.mode != "restore_only"}
    # The destination of one migration may be the source of another.
    clusters = sources | {job.destination.endpoint for job in jobs}
    fence.open(execution_arn)
    # A lease that is taken after the roll-back's end would never be given up.
    with effect:
        records.write(_JOBS, [job.model_dump(mode="json") for job in jobs])
        try:
            leases.acquire(
                items,
                [
                    f"bucket {jobs[0].bucket.name}",
                    *(f"cluster {address}" for address in sorted(clusters)),
                ],
                fence.migration_id,
                execution_arn,
            )
        except LeaseHeld as held:
            if jobs[0].series:
                raise SnapshotSkipped(f"no snapshot was taken this time: {held}") from held
            raise


def jobs(records: Records) -> list[DomainJob]:
    """The jobs of a migration; none where it hasn't begun."""
    return [DomainJob.model_validate(job) for job in records.read(_JOBS, default=[])]
