"""The state machines on the sandbox's Step Functions interpreter."""

import io
import json
import re
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef, TestStateOutputTypeDef

_CLONE = Path(__file__).parents[2]
_ACCOUNT = "222222222222"
_ROLE_ARN = f"arn:aws:iam::{_ACCOUNT}:role/snapferry"
_FUNCTION = "handlers"
# Long enough for a busy machine, short enough to be waited for in a test.
_FUNCTION_TIMEOUT_SECONDS = 4
_LOOK_EVERY_SECONDS = 0.05
_LONGEST_EXECUTION_SECONDS = 300
# What `$states.context` is for a state that is run alone.
_CONTEXT = {
    "Execution": {"Id": "execution", "Name": "m" * 80, "StartTime": "2026-01-01T00:00:00Z"},
    "State": {"Name": "State", "RetryCount": 0, "EnteredTime": "2026-01-01T00:00:00.123Z"},
    "StateMachine": {"Id": "state-machine", "Name": "state-machine"},
    "Task": {"Token": "token"},
}

# Children before their parents, which hold their ARNs.
NAMES = ("restore", "snapshot", "catch_up", "migrate_domain", "roll_back", "migrate")
DEFINITIONS: Mapping[str, dict[str, Any]] = {
    name: json.loads((_CLONE / f"statemachine/{name}.asl.json").read_text()) for name in NAMES
}


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def states(name: str) -> dict[str, dict[str, Any]]:
    """Every state of a definition by its name, those inside of Map and Parallel states too."""
    found = {}
    remaining = [DEFINITIONS[name]]
    while remaining:
        for state, definition in remaining.pop()["States"].items():
            found[state] = definition
            if "ItemProcessor" in definition:
                remaining.append(definition["ItemProcessor"])
            remaining += definition.get("Branches", [])
    return found


def handler_of(task: Mapping[str, Any]) -> str | None:
    """The handler that a Task state invokes; None where it starts a child execution."""
    function = task["Arguments"].get("FunctionName")
    return _snake_case(function.strip("${}").removesuffix("FunctionArn")) if function else None


TASKS = [
    (name, state)
    for name in NAMES
    for state, definition in states(name).items()
    if definition["Type"] == "Task"
]
HANDLERS = {handler for name, state in TASKS if (handler := handler_of(states(name)[state]))}


@dataclass(frozen=True)
class Execution:
    """An execution that has ended, and its history."""

    status: str
    output: Any
    error: str | None
    cause: str | None
    events: list["HistoryEventTypeDef"]

    @property
    def states(self) -> list[str]:
        """The names of the states that were entered, in that order."""
        return [
            event["stateEnteredEventDetails"]["name"]
            for event in self.events
            if "stateEnteredEventDetails" in event
        ]


