"""What fails ends as a failure, says so in plain text, and leaves nothing registered."""

import json
from typing import Any

import pytest

from snapferry.errors import AccessDenied
from tests.workflow.fake_handlers import Crashed, Payload, in_turn
from tests.workflow.migration import EVERYWHERE, NIGHTLY, ROLL_BACK, Migration
from tests.workflow.state_machines import (
    DEFINITIONS,
    NAMES,
    TASKS,
    StateMachines,
    handler_of,
    states,
)

# It follows hours of other failures: see test_roll_back.py.
LATER = {"Report leftovers", "Report kept changes"}
# It follows other failures: see below.
AFTERWARDS = {"Unblock source"}
# The last round does what is left: see test_migrate_domain.py.
NO_FAILURE = {"Catch up slice"}
OTHER_MODES: dict[str, dict[str, Any]] = {
    "Verify rehearsal": {"mode": "rehearse"},
    "Verify restore": {"mode": "restore_only"},
    "Expire snapshots": NIGHTLY,
}
BESIDE_CATCHING_UP = {"Check window", "Wait until writes stop", "Freeze source"}
ERROR = AccessDenied('the bucket "b" denies access: {"Code": "AccessDenied"}\nWhat to do: {grant}.')


@pytest.mark.parametrize(
    ("name", "state"),
    [
        (name, state)
        for name, state in TASKS
        if handler_of(states(name)[state]) and state not in LATER | AFTERWARDS | NO_FAILURE
    ],
)
def test_a_task_that_fails(migration: Migration, name: str, state: str) -> None:
    task = states(name)[state]
    handler = handler_of(task)
    assert handler
    name_of_call = task["Arguments"]["Payload"].get("step", handler)
    usual = migration.handlers[name_of_call]
    # What this state passes and others with the same handler don't.
    own = {
        name: value
        for name, value in task["Arguments"]["Payload"].items()
        if isinstance(value, str | bool) and not str(value).startswith("{%")
    }
    # It has the handler of a state that comes before it.
    is_late = state == "Let source delete"
    failed_at = []

    def fail(payload: Payload) -> Any:
        if own.items() <= payload.items() and bool(migration.called("move_aliases")) >= is_late:
            failed_at.append(len(migration.calls))
            raise ERROR
        return usual(payload)

    migration.handlers[name_of_call] = fail
    if state == "Return source to service":
        migration.handlers["look_for_new_indices"] = in_turn({"new": 1})

    execution = migration.run(name, **EVERYWHERE, **OTHER_MODES.get(state, {}))

    assert execution.status == "FAILED"
    assert execution.error == "AccessDenied"
    assert execution.cause
    assert execution.cause.startswith(f"{state}: {ERROR}")
    # An error that isn't transient is no reason to try again, nor to go on.
    afterwards = [handler for handler, _ in migration.calls[failed_at[0] :]]
    if state in BESIDE_CATCHING_UP:
        afterwards = [handler for handler in afterwards if handler != "catch_up"]
    if state == "Plan domain":
        # What the other domains' plans say is told with it.
        assert afterwards.pop(0) == "write_plan"
    if name == "migrate_domain":
        assert afterwards == ["unblock_source"]
    elif name != "migrate" or state == "Write report":
        assert afterwards == []
    else:
        assert afterwards == [*ROLL_BACK, "write_report"]


def test_a_source_that_cannot_be_unblocked_hides_no_failure(migration: Migration) -> None:
    migration.handlers["catch_up_last"] = in_turn(ERROR)
    migration.handlers["unblock_source"] = in_turn(AccessDenied("not this either"))

    execution = migration.run("migrate_domain")

    assert (execution.status, execution.error) == ("FAILED", "AccessDenied")
    assert execution.cause == f"Catch up last: {ERROR}"


def test_a_function_that_crashes(migration: Migration) -> None:
    migration.handlers["start_snapshot"] = in_turn(Crashed())

    execution = migration.run("snapshot")

    assert execution.status == "FAILED"
    assert execution.error == "Runtime.ExitError"
    assert execution.cause
    assert execution.cause.startswith("Start snapshot: RequestId: ")
    assert "Runtime exited" in execution.cause


CHILD = {"ExecutionArn": "arn:aws:states:eu-west-1:222222222222:execution:a:b", "Input": "{}"}


@pytest.mark.parametrize(
    ("name", "state"),
    [
        (name, state)
        for name in NAMES
        for state in states(name)
        # What is left or missing is told besides the failure: see test_migrate.py.
        if state.startswith("Explain")
        and state not in ("Explain leftovers", "Explain missing report")
    ],
)
@pytest.mark.parametrize(
    ("failure", "error", "cause"),
    [
        ({"Error": "A", "Cause": "it's so"}, "A", "S: it's so"),
        ({"Error": "A"}, "A", "S: A"),
        ({"Error": "A", "Cause": ""}, "A", "S: A"),
        ({"Error": None, "Cause": None}, "TaskFailed", "S: no cause was given"),
        ({}, "TaskFailed", "S: no cause was given"),
        # Not even half a JSON object may keep the clean-up from running.
        ({"Error": "A", "Cause": "{so"}, "A", "S: {so"),
        ({"Error": "A", "Cause": "{so}"}, "A", "S: {so}"),
        ({"Error": "A", "Cause": '{"errorMessage": "it'}, "A", 'S: {"errorMessage": "it'),
        # A Fail state may not use the names of the States Language.
        ({"Error": "States.Timeout"}, "Timeout", "S: States.Timeout"),
        # A function's error
        (
            {"Error": "A", "Cause": json.dumps({"errorType": "A", "errorMessage": '"so"\n{}'})},
            "A",
            'S: "so"\n{}',
        ),
        # A child execution's end: failed, stopped, out of time
        (
            {
                "Error": "States.TaskFailed",
                "Cause": json.dumps(
                    CHILD | {"Status": "FAILED", "Error": "B", "Cause": "T: it's so"}
                ),
            },
            "B",
            "T: it's so",
        ),
        (
            {
                "Error": "States.TaskFailed",
                "Cause": json.dumps(CHILD | {"Status": "ABORTED"}),
            },
            "TaskFailed",
            "S: ABORTED",
        ),
        (
            {
                "Error": "States.TaskFailed",
                "Cause": json.dumps(CHILD | {"Status": "TIMED_OUT", "Error": "States.Timeout"}),
            },
            "Timeout",
            "S: TIMED_OUT",
        ),
    ],
)
def test_explanations(
    state_machines: StateMachines,
    name: str,
    state: str,
    failure: dict[str, Any],
    error: str,
    cause: str,
) -> None:
    [(variable, explanation)] = states(name)[state]["Assign"].items()

    # TestState doesn't show what is assigned, but how a Fail state ends.
    answer = state_machines.try_state(
        {"Type": "Fail", "Error": explanation["error"], "Cause": explanation["cause"]},
        {variable: failure}
        # Scopes inside of others have names of their own for it.
        | {"failed_state": "S", "failed_domain_state": "S"}
        | {"failed_slice_state": "S", "failed_write_stop_state": "S"},
    )

    assert (answer["error"], answer["cause"]) == (error, cause)


@pytest.mark.parametrize("name", NAMES)
def test_every_end_is_a_success_or_a_failure(name: str) -> None:
    """Nothing ends by a Task or Pass at the top, so no failure can end as a success."""
    for definition in DEFINITIONS[name]["States"].values():
        assert not definition.get("End")
