import json
from typing import Any

from snapferry_sandbox.demo.execution import count_entered, started_executions

CHILD = "arn:aws:states:eu-west-1:222222222222:execution:restore:1"
HISTORY: list[dict[str, Any]] = [
    {"type": "ExecutionStarted"},
    {"type": "PassStateEntered"},
    {"type": "PassStateExited"},
    {"type": "TaskStateEntered"},
    {"type": "TaskScheduled", "taskScheduledEventDetails": {"resource": "startExecution.sync:2"}},
    {
        "type": "TaskSubmitted",
        "taskSubmittedEventDetails": {
            "resource": "startExecution.sync:2",
            "output": json.dumps({"ExecutionArn": CHILD, "StartDate": 1}),
        },
    },
    {"type": "TaskSucceeded"},
    {"type": "TaskStateExited"},
    {
        "type": "TaskSubmitted",
        "taskSubmittedEventDetails": {
            "resource": "invoke.waitForTaskToken",
            "output": json.dumps({"StatusCode": 200}),
        },
    },
    {"type": "MapStateEntered"},
    {"type": "MapIterationStarted"},
    {"type": "ExecutionSucceeded"},
]


def test_each_state_entered_counts() -> None:
    assert count_entered(HISTORY) == 3


def test_child_executions_are_found() -> None:
    assert list(started_executions(HISTORY)) == [CHILD]
