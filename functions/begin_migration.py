"""State "Begin migration": nobody else uses the bucket, domains or destination from here on."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, migration
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `jobs` and `execution_arn`; returns the migration's id."""
    jobs = [DomainJob.model_validate(job) for job in event["jobs"]]
    migration_id = jobs[0].migration_id
    migration.begin(
        clients.fence(migration_id),
        clients.table(),
        clients.records(migration_id),
        jobs,
        event["execution_arn"],
        clients.effect(migration_id, context),
    )
    return {"migration_id": migration_id}
