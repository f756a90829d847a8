"""What all other tests here had AWS asked for, against what the template allows; runs last."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from snapferry_sandbox.iam_policies import Decision, Policy, Roles, evaluate
from tests.sandbox.migrations import Sandbox
from tests.sandbox.test_plan import calls as calls_so_far

_SERVICES = {"stepfunctions": "states"}
_ACTIONS = {"lambda:Invoke": "lambda:InvokeFunction"}
_RESOURCES = ("TopicArn", "RoleArn", "executionArn", "stateMachineArn", "FunctionName")

# What no handler asks for by its name.
IMPLICIT = (
    # Makes the answer to a missing object 404 instead of 403.
    "s3:ListBucket",
    # Lambda delivers logs and traces, and joins subnets, by itself.
    "ec2:",
    "logs:",
    "xray:",
    # The topic asks for its key as who publishes, a secret for its own as who reads it.
    "kms:",
)


@dataclass(frozen=True)
class Call:
    """A call of AWS as IAM sees it."""

    action: str
    resource: str


@pytest.fixture
def _skip_where_tests_are_left_out(request: pytest.FixtureRequest) -> None:
    modules = {item.path for item in request.session.items}
    chosen = request.config.getoption("keyword") or any("::" in a for a in request.config.args)
    if chosen or not modules >= set(Path(__file__).parent.glob("test_*.py")):
        pytest.skip("only a part of the sandbox's tests runs")


@pytest.fixture(scope="module")
def roles(sandbox: Sandbox) -> Mapping[str, str]:
    """The names of the stack's roles by those that they have in the template."""
    cloudformation = sandbox.client("cloudformation")
    resources = cloudformation.describe_stack_resources(StackName="snapferry")["StackResources"]
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in resources
        if resource["ResourceType"] == "AWS::IAM::Role"
    }


@pytest.fixture(scope="module")
def policies(sandbox: Sandbox, roles: Mapping[str, str]) -> Mapping[str, tuple[Policy, ...]]:
    """What each role may, by its name in the template."""
    aws = sandbox.world.aws
    reader = Roles(aws.endpoint, aws.accounts["destination"], aws.region)
    found = {name: reader.get(role) for name, role in roles.items()}
    return {name: role.identity_policies for name, role in found.items() if role}


@pytest.fixture(scope="module")
def calls(sandbox: Sandbox, roles: Mapping[str, str]) -> Mapping[str, set[Call]]:
    """What was asked for as each role, by its name in the template."""
    names = {role: name for name, role in roles.items()}
    found: dict[str, set[Call]] = {name: set() for name in roles}
    for call in calls_so_far(sandbox):
        name = names.get(call["role"].rpartition("/")[2])
        # The refusals' tests name a role that no function may assume.
        stranger = str(call["request"].get("RoleArn")).endswith(":role/Stranger")
        if name and not stranger and not _action(call).startswith(IMPLICIT):
            found[name].add(_as_iam_sees_it(sandbox, call))
    return found


def _action(call: Mapping[str, Any]) -> str:
    service = _SERVICES.get(call["service"], call["service"])
    action = f"{service}:{call['operation']}"
    return _ACTIONS.get(action, action)


def _as_iam_sees_it(sandbox: Sandbox, call: Mapping[str, Any]) -> Call:
    service, request, action = call["service"], call["request"], _action(call)
    aws = sandbox.world.aws
    account = aws.accounts["destination"]
    if service == "secretsmanager":
        # One that is created, or looked for, goes by its name.
        name = request.get("SecretId") or request["Name"]
        prefix = f"arn:aws:secretsmanager:{aws.region}:{account}:secret:"
        return Call(action, name if name.startswith("arn:") else prefix + name)
    if service == "dynamodb":
        [table] = request.get("RequestItems", {request.get("TableName"): None})
        return Call(action, f"arn:aws:dynamodb:{aws.region}:{account}:table/{table}")
    if service == "events":
        [bus] = {entry["EventBusName"] for entry in request["Entries"]}
        return Call(action, f"arn:aws:events:{aws.region}:{account}:event-bus/{bus}")
    if service == "s3":
        key = f"/{request['Key']}" if "Key" in request else ""
        return Call(action, f"arn:aws:s3:::{request['Bucket']}{key}")
    [resource] = [request[name] for name in _RESOURCES if request.get(name)]
    return Call(action, resource)


def test_whatever_was_asked_for_is_allowed(
    policies: Mapping[str, tuple[Policy, ...]], calls: Mapping[str, set[Call]]
) -> None:
    refused = [
        f"{name}: {call.action} on {call.resource}"
        for name, made in calls.items()
        for call in made
        if evaluate(policies[name], call.action, call.resource, {}) is not Decision.ALLOWED
    ]
    assert any(calls.values()), "no other test has run"
    assert refused == []


@pytest.mark.exhaustive
@pytest.mark.usefixtures("_skip_where_tests_are_left_out")
def test_functions_have_no_policy_that_they_do_not_use(
    policies: Mapping[str, tuple[Policy, ...]], calls: Mapping[str, set[Call]]
) -> None:
    """A policy may be shared, and hold more than one of those that share it needs."""
    unused = [
        (name, actions)
        for name, documents in policies.items()
        # Those of the state machines are held against their definitions.
        if name.endswith("FunctionRole")
        for actions in map(_actions, documents)
        if actions and not actions & {call.action for call in calls[name]}
    ]
    assert unused == []


@pytest.mark.exhaustive
@pytest.mark.usefixtures("_skip_where_tests_are_left_out")
def test_no_policy_has_an_action_that_nobody_uses(
    policies: Mapping[str, tuple[Policy, ...]], calls: Mapping[str, set[Call]]
) -> None:
    users: dict[tuple[str, str], set[str]] = {}
    for name, documents in policies.items():
        if name.endswith("FunctionRole"):
            for document in documents:
                for action in _actions(document):
                    users.setdefault((json.dumps(document), action), set()).add(name)

    unused = [
        (action, names)
        for (_, action), names in users.items()
        if not any(action == call.action for name in names for call in calls[name])
    ]
    assert unused == []


def _actions(document: Policy) -> set[str]:
    return {
        action
        for statement in document["Statement"]
        for action in _several(statement["Action"])
        if not action.startswith(IMPLICIT)
    }


def _several(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
