"""State "Write plan": one plan of those of all domains, and whether the migration can go on."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, plan
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `jobs` and the `outcomes` of their plans; returns where the whole plan is stored."""
    jobs = [DomainJob.model_validate(job) for job in event["jobs"]]
    return plan.write(
        clients.destination_administrator,
        clients.records(jobs[0].migration_id),
        clients.bus(),
        jobs,
        event["outcomes"],
    )
