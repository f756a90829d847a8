"""State "Begin catch up": which indices can be caught up, and what that begins with."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, cutover
from snapferry.request import DomainJob

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`, `round` and `entered_at`; returns how many are `caught_up`, how many not."""
    job = DomainJob.model_validate(event["job"])
    with clients.fence(job.migration_id).effect(
        context.aws_request_id, context.get_remaining_time_in_millis()
    ):
        return cutover.begin(
            clients.source(job.domain),
            clients.destination(job.destination),
            clients.records(job.migration_id),
            job,
            event["round"],
            event["entered_at"],
        )
