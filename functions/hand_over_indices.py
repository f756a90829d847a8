"""State "Hand over indices": from here on there is no way back."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, cutover
from snapferry.request import DomainJob

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`; returns its domain's name."""
    job = DomainJob.model_validate(event["job"])
    with clients.fence(job.migration_id).effect(
        context.aws_request_id, context.get_remaining_time_in_millis()
    ):
        cutover.hand_over(clients.journal(job.migration_id), clients.records(job.migration_id), job)
    return {"domain": job.domain.name}
