"""States "Report leftovers" and "Report kept changes": tells people what they have to do."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, roll_back
from snapferry.log import logged


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Takes `migration_id`, and in words `failed` and `kept`, what is left."""
    roll_back.report_leftovers(
        clients.topic(), event["migration_id"], event["failed"], event["kept"]
    )
