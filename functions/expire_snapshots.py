"""State "Expire snapshots": those of the series that are too many or too old, by the API."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, retention
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`; returns how many snapshots were deleted."""
    job = DomainJob.model_validate(event["job"])
    with clients.effect(job.migration_id, context):
        deleted = retention.expire(
            clients.source(job.domain),
            clients.records(job.migration_id),
            job,
            datetime.now(UTC),
        )
    return {"deleted": deleted}
