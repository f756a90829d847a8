"""State "Verify restore": what can be said of it without its source."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, kept_snapshot, listing
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job` and `round`; returns the snapshot's name, and the number of documents."""
    job = DomainJob.model_validate(event["job"])
    records = clients.records(job.migration_id)
    # It hands the indices over.
    with clients.effect(job.migration_id, context):
        documents = kept_snapshot.verify(
            clients.destination(job.destination),
            records,
            job,
            listing.selected(records, job.domain.name, event["round"]),
        )
    return {
        "snapshot": kept_snapshot.chosen(records, job).domain.snapshot,
        "documents": documents,
    }
