"""State "Check functions": whether any may still be changing something."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, roll_back
from snapferry.log import logged


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `migration_id`; returns whether functions are `at_work`, and when to look again."""
    return roll_back.check_functions(clients.fence(event["migration_id"]))
