"""State "Move aliases": as the source has them now, all in one call."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import aliases, clients
from snapferry.request import DomainJob

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job` and `round`; returns the names of the aliases."""
    job = DomainJob.model_validate(event["job"])
    selected = clients.records(job.migration_id).read(f"{job.domain.name}/indices-{event['round']}")
    with clients.fence(job.migration_id).effect(
        context.aws_request_id, context.get_remaining_time_in_millis()
    ):
        moved = aliases.move(
            clients.source(job.domain),
            clients.destination(job.destination),
            [index["name"] for index in selected],
        )
    return {"aliases": len(moved)}
