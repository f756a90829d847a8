"""State "Check restore": how far it is, and when to look again."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, listing, rehearsal, restores
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`, `round`, `started_at` and `hold_seconds`; returns the progress."""
    job = DomainJob.model_validate(event["job"])
    records = clients.records(job.migration_id)
    restored = listing.for_snapshot(records, job.domain.name, event["round"])
    if job.mode == "rehearse":
        restored = rehearsal.copies(job, restored)
    progress = restores.check(
        clients.destination(job.destination), restored, event["started_at"], event["hold_seconds"]
    )
    return progress.report(records, clients.bus(), job.domain.name, event["round"])
