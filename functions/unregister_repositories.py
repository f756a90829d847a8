"""State "Unregister repositories": both clusters forget the migration's repository."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, repositories
from snapferry.request import DomainJob

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`; returns the repository's name."""
    job = DomainJob.model_validate(event["job"])
    repositories.unregister(clients.destination(job.destination), job)
    repositories.unregister(clients.source(job.domain), job)
    return {"repository": job.repository}
