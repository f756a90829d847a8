"""States "Verify restored documents" and "Verify documents": by id, routing and text."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, listing, verification
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`, `round` and `moment`; returns whether it has `ended`, and `documents`."""
    job = DomainJob.model_validate(event["job"])
    records = clients.records(job.migration_id)
    done = verification.run(
        clients.source(job.domain),
        clients.destination(job.destination),
        records,
        job,
        event["moment"],
        listing.selected(records, job.domain.name, event["round"]),
    )
    if done.has_ended:
        done.raise_differences()
    return {"ended": done.has_ended, "documents": done.documents}
