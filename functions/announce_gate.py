"""States "Wait until plan is approved", "Wait until writes stop", "Wait until clients moved".

Tells people of the gate.
"""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import clients, gates
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Takes `job`, `gate` and `token`; the gate is answered by the token, not by this function."""
    job = DomainJob.model_validate(event["job"])
    gates.announce(
        clients.records(job.migration_id),
        clients.topic(),
        clients.bus(),
        job,
        event["gate"],
        event["token"],
    )
