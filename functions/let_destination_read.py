"""State "Let destination read": in the ACL way, the bucket's objects become its owner's."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import access, clients
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`; returns the way by which its domain writes."""
    job = DomainJob.model_validate(event["job"])
    with clients.effect(job.migration_id, context):
        access.let_destination_read(
            clients.journal(job.migration_id), clients.bucket(job.bucket), job.way
        )
    return {"way": job.way}
