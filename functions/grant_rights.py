"""State "Grant rights": on both clusters, those that the migration lacks."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, security
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`; returns how many permissions were missing on each side."""
    job = DomainJob.model_validate(event["job"])
    journal = clients.journal(job.migration_id)
    with clients.effect(job.migration_id, context):
        at_source = 0
        if job.mode != "restore_only":
            at_source = security.grant_at_source(
                journal, clients.source(job.domain), clients.source_administrator(job.domain), job
            )
        at_destination = security.grant_at_destination(
            journal,
            clients.destination(job.destination),
            clients.destination_administrator(job.destination),
            job,
            clients.destination_caller(job.destination),
        )
    return {"granted_at_source": at_source, "granted_at_destination": at_destination}
