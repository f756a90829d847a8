"""State "Start restore": over what an earlier round has restored."""

import time
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, restores
from snapferry.indices import Index
from snapferry.request import DomainJob

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job` and `round`; returns when the restore was started, in seconds of the epoch."""
    job = DomainJob.model_validate(event["job"])
    records = clients.records(job.migration_id)
    destination = clients.destination(job.destination)
    selected = [
        Index(**index) for index in records.read(f"{job.domain.name}/indices-{event['round']}")
    ]
    restored = records.read(f"{job.domain.name}/restored", default={})
    started_at = time.time()
    restores.start(destination, job, event["round"], selected, restored)
    records.write(f"{job.domain.name}/restored", restores.uuids(destination, selected))
    return {"started_at": started_at}
