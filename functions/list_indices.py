"""State "List indices": what a round has to move."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, indices, listing, rounds
from snapferry.ownership import Ownership
from snapferry.request import DomainJob

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job` and `round`; returns how much there is to move."""
    job = DomainJob.model_validate(event["job"])
    records = clients.records(job.migration_id)
    selected = indices.select(
        indices.list_all(clients.source(job.domain)).values(), job.domain.indices
    )
    present = indices.list_all(clients.destination(job.destination))
    indices.refuse_strangers(selected, present, Ownership(records, job).of(present))
    listing.keep(records, job.domain.name, event["round"], selected)
    size = {
        "indices": len(selected),
        "primary_store_bytes": sum(index.primary_store_bytes for index in selected),
    }
    final = event["round"] > job.cutover.rounds
    rounds.note(records, job.domain.name, event["round"], final=final, **size)
    return size
