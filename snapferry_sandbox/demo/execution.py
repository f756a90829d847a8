"""The migration as Step Functions, its table and its records show it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from boto3.dynamodb.conditions import Key

from snapferry_sandbox.world import World

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

GATES = ("stop_writes", "clients_moved")


@dataclass(frozen=True)
class Execution:
    """A started migration.

    Attributes:
        arn: of the execution.
        migration_id: its name.
    """

    arn: str
    migration_id: str
    _step_functions: "SFNClient"
    _table: "Table"
    _s3: "S3Client"
    _records_bucket: str

    def status(self) -> str:
        """`RUNNING`, `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`."""
        return self._step_functions.describe_execution(executionArn=self.arn)["status"]

    def cause(self) -> str:
        """Why it failed."""
        ended = self._step_functions.describe_execution(executionArn=self.arn)
        return f"{ended.get('error', ended['status'])}: {ended.get('cause', 'no cause was given')}"

    def records(self, prefix: str) -> list[dict[str, Any]]:
        """Its items of the table whose `record` begins so, such as `gate#`."""
        condition = Key("migration_id").eq(self.migration_id) & Key("record").begins_with(prefix)
        return self._table.query(KeyConditionExpression=condition, ConsistentRead=True)["Items"]

    def approve(self, token: str) -> None:
        """Answer a gate."""
        self._step_functions.send_task_success(
            taskToken=token, output=json.dumps({"approved": True})
        )

    def report(self) -> dict[str, Any]:
        """What the migration wrote about itself."""
        ended = self._step_functions.describe_execution(executionArn=self.arn)
        key = json.loads(ended["output"])["report"]
        answer = self._s3.get_object(Bucket=self._records_bucket, Key=key)
        report: dict[str, Any] = json.loads(answer["Body"].read())
        return report

    def state_transitions(self) -> int:
        """How many states were entered, by it and by the executions that it started."""
        entered = 0
        executions = [self.arn]
        while executions:
            pages = self._step_functions.get_paginator("get_execution_history").paginate(
                executionArn=executions.pop()
            )
            events = [event for page in pages for event in page["events"]]
            entered += count_entered(events)
            executions += started_executions(events)
        return entered


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
        arn=started["executionArn"],
        migration_id=migration_id,
        _step_functions=step_functions,
        _table=session.resource("dynamodb", endpoint_url=world.aws.endpoint).Table(
            deployment["table"]
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
                "indices": {"include": list(indices)},
            }
        ],
        "bucket": {"name": world.s3.bucket, "region": world.aws.region},
        "destination": {
            "endpoint": world.destinations[0].url,
            "secret_arn": world.deployment["destination_secret"],
            "master_user": {"secret_arn": world.deployment["destination_master_secret"]},
        },
        "cutover": {"gates": GATES},
    }


def count_entered(events: Iterable[Mapping[str, Any]]) -> int:
    """Count the states that were entered in a history, which is what AWS charges for."""
    return sum(event["type"].endswith("StateEntered") for event in events)


def started_executions(events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The ARNs of the executions that the tasks of a history have started."""
    for event in events:
        submitted = event.get("taskSubmittedEventDetails", {})
        if submitted.get("resource", "").startswith("startExecution"):
            yield json.loads(submitted["output"])["ExecutionArn"]
