import json
from typing import TYPE_CHECKING, cast

from snapferry import executions
from tests.unit.fakes import FakeExecution, FakeStepFunctions

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

STATES = "arn:aws:states:eu-west-1:222222222222"
NAMED = {"StateMachineArn": f"{STATES}:stateMachine:restore", "Name": "logs-restore-1"}


def test_executions_are_found_by_what_was_asked_for() -> None:
    """Whether the start was answered, came late, or never took place is not in the history."""
    history = [
        {"type": "ExecutionStarted", "executionStartedEventDetails": {"input": "{}"}},
        {"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": "Restore snapshot"}},
        {
            "type": "TaskScheduled",
            "taskScheduledEventDetails": {
                "resourceType": "states",
                "resource": "startExecution.sync:2",
                "parameters": json.dumps(NAMED | {"Input": {"round": 1}}),
            },
        },
        {"type": "TaskSubmitFailed", "taskSubmitFailedEventDetails": {"error": "TimedOut"}},
        {
            "type": "TaskScheduled",
            "taskScheduledEventDetails": {
                "resourceType": "lambda",
                "resource": "invoke.waitForTaskToken",
                "parameters": json.dumps({"FunctionName": "announce-gate"}),
            },
        },
    ]

    assert executions.started(history) == {f"{STATES}:execution:restore:logs-restore-1"}


def test_histories_are_those_of_all_that_was_started_and_exists() -> None:
    fake = FakeStepFunctions()
    fake.executions = {
        f"{STATES}:execution:migrate:1": FakeExecution(
            children=[f"{STATES}:execution:restore:1", f"{STATES}:execution:restore:never"]
        ),
        f"{STATES}:execution:restore:1": FakeExecution(),
    }

    found = list(executions.histories(cast("SFNClient", fake), f"{STATES}:execution:migrate:1"))

    assert [bool(events) for events in found].count(True) == 2
