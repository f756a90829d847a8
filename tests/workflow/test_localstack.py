"""What the sandbox's plugin makes of LocalStack, as it is on AWS."""

import io
import json
import re
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from snapferry_sandbox.faults import Faults, Way
from snapferry_sandbox.localstack import LocalStack
from tests.sandbox.parts.test_processes import wait_until_gone
from tests.workflow.state_machines import StateMachines

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

type Run = Callable[..., DescribeExecutionOutputTypeDef]

ACCOUNT = "333333333333"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/test"
# Tells its process, then waits for a file or ends itself; beyond 3 s Lambda ends it.
CODE = """
import os, pathlib, time
def handler(event, context):
    mine = pathlib.Path(event["folder"], str(os.getpid()))
    mine.touch()
    if event.get("crashes"):
        os._exit(1)
    while len(list(mine.parent.iterdir())) < event["together"]:
        time.sleep(0.05)
    return os.getpid()
"""


@pytest.fixture(scope="module")
def session() -> boto3.Session:
    """Of an account in which nothing else is."""
    return boto3.Session(
        region_name="eu-west-1", aws_access_key_id=ACCOUNT, aws_secret_access_key="test"
    )


@pytest.fixture(scope="module")
def functions(session: boto3.Session, state_machines: StateMachines) -> "LambdaClient":
    client = session.client("lambda", endpoint_url=state_machines.client.meta.endpoint_url)
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("function.py", CODE)
    client.create_function(
        FunctionName="function",
        Runtime="python3.13",
        Role=ROLE_ARN,
        Handler="function.handler",
        Code={"ZipFile": package.getvalue()},
        Timeout=3,
    )
    client.get_waiter("function_active_v2").wait(FunctionName="function")
    return client


def processes_in(folder: Path) -> set[int]:
    return {int(file.name) for file in folder.iterdir()}


def invoke(functions: "LambdaClient", folder: Path, **event: Any) -> Any:
    answer = functions.invoke(
        FunctionName="function",
        Payload=json.dumps({"folder": str(folder), "together": 1} | event).encode(),
    )
    return json.load(answer["Payload"])


def test_a_function_that_takes_too_long_is_ended(functions: "LambdaClient", tmp_path: Path) -> None:
    answer = invoke(functions, tmp_path, together=2)

    assert answer["errorType"] == "Sandbox.Timedout"
    assert re.search(r"Task timed out after 3\.00 seconds", answer["errorMessage"])
    [process] = processes_in(tmp_path)
    wait_until_gone(process)


def test_a_function_that_crashes_gets_another_process(
    functions: "LambdaClient", tmp_path: Path
) -> None:
    answer = invoke(functions, tmp_path, crashes=True)

    assert answer["errorType"] == "Runtime.ExitError"
    [crashed] = processes_in(tmp_path)
    assert invoke(functions, tmp_path) != crashed


def test_invocations_at_the_same_time_have_processes_of_their_own(
    functions: "LambdaClient", tmp_path: Path
) -> None:
    # Each waits for the other.
    with ThreadPoolExecutor(2) as threads:
        invocations = [threads.submit(invoke, functions, tmp_path, together=2) for _ in range(2)]
        processes = {invocation.result() for invocation in invocations}

    assert processes == processes_in(tmp_path)
    # An environment that is free is used again.
    assert invoke(functions, tmp_path) in processes


@pytest.fixture(scope="module")
def run(session: boto3.Session, state_machines: StateMachines) -> Run:
    client = session.client("stepfunctions", endpoint_url=state_machines.client.meta.endpoint_url)
    topic = session.client("sns", endpoint_url=state_machines.client.meta.endpoint_url)
    arn = topic.create_topic(Name="tokens")["TopicArn"]
    number = iter(range(1000))

    def run(
        state: dict[str, Any],
        *,
        name: str | None = None,
        stop_when: Callable[[set[str]], bool] | None = None,
        then: Callable[[], None] = lambda: None,
    ) -> "DescribeExecutionOutputTypeDef":
        """Run a state machine of one state to its end, or stop it at certain events."""
        state = {"End": True, **state}
        if state["Type"] == "Task":
            token = {"TopicArn": arn, "Message": "{% $states.context.Task.Token %}"}
            state.setdefault("Arguments", token)
        definition = {"QueryLanguage": "JSONata", "StartAt": "S", "States": {"S": state}}
        machine = client.create_state_machine(
            name=name or f"machine-{next(number)}",
            definition=json.dumps(definition),
            roleArn=ROLE_ARN,
        )["stateMachineArn"]
        execution = client.start_execution(stateMachineArn=machine)["executionArn"]
        if stop_when:
            events: set[str] = set()
            while not stop_when(events):
                time.sleep(0.05)
                history = client.get_execution_history(executionArn=execution)
                events = {event["type"] for event in history["events"]}
            client.stop_execution(executionArn=execution, error="Enough", cause="of this")
            then()
        while (found := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
            time.sleep(0.05)
        return found

    return run


TOKEN = "arn:aws:states:::sns:publish.waitForTaskToken"


def test_an_execution_is_stopped_while_it_waits_for_a_token(run: Run) -> None:
    task = {"Type": "Task", "Resource": TOKEN, "TimeoutSeconds": 600}
    stopped = run(task, stop_when=lambda events: "TaskSubmitted" in events)

    assert (stopped["status"], stopped["error"], stopped["cause"]) == (
        "ABORTED",
        "Enough",
        "of this",
    )


def test_an_execution_that_is_stopped_leaves_its_function_running(
    run: Run, functions: "LambdaClient", tmp_path: Path
) -> None:
    payload = {"folder": str(tmp_path), "together": 2}
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": {"FunctionName": "function", "Payload": payload},
    }

    stopped = run(task, stop_when=lambda _: bool(processes_in(tmp_path)))

    assert stopped["status"] == "ABORTED"
    [still_running] = processes_in(tmp_path)
    (tmp_path / "0").touch()
    # It comes to its end, and then takes other work.
    assert any(invoke(functions, tmp_path) == still_running for _ in range(100))


