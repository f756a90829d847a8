"""The policy for operators allows what the commands ask of AWS, and nothing else."""

import copy
import dataclasses
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]

from snapferry.fence import Mark
from snapferry_sandbox.iam_policies import Decision, evaluate
from tests.unit.cli.aws import MIGRATE, ROLL_BACK, STATES, FakeAws, Request
from tests.unit.cli.conftest import Run
from tests.unit.cli.test_report import MOVED
from tests.unit.conftest import document
from tests.unit.templates import resolved

ROOT = Path(__file__).parents[3]
TABLE = "arn:aws:dynamodb:eu-west-1:222222222222:table/snapferry"
# The gates' tasks are those of this state machine.
MIGRATE_DOMAIN = f"{STATES}:stateMachine:migrate-domain"
VALUES = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::AccountId": "222222222222",
    "AWS::StackName": "snapferry",
    "MigrateStateMachine": MIGRATE,
    "MigrateStateMachine.Name": "migrate",
    "MigrateDomainStateMachine": MIGRATE_DOMAIN,
    "RollBackStateMachine": ROLL_BACK,
    "RollBackStateMachine.Name": "roll-back",
    "Table.Arn": TABLE,
    "RecordsBucket.Arn": "arn:aws:s3:::records",
}


@pytest.fixture
def policy() -> Any:
    template = yaml_parse((ROOT / "template.yaml").read_text())
    operator = template["Resources"]["OperatorPolicy"]["Properties"]
    return resolved(operator["PolicyDocument"], VALUES)


def needed(request: Request) -> tuple[str, str] | None:
    """The action and the resource that a request needs; None if it needs no permission."""
    asked = request.arguments
    match request.service, request.operation:
        case "sts", "GetCallerIdentity":
            return None
        case "cloudformation", operation:
            stack = f"stack/{asked['StackName']}/2f6a0b10"
            resource = f"arn:aws:cloudformation:eu-west-1:222222222222:{stack}"
            return f"cloudformation:{operation}", resource
        case "dynamodb", operation:
            assert asked["TableName"] == "snapferry"
            return f"dynamodb:{operation}", TABLE
        case "sfn", "SendTaskSuccess" | "SendTaskFailure" as operation:
            return f"states:{operation}", MIGRATE_DOMAIN
        case "s3", operation:
            return f"s3:{operation}", f"arn:aws:s3:::records/{asked['object']}"
        case "sfn", operation:
            resource = asked.get("stateMachineArn") or asked["executionArn"]
            return f"states:{operation}", resource
    raise AssertionError(f"{request.service} was asked for {request.operation}")


@pytest.fixture
def requests(aws: FakeAws, run: Run, monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """All that the commands ask of AWS between a start and a roll-back."""

    def end() -> None:
        aws.fence.close(next(arn for arn in aws.executions if ":roll-back:" in arn))
        aws.fence.end()

    execution = f"{STATES}:execution:migrate:m-1"
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(document())))
    run("start", "-", "--name", "m-1")
    aws.plan()
    assert run("plan", "--of", "m-1").code == 0
    aws.fence.open(execution)
    for answer in ((), ("--reject", "no")):
        aws.announce()
        assert run("approve", "m-1", "--yes", *answer).code == 0
    aws.events.extend([lambda: None] * 100)
    run("abort", "m-1")
    aws.events.clear()
    assert run("watch", "m-1").code == 1
    asked = len(aws.requests)
    aws.report(MOVED)
    # By the stack, not by a command.
    del aws.requests[asked:]
    assert run("report", "m-1").code == 0
    aws.events.append(end)
    assert run("roll-back", "m-1").code == 0
    return aws.requests


def test_every_request_is_allowed(policy: Any, requests: list[Request]) -> None:
    unconditional = copy.deepcopy(policy)
    for statement in unconditional["Statement"]:
        statement.pop("Condition", None)

    for request in requests:
        if need := needed(request):
            assert evaluate([unconditional], *need, {}) is Decision.ALLOWED, need


@pytest.mark.parametrize(
    ("name", "decision"),
    [
        ("plan.json", Decision.ALLOWED),
        ("plan.html", Decision.ALLOWED),
        ("report.json", Decision.ALLOWED),
        ("report.html", Decision.ALLOWED),
        ("roll_back.json", Decision.ALLOWED),
        ("logs/artifacts.json", Decision.ALLOWED),
        ("jobs.json", Decision.NOT_ALLOWED),
    ],
)
def test_what_people_are_sent_to_may_be_read_and_no_other_record(
    policy: Any, name: str, decision: Decision
) -> None:
    record = f"arn:aws:s3:::records/migrations/m-1/{name}"

    assert evaluate([policy], "s3:GetObject", record, {}) is decision


def test_no_action_is_allowed_that_no_command_needs(policy: Any, requests: list[Request]) -> None:
    allowed = {
        action
        for statement in policy["Statement"]
        for action in (
            statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        )
    }

    assert allowed == {need[0] for request in requests if (need := needed(request))}


def test_items_may_be_changed_in_no_other_attributes_than_they_are(
    policy: Any, requests: list[Request]
) -> None:
    [condition] = [
        statement["Condition"] for statement in policy["Statement"] if "Condition" in statement
    ]

    def attributes(asked: dict[str, Any]) -> Iterator[str]:
        yield from asked["Key"]
        yield from asked["ExpressionAttributeNames"].values()
        text = f"{asked['UpdateExpression']} {asked['ConditionExpression']}"
        yield from re.findall(r"(?<![#:\w])[a-z_]+(?= =)", text)

    changed = {
        attribute
        for request in requests
        if request.operation == "UpdateItem"
        for attribute in attributes(request.arguments)
    }
    assert set(condition["ForAllValues:StringEquals"]["dynamodb:Attributes"]) == changed
    # Nobody ends a migration by them, though its mark lies in the same table.
    assert changed.isdisjoint(field.name for field in dataclasses.fields(Mark))
