"""State "Verify rehearsal": the documents of the copies, which are deleted afterwards."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, listing, rehearsal, verification
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job` and `round`; returns the number of documents that were copied."""
    job = DomainJob.model_validate(event["job"])
    records = clients.records(job.migration_id)
    verdicts = rehearsal.verify(
        clients.source(job.domain),
        clients.destination(job.destination),
        job,
        listing.selected(records, job.domain.name, event["round"]),
    )
    verification.keep_verdicts(records, job.domain.name, verdicts)
    verification.raise_faults(verdicts)
    return {"documents": sum(verdict.destination_documents or 0 for verdict in verdicts)}
