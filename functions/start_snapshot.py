"""State "Start snapshot": of the indices that the round has listed."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, cutover, listing, snapshots
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job` and `round`; returns the snapshot's name."""
    job = DomainJob.model_validate(event["job"])
    records = clients.records(job.migration_id)
    source = clients.source(job.domain)
    with clients.effect(job.migration_id, context):
        indices = listing.forget_gone(source, records, job.domain.name, event["round"])
        names = [index.name for index in indices]
        cutover.keep_base(source, records, job, event["round"], names)
        snapshot = snapshots.start(
            clients.journal(job.migration_id), source, job, event["round"], names
        )
    return {"snapshot": snapshot}
