"""State "Check input": the request becomes a job for each domain."""

from datetime import datetime
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import request
from snapferry.log import logged


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `input`, `migration_id` and `started_at`; returns the jobs, and how many at once."""
    jobs, domains_at_once = request.parse(
        event["input"], event["migration_id"], datetime.fromisoformat(event["started_at"])
    )
    return {
        "jobs": [job.model_dump(mode="json") for job in jobs],
        "domains_at_once": domains_at_once,
    }
