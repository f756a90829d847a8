"""State "Begin roll back": from here on nothing else may be changed for the migration."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, roll_back
from snapferry.log import logged


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `migration_id`, `execution_arn` and `roller_arn`; returns whether it is `needed`."""
    return roll_back.begin(
        clients.fence(event["migration_id"]),
        clients.step_functions(),
        event["execution_arn"],
        event["roller_arn"],
    )
