from typing import TYPE_CHECKING, Any, cast

from snapferry_sandbox.demo.execution import count_entered, histories
from tests.unit.fakes import FakeExecution, FakeStepFunctions

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

STATES = "arn:aws:states:eu-west-1:222222222222"
HISTORY: list[dict[str, Any]] = [
    {"type": "ExecutionStarted"},
    {"type": "PassStateEntered"},
    {"type": "PassStateExited"},
    {"type": "TaskStateEntered"},
    {"type": "TaskScheduled"},
    {"type": "TaskSubmitted"},
    {"type": "TaskSucceeded"},
    {"type": "TaskStateExited"},
    {"type": "TaskSubmitted"},
    {"type": "MapStateEntered"},
    {"type": "MapIterationStarted"},
    {"type": "ExecutionSucceeded"},
]


def test_each_state_entered_counts() -> None:
    assert count_entered(HISTORY) == 3


def test_histories_are_those_of_all_that_was_started_and_exists() -> None:
    fake = FakeStepFunctions()
    fake.executions = {
        f"{STATES}:execution:migrate:1": FakeExecution(
            children=[f"{STATES}:execution:restore:1", f"{STATES}:execution:restore:never"]
        ),
        f"{STATES}:execution:restore:1": FakeExecution(),
    }

    found = list(histories(cast("SFNClient", fake), f"{STATES}:execution:migrate:1"))

    assert [bool(events) for events in found].count(True) == 2
