"""What happens before LocalStack's services start."""

from pathlib import Path

from localstack.runtime.hooks import on_infra_start

from snapferry_sandbox.localstack.plugin.settings import Settings


@on_infra_start()
def prepare() -> None:
    """Change what has to be changed."""
    # LocalStack looks for hooks in all its processes; only the one that runs needs these modules.
    from snapferry_sandbox.localstack.plugin import (
        buckets,
        calls,
        cloudformation,
        definitions,
        events,
        executions,
        expressions,
        identities,
        pauses,
        s3,
        time_scale,
        trust,
    )

    settings = Settings.from_environment()
    buckets.add_routes(settings.buckets)
    calls.log(Path(settings.calls))
    cloudformation.patch()
    definitions.patch()
    events.patch()
    executions.patch()
    expressions.patch()
    identities.add_route()
    pauses.patch(Path(settings.faults))
    s3.patch()
    time_scale.patch(settings.time_scale)
    trust.patch()
