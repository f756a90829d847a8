"""State "Stop executions": those of the migration that still run."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, roll_back
from snapferry.log import logged


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `execution_arn`, `roller_arn` and `started_by`; returns how many were stopped."""
    stopped = roll_back.stop_executions(
        clients.step_functions(),
        event["execution_arn"],
        event["roller_arn"],
        event["started_by"],
    )
    return {"stopped": len(stopped)}
