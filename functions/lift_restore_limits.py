"""State "Lift restore limits": the destination's, while a domain is restored."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, restore_limits
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`; returns the settings that can't be changed there."""
    job = DomainJob.model_validate(event["job"])
    with clients.effect(job.migration_id, context):
        refused = restore_limits.lift(
            clients.journal(job.migration_id), clients.destination(job.destination), job
        )
    return {"refused": refused}
