"""States "Catch up" and "Catch up slice": copy what was written at the source, in rounds."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, cutover
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`, `until`, `slice` and `entered_at`; returns whether it has `ended`."""
    job = DomainJob.model_validate(event["job"])
    return cutover.catch_up(
        clients.journal(job.migration_id),
        clients.source(job.domain),
        clients.destination(job.destination),
        clients.records(job.migration_id),
        job,
        event["until"],
        event["slice"],
        event["entered_at"],
        lambda: clients.effect(job.migration_id, context),
    )
