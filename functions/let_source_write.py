"""States "Let source write" and "Let source delete": by the bucket's policy or its ACL as well."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import access, clients
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `jobs`, at first all of the migration; returns the way by which they may write."""
    jobs = [DomainJob.model_validate(job) for job in event["jobs"]]
    migration_id, way = jobs[0].migration_id, jobs[0].way
    with clients.effect(migration_id, context):
        access.let_source_write(
            clients.journal(migration_id), clients.bucket(jobs[0].bucket), jobs, way
        )
    return {"way": way}
