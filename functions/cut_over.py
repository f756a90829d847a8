"""States "Weigh another round", "Begin catch up", "Look for new indices" and those after them.

Which are "Check window", "Freeze source", "Catch up last", "Verify copy", "Hand over indices",
"Move aliases", "Look for late indices", "Return source to service", and "Unblock source". All are
one function: clients wait meanwhile, so its environment and its connections are warm from the first
of them on.
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, cutover
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`, `round`, `step` and `entered_at`; returns what the step of this name does."""
    job = DomainJob.model_validate(event["job"])
    with clients.effect(job.migration_id, context):
        cut_over = cutover.CutOver(
            clients.journal(job.migration_id),
            clients.source(job.domain),
            clients.destination(job.destination),
            clients.records(job.migration_id),
            job,
            event["round"],
        )
        return cut_over.take(event["step"], event["entered_at"])
