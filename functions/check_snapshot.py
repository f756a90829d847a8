"""State "Check snapshot": how far it is, and when to look again."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, snapshots
from snapferry.log import logged
from snapferry.progress import Progress
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`, `round`, `snapshot` and `hold_seconds`; returns the progress."""
    job = DomainJob.model_validate(event["job"])
    records = clients.records(job.migration_id)
    progress = snapshots.check(
        clients.source(job.domain),
        job,
        event["snapshot"],
        event["hold_seconds"],
        before=Progress.shown(records, job.domain.name, "snapshot", event["round"]),
    )
    return progress.report(records, clients.bus(), job.domain.name, event["round"])
