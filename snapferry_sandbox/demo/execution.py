"""The migration as Step Functions, its table and its records show it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3

from snapferry import executions
from snapferry_cli.migration import Migration
from snapferry_sandbox.world import World

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

GATES = ("plan", "stop_writes", "clients_moved")


@dataclass(frozen=True)
class Execution:
    """A started migration.

    Attributes:
        migration: as the command line knows it.
    """

    migration: Migration
    _s3: "S3Client"
    _records_bucket: str

    def report(self) -> dict[str, Any]:
        """What the migration wrote about itself, for programs."""
        report: dict[str, Any] = json.loads(self._read(self._report_key))
        return report

    def report_page(self) -> str:
        """Likewise, for people."""
        return self._read(self._report_key.removesuffix("json") + "html").decode()

    @property
    def _report_key(self) -> str:
        return str(self.migration.look().output["report"])

    def _read(self, key: str) -> bytes:
        return self._s3.get_object(Bucket=self._records_bucket, Key=key)["Body"].read()

    def state_transitions(self) -> int:
        """How many states were entered, by it and by the executions that it started."""
        return sum(
            count_entered(events)
            for events in histories(self.migration.step_functions, self.migration.execution_arn)
        )


def start(world: World, migration_id: str, indices: Iterable[str]) -> Execution:
    """Start a migration of a world's first source to its first destination.

    Args:
        world: with the stacks deployed.
        migration_id: names the execution.
        indices: which are moved.
    """
    session = session_of_destination(world)
    step_functions = session.client("stepfunctions", endpoint_url=world.aws.endpoint)
    deployment = world.deployment
    started = step_functions.start_execution(
        stateMachineArn=deployment["state_machines"]["migrate"],
        name=migration_id,
        input=json.dumps(_input(world, indices)),
    )
    return Execution(
        migration=Migration(
            migration_id=migration_id,
            execution_arn=started["executionArn"],
            step_functions=step_functions,
            items=session.resource("dynamodb", endpoint_url=world.aws.endpoint).Table(
                deployment["table"]
            ),
        ),
        _s3=session.client("s3", endpoint_url=world.aws.endpoint),
        _records_bucket=deployment["records_bucket"],
    )


def session_of_destination(world: World) -> boto3.Session:
    """A session of the account that runs the migration and owns the bucket."""
    account = world.s3.accounts["destination"]
    return boto3.Session(
        aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key,
        region_name=world.aws.region,
    )


def _input(world: World, indices: Iterable[str]) -> dict[str, Any]:
    source = world.sources[0]
    return {
        "domains": [
            {
                "name": source.domain,
                "host": source.domain_endpoint,
                "region": world.aws.region,
                "access_role_arn": world.deployment["domain_access_role"],
                "snapshot_role_arn": world.deployment["snapshot_role"],
                "master_user": {"secret_arn": world.deployment["domain_master_secret"]},
                "canonical_id": world.s3.accounts["source"].canonical_id,
                "indices": {"include": list(indices)},
            }
        ],
        "bucket": {
            "name": world.s3.bucket,
            "region": world.aws.region,
            "access": world.deployment["bucket_access"],
        },
        "destination": world.deployment["destinations"][0],
        "cutover": {"gates": GATES},
    }


def histories(step_functions: "SFNClient", execution_arn: str) -> Iterator[list[Mapping[str, Any]]]:
    """The history of an execution, and those of all that it has started."""
    remaining = [execution_arn]
    while remaining:
        events = executions.history(step_functions, remaining.pop())
        remaining += executions.started(events)
        yield events


def count_entered(events: Iterable[Mapping[str, Any]]) -> int:
    """Count the states that were entered in a history, which is what AWS charges for."""
    return sum(event["type"].endswith("StateEntered") for event in events)
