"""State "Give back restore limits": once no restore of the migration runs any more."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, restore_limits
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`; returns how many settings were given back, and what was left, in words."""
    job = DomainJob.model_validate(event["job"])
    with clients.effect(job.migration_id, context):
        outcome = restore_limits.give_back(
            clients.journal(job.migration_id), clients.destination(job.destination), job
        )
    return {
        "given_back": len(outcome.done),
        "foreign": outcome.foreign,
        "failed": outcome.failed,
    }
