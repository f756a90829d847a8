from typing import Any

from snapferry_sandbox.demo.execution import count_entered

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
