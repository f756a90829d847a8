"""State "Prove bucket access": the source writes a small snapshot, the destination reads it."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import access, clients
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`; returns the way that its domain has to write by, `acl` if its own doesn't do."""
    job = DomainJob.model_validate(event["job"])
    if job.mode == "restore_only":
        return {"way": job.way}  # there is no source to write anything
    with clients.effect(job.migration_id, context):
        way = access.prove(
            clients.journal(job.migration_id),
            clients.bucket(job.bucket),
            clients.source(job.domain),
            clients.destination(job.destination),
            job,
        )
    return {"way": way}