@pytest.fixture
def faults(aws: LocalStack) -> Iterator[Faults]:
    aws.faults.clear()
    yield aws.faults
    aws.faults.clear()


def test_an_execution_waits_at_a_state_and_is_stopped_there(run: Run, faults: Faults) -> None:
    faults.pause_at("paused", "S")

    def reached(_: set[str]) -> bool:
        return faults.has_paused()

    stopped = run({"Type": "Pass"}, stop_when=reached, then=faults.go_on, name="paused")
    passed = run({"Type": "Pass"}, name="paused-no-more")

    assert (stopped["status"], passed["status"]) == ("ABORTED", "SUCCEEDED")


@pytest.mark.parametrize(
    ("way", "error"),
    [("raise", "UnexpectedError"), ("die", "Runtime.ExitError"), ("hang", "Sandbox.Timedout")],
)
def test_a_call_of_a_function_goes_wrong_once(
    functions: "LambdaClient", faults: Faults, tmp_path: Path, way: Way, error: str
) -> None:
    faults.arm("function", way)

    assert invoke(functions, tmp_path)["errorType"] == error
    assert faults.has_struck("function")
    assert invoke(functions, tmp_path) in processes_in(tmp_path)


def test_a_function_lingers(functions: "LambdaClient", faults: Faults, tmp_path: Path) -> None:
    faults.arm("function", "linger")

    with ThreadPoolExecutor(1) as threads:
        invocation = threads.submit(invoke, functions, tmp_path)
        while not faults.has_struck("function"):
            time.sleep(0.05)
        assert not processes_in(tmp_path)
        faults.go_on()
        assert invocation.result() in processes_in(tmp_path)


def test_waits_are_shortened(run: Run) -> None:
    # Three quarters of an hour: longer than any test may take.
    assert run({"Type": "Wait", "Seconds": 2700})["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$partition([1, 2, 3, 4, 5], 2)", [[1, 2], [3, 4], [5]]),
        ("$range(1, 9, 4)", [1, 5, 9]),
        (
            "$hash('abc', 'SHA-256')",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        ("$random(7) = $random(7)", True),
        ("$length($uuid())", 36),
        ("""$parse('{"a": [null, 1.5]}')""", {"a": [None, 1.5]}),
        ("$uuid() = $uuid()", False),
    ],
)
def test_functions_of_step_functions(run: Run, expression: str, value: object) -> None:
    ended = run({"Type": "Pass", "Output": {"value": f"{{% {expression} %}}"}})
    assert json.loads(ended["output"]) == {"value": value}


@pytest.mark.parametrize("expression", ["$undefined", "$states.input.nothing", "1 + 'a'"])
def test_an_expression_that_fails(run: Run, expression: str) -> None:
    ended = run({"Type": "Pass", "Output": f"{{% {expression} %}}"})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.QueryEvaluationError")
    assert expression in ended["cause"]


def test_a_rule_passes_on_a_part_of_the_event(
    session: boto3.Session, state_machines: StateMachines
) -> None:
    endpoint = state_machines.client.meta.endpoint_url
    step_functions = session.client("stepfunctions", endpoint_url=endpoint)
    events = session.client("events", endpoint_url=endpoint)
    definition = {"StartAt": "S", "States": {"S": {"Type": "Succeed"}}}
    machine = step_functions.create_state_machine(
        name="started-by-a-rule", definition=json.dumps(definition), roleArn=ROLE_ARN
    )["stateMachineArn"]
    events.put_rule(Name="part", EventPattern=json.dumps({"source": ["test"]}))
    events.put_targets(
        Rule="part",
        Targets=[{"Id": "1", "Arn": machine, "RoleArn": ROLE_ARN, "InputPath": "$.detail"}],
    )

    events.put_events(Entries=[{"Source": "test", "DetailType": "t", "Detail": '{"name": "m-1"}'}])

    while not (started := step_functions.list_executions(stateMachineArn=machine)["executions"]):
        time.sleep(0.05)
    described = step_functions.describe_execution(executionArn=started[0]["executionArn"])
    assert json.loads(described["input"]) == {"name": "m-1"}


def test_objects_are_not_where_other_worlds_keep_theirs(
    session: boto3.Session, state_machines: StateMachines
) -> None:
    s3 = session.client("s3", endpoint_url=state_machines.client.meta.endpoint_url)
    bucket = f"bucket-{uuid.uuid4()}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")

    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"content"
    # LocalStack's own choice.
    assert not Path("/tmp/localstack-s3-storage", bucket).exists()  # noqa: S108
