import json

from snapferry import executions

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
