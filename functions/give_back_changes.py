"""State "Give back changes": through the journal, the last change first."""

import time
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, roll_back
from snapferry.log import logged

# What the last change may take after it was begun.
_RESERVE_SECONDS = 150


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `migration_id` and what sides are `gone`; returns how many were given back, or not."""
    migration_id = event["migration_id"]
    leave_at = time.time() + context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS
    records = clients.records(migration_id)
    with clients.effect(migration_id, context, during="rolling_back"):
        return roll_back.give_back(
            clients.journal(migration_id),
            records,
            clients.sides(records),
            leave_at,
            event["gone"],
        )
