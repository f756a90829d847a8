"""State "Plan domain": what will become of its indices, and what has to be changed for them."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from snapferry import artifacts, clients, plan
from snapferry.log import logged
from snapferry.request import DomainJob


@logged
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Takes `job`; returns how many indices it would `restore`, `skip` and `reject`."""
    job = DomainJob.model_validate(event["job"])
    records = clients.records(job.migration_id)
    if job.mode == "restore_only":
        return plan.plan_restore(
            clients.destination_administrator(job.destination),
            clients.journal(job.migration_id),
            records,
            job,
        )
    return plan.plan_domain(
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
        clients.destination_caller(job.destination),
        clients.bucket(job.bucket),
        records,
        job,
    )
