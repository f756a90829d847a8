"""State "Verify copy": structure, documents, shards and health on both sides."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, listing, verification
from snapferry.request import DomainJob

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job` and `round`; returns the number of documents, equal on both sides."""
    job = DomainJob.model_validate(event["job"])
    records = clients.records(job.migration_id)
    domain, round_number = job.domain.name, event["round"]
    documents = verification.prove(
        clients.source(job.domain),
        clients.destination(job.destination),
        records,
        job,
        listing.selected(records, domain, round_number),
        listing.caught_up(records, domain, round_number),
    )
    return {"documents": documents}