class StateMachines:
    """The product's definitions, deployed with `lambda_function.py` in place of all handlers."""

    def __init__(self, endpoint: str) -> None:
        session = boto3.Session(
            region_name="eu-west-1", aws_access_key_id=_ACCOUNT, aws_secret_access_key="test"
        )
        self.client = session.client(
            "stepfunctions",
            endpoint_url=endpoint,
            # TestState has a host of its own, which a local endpoint has not.
            config=Config(inject_host_prefix=False),
        )
        functions = session.client("lambda", endpoint_url=endpoint)
        function = functions.create_function(
            FunctionName=_FUNCTION,
            Runtime="python3.13",
            Role=_ROLE_ARN,
            Handler="lambda_function.handler",
            Code={"ZipFile": _deployment_package()},
            Timeout=_FUNCTION_TIMEOUT_SECONDS,
            Publish=True,
        )
        functions.get_waiter("published_version_active").wait(
            FunctionName=_FUNCTION, Qualifier=function["Version"], WaiterConfig={"Delay": 1}
        )
        # An alias for each handler, so that one warm process serves them all.
        aliases = {
            handler: functions.create_alias(
                FunctionName=_FUNCTION, Name=handler, FunctionVersion=function["Version"]
            )["AliasArn"]
            for handler in HANDLERS
        }
        self.arns: dict[str, str] = {}
        for name in NAMES:
            # What the template substitutes.
            arns = {f"{handler}_function_arn": arn for handler, arn in aliases.items()}
            arns |= {f"{child}_state_machine_arn": arn for child, arn in self.arns.items()}
            arns["partition"] = "aws"
            definition = re.sub(
                r"\$\{(\w+)\}",
                lambda placeholder: arns[_snake_case(placeholder[1])],  # noqa: B023
                json.dumps(DEFINITIONS[name]),
            )
            self.arns[name] = self.client.create_state_machine(
                name=name, definition=definition, roleArn=_ROLE_ARN
            )["stateMachineArn"]

    def run(self, name: str, execution_input: Any, execution_name: str) -> Execution:
        """Runs an execution to its end."""
        arn = self.client.start_execution(
            stateMachineArn=self.arns[name],
            name=execution_name,
            input=json.dumps(execution_input),
        )["executionArn"]
        give_up_at = time.monotonic() + _LONGEST_EXECUTION_SECONDS
        while (found := self.client.describe_execution(executionArn=arn))["status"] == "RUNNING":
            assert time.monotonic() < give_up_at, f"{name} still runs"
            time.sleep(_LOOK_EVERY_SECONDS)
        return Execution(
            status=found["status"],
            output=json.loads(found["output"]) if "output" in found else None,
            error=found.get("error"),
            cause=found.get("cause"),
            events=self.history(arn),
        )

    def try_state(
        self,
        definition: Mapping[str, Any],
        variables: Mapping[str, Any],
        state_input: Any = None,
        **parameters: Any,
    ) -> "TestStateOutputTypeDef":
        """Runs a single state.

        Args:
            definition: of the state.
            variables: those that were assigned before it.
            state_input: its input.
            parameters: further ones of TestState, such as `mock`.
        """
        whole = json.dumps({**definition, "QueryLanguage": "JSONata"}).replace(
            "${Partition}", "aws"
        )
        return self.client.test_state(
            definition=re.sub(r"\$\{\w+\}", self.arns["snapshot"], whole),
            roleArn=_ROLE_ARN,
            variables=json.dumps(variables),
            input=json.dumps(state_input),
            context=json.dumps(_CONTEXT),
            **parameters,
        )

    def seconds_of_wait(
        self, name: str, state: str, variables: Mapping[str, Any], state_input: Any = None
    ) -> int:
        """How long a Wait state waits, by a Pass state: TestState says what that gives out."""
        seconds = states(name)[state]["Seconds"]
        answer = self.try_state(
            {"Type": "Pass", "Output": seconds, "End": True}, variables, state_input
        )
        return int(answer["output"])

    def stop_running(self, name: str) -> None:
        """Stops the running executions of a state machine, as people do in the console."""
        for execution in self._executions(name):
            if execution["status"] == "RUNNING":
                self.client.stop_execution(executionArn=execution["executionArn"])

    def histories(self, name: str) -> Iterator[list["HistoryEventTypeDef"]]:
        """The histories of all executions so far."""
        for execution in self._executions(name):
            yield self.history(execution["executionArn"])

    def history(self, arn: str) -> list["HistoryEventTypeDef"]:
        """All events of an execution."""
        pages = self.client.get_paginator("get_execution_history").paginate(executionArn=arn)
        return [event for page in pages for event in page["events"]]

    def _executions(self, name: str) -> list[Any]:
        pages = self.client.get_paginator("list_executions").paginate(
            stateMachineArn=self.arns[name]
        )
        return [execution for page in pages for execution in page["executions"]]


def _deployment_package() -> bytes:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.write(Path(__file__).with_name("lambda_function.py"), "lambda_function.py")
    return package.getvalue()
