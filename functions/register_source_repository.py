"""State "Register source repository": the bucket's path becomes a repository of the domain."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, repositories
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`; returns the repository's name, None where only a restore is wanted."""
    job = DomainJob.model_validate(event["job"])
    if job.mode == "restore_only":
        return {"repository": None}  # nobody writes, and the source may be gone
    with clients.effect(job.migration_id, context):
        repositories.register_source(
            clients.journal(job.migration_id), clients.source(job.domain), job
        )
    return {"repository": job.repository}
