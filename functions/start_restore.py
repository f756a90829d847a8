"""State "Start restore": over what an earlier round has restored; of a rehearsal beside it."""

import time
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, kept_snapshot, listing, rehearsal, restores
from snapferry.log import logged
from snapferry.ownership import Ownership
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job` and `round`; returns when the restore was started, in seconds of the epoch."""
    job = DomainJob.model_validate(event["job"])
    records = clients.records(job.migration_id)
    domain, round_number = job.domain.name, event["round"]
    started_at = time.time()
    with clients.effect(job.migration_id, context):
        selected = listing.selected(records, domain, round_number)
        if job.mode == "rehearse":
            rehearsal.start(
                clients.journal(job.migration_id),
                clients.destination(job.destination),
                job,
                round_number,
                selected,
            )
        else:
            if job.mode == "restore_only":
                job = kept_snapshot.chosen(records, job)
            restores.start(
                clients.destination(job.destination),
                Ownership(records, job),
                job,
                round_number,
                selected,
                [index.name for index in listing.for_snapshot(records, domain, round_number)],
            )
    return {"started_at": started_at}
