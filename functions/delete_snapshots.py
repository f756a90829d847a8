"""State "Delete snapshots": the migration's own, by the API."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, snapshots
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job` and `rounds`, how many snapshots there are; returns the same number."""
    job = DomainJob.model_validate(event["job"])
    with clients.effect(job.migration_id, context):
        snapshots.delete(clients.source(job.domain), job, event["rounds"])
    return {"deleted": event["rounds"]}
