"""Started by a schedule: renews the leases of what runs, rolls back what ended unseen."""

import os
import time
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, roll_back
from snapferry.log import logged


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes nothing; returns the ids of the migrations whose roll-back was started."""
    started = roll_back.sweep(
        clients.table(),
        clients.step_functions(),
        os.environ["ROLL_BACK_STATE_MACHINE_ARN"],
        time.time(),
    )
    return {"rolled_back": started}
