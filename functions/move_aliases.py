"""State "Move aliases": as the source has them now, all in one call."""

import time
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import aliases, clients, listing
from snapferry.request import DomainJob

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job` and `round`; returns how many aliases there are, and when they were moved."""
    job = DomainJob.model_validate(event["job"])
    selected = listing.selected(clients.records(job.migration_id), job.domain.name, event["round"])
    with clients.fence(job.migration_id).effect(
        context.aws_request_id, context.get_remaining_time_in_millis()
    ):
        moved = aliases.move(
            clients.source(job.domain),
            clients.destination(job.destination),
            [index.name for index in selected],
        )
    return {"aliases": len(moved), "moved_at": time.time()}
