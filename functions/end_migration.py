"""State "End migration": everything is given back, the next migration may begin."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, roll_back
from snapferry.log import logged


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `migration_id`, and returns it."""
    roll_back.end(clients.fence(event["migration_id"]), clients.table(), clients.bus())
    return {"migration_id": event["migration_id"]}
