"""State "Release source": what was frozen is given back at the end of the migration."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients
from snapferry.journal import side_of
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`; returns how many changes were released."""
    job = DomainJob.model_validate(event["job"])
    with clients.effect(job.migration_id, context):
        released = clients.journal(job.migration_id).release(side_of(job.domain.name))
    return {"released": released}
