"""State "Check input": the request becomes a job for each domain."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import request

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `input` (the request) and `migration_id`; returns the jobs, and how many at once."""
    jobs, domains_at_once = request.parse(event["input"], event["migration_id"])
    return {
        "jobs": [job.model_dump(mode="json") for job in jobs],
        "domains_at_once": domains_at_once,
    }
