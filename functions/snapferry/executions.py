"""Executions of state machines that start each other, and their histories."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


def history(step_functions: "SFNClient", execution_arn: str) -> list[Mapping[str, Any]]:
    """The events of an execution so far; none of one that doesn't exist."""
    pages = step_functions.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn, includeExecutionData=True
    )
    try:
        return [event for page in pages for event in page["events"]]
    except step_functions.exceptions.ExecutionDoesNotExist:
        return []


def started(events: Iterable[Mapping[str, Any]]) -> set[str]:
    """The executions that an execution has started and waited for, by its history.

    They are named before they are started, so those are found as well whose start was answered to
    nobody. What was never started is among them, too.

    Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_TaskScheduledEventDetails.html

    Returns:
        Their ARNs.
    """
    found = set()
    for event in events:
        scheduled = event.get("taskScheduledEventDetails", {})
        if scheduled.get("resource", "").startswith("startExecution"):
            asked = json.loads(scheduled["parameters"])
            machine = asked["StateMachineArn"].replace(":stateMachine:", ":execution:", 1)
            found.add(f"{machine}:{asked['Name']}")
    return found
