"""States "Copy artifacts" and "Attach policies": what a cluster needs besides its indices."""

import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import artifacts, clients
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job` and whether clients have `moved`; returns how many there are of each verdict."""
    job = DomainJob.model_validate(event["job"])
    prefix = os.environ["SECRET_NAME_PREFIX"]
    with clients.effect(job.migration_id, context):
        return artifacts.copy(
            clients.journal(job.migration_id),
            clients.records(job.migration_id),
            job,
            artifacts.Side(
                clients.source(job.domain),
                clients.source_administrator(job.domain),
                clients.source_dashboards(job.domain),
            ),
            artifacts.Side(
                clients.destination(job.destination),
                clients.destination_administrator(job.destination),
                clients.destination_dashboards(job.destination),
            ),
            artifacts.Vault(clients.secrets_of_users(), f"{prefix}users/{job.migration_id}/"),
            moved=event["moved"],
        )
