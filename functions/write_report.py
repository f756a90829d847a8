"""State "Write report": gathers what the domains ended with."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, report
from snapferry.log import logged


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes what the domains and the roll-back ended with; returns the outcome."""
    return report.write(
        clients.records(event["migration_id"]),
        clients.bus(),
        clients.topic(),
        event["domains"],
        event["failure"],
        event["given_back"],
        event["started_at"],
    )
