"""Whether the other tests have been everywhere; it runs after them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.workflow.state_machines import NAMES, StateMachines, states

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef

_INACTIVE = "Lambda.CodeArtifactUserPendingException"

type Handled = tuple[str, str, int]
"""A state, `Retry` or `Catch`, and which entry of it."""


@pytest.fixture(autouse=True)
def _skip_where_tests_are_left_out(request: pytest.FixtureRequest) -> None:
    modules = {item.path for item in request.session.items}
    chosen = request.config.getoption("keyword") or any("::" in a for a in request.config.args)
    if chosen or not modules >= set(Path(__file__).parent.glob("test_*.py")):
        pytest.skip("only a part of the workflow's tests runs")


@pytest.mark.parametrize("name", NAMES)
def test_every_state_was_entered_and_every_error_handled(
    state_machines: StateMachines, name: str
) -> None:
    entered: set[str] = set()
    handled: set[Handled] = set()
    for history in state_machines.histories(name):
        entered |= {
            event["stateEnteredEventDetails"]["name"]
            for event in history
            if "stateEnteredEventDetails" in event
        }
        handled |= set(_handled(name, history))

    assert set(states(name)) - entered == set()
    written = {
        (state, field, number)
        for state, definition in states(name).items()
        for field in ("Retry", "Catch")
        for number in range(len(definition.get(field, [])))
        # No child execution is refused here: test_retries.py tries it with TestState.
        if not (
            "startExecution" in definition.get("Resource", "")
            and (field == "Retry" or number < len(definition["Catch"]) - 1)
        )
        # Nor is any function inactive.
        and not (field == "Retry" and _INACTIVE in definition["Retry"][number]["ErrorEquals"])
        # What the states of a Map can't handle is caught; TestState knows no Map to provoke it.
        and not (field == "Catch" and definition["Type"] == "Map")
    }
    assert written - handled == set()


def _handled(name: str, history: Iterable["HistoryEventTypeDef"]) -> Iterator[Handled]:
    """The Retry and Catch entries that an execution went through."""
    events = {event["id"]: event for event in history}
    for event in events.values():
        if event["type"] == "TaskScheduled":
            field = "Retry"
        elif event["type"].endswith("StateExited"):
            field = "Catch"
        else:
            continue
        previous = events[event["previousEventId"]]
        if previous["type"] == "ParallelStateFailed":
            yield event["stateExitedEventDetails"]["name"], "Catch", 0
            continue
        if previous["type"] == "MapStateFailed":
            previous = events[previous["previousEventId"]]
        error = _error(previous)
        if error is None:
            continue
        state = _state(events, previous)
        for number, entry in enumerate(states(name)[state][field]):
            if {error, "States.ALL"} & set(entry["ErrorEquals"]):
                yield state, field, number
                break


def _error(event: "HistoryEventTypeDef") -> str | None:
    """The error that an event tells of."""
    return next(
        (
            details["error"]
            for details in event.values()
            if isinstance(details, dict) and "error" in details
        ),
        None,
    )


def _state(events: dict[int, "HistoryEventTypeDef"], event: "HistoryEventTypeDef") -> str:
    """The state that an event belongs to."""
    while "stateEnteredEventDetails" not in event:
        event = events[event["previousEventId"]]
    return event["stateEnteredEventDetails"]["name"]
