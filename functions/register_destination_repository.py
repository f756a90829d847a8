"""State "Register destination repository": the same path, read-only."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, repositories
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`; returns the repository's name."""
    job = DomainJob.model_validate(event["job"])
    with clients.effect(job.migration_id, context):
        repositories.register_destination(
            clients.journal(job.migration_id), clients.destination(job.destination), job
        )
    return {"repository": job.repository}
