"""State "List indices": what a round has to move."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, kept_snapshot, listing, rounds
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job` and `round`; returns how much there is to move, and how much `for_snapshot`."""
    job = DomainJob.model_validate(event["job"])
    records, domain = clients.records(job.migration_id), job.domain.name
    destination = clients.destination(job.destination)
    if job.mode == "restore_only":
        size = kept_snapshot.list_indices(destination, records, job)
    else:
        source = clients.source(job.domain)
        size = listing.make(source, destination, records, job, event["round"]).size()
    rounds.note(records, domain, event["round"], final=False, **size)
    return size | {"for_snapshot": len(listing.for_snapshot(records, domain, event["round"]))}
