"""What is tried again, and how often."""

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from snapferry.errors import AccessDenied, Unavailable
from tests.workflow.fake_handlers import FakeHandler, Payload, TimedOut, in_turn
from tests.workflow.migration import EVERYWHERE, NIGHTLY, Migration
from tests.workflow.state_machines import TASKS, StateMachines, handler_of, states

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import TestStateOutputTypeDef

ATTEMPTS = 1 + 6
TRANSIENT_FOR_FUNCTIONS = {
    "Unavailable",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Sandbox.Timedout",
}
# Of a function that nobody has called for weeks.
INACTIVE = ("Lambda.CodeArtifactUserPendingException", "Lambda.ENINotReadyException")
INACTIVE_ATTEMPTS = 1 + 18
TRANSIENT_FOR_CHILDREN = {
    "StepFunctions.ExecutionLimitExceeded",
    "StepFunctions.ExecutionLimitExceededException",
    "StepFunctions.SdkClientException",
    "StepFunctions.StepFunctionsException",
    "StepFunctions.AWSStepFunctionsException",
}


def _stumbling(usual: FakeHandler) -> FakeHandler:
    """A handler that is unavailable each time before it answers a question."""
    asked = set()

    def answer(payload: Payload) -> Any:
        question = json.dumps({**payload, "token": None})
        if question not in asked:
            asked.add(question)
            raise Unavailable("the cluster takes a rest")
        asked.remove(question)
        return usual(payload)

    return answer


def test_every_task_is_tried_again(migration: Migration) -> None:
    migration.handlers = {
        handler: _stumbling(usual) for handler, usual in migration.handlers.items()
    }

    for name, changes in (("migrate", {}), ("migrate_domain", {"mode": "rehearse"})):
        assert migration.run(name, **EVERYWHERE, **changes).status == "SUCCEEDED"
    for number, changes in enumerate((NIGHTLY, {"mode": "restore_only"})):
        execution = migration.state_machines.run(
            "migrate_domain",
            {"job": migration.job(**EVERYWHERE, **changes)},
            f"{migration.migration_id}-{number}",
        )
        assert execution.status == "SUCCEEDED"
    for _, payload in migration.calls:
        payload.pop("token", None)
    # Catching up goes on beside the gate.
    beside = [call for call in migration.calls if call[0] == "catch_up"]
    others = [call for call in migration.calls if call[0] != "catch_up"]
    for calls in (beside, others):
        assert calls[::2] == calls[1::2]
    # What is left after hours is reported: see test_roll_back.py. And nothing changed meanwhile.
    assert {handler for handler, _ in migration.calls} == set(migration.handlers) - {
        *("report_leftovers", "return_source_to_service", "unblock_source")
    }


def test_the_return_of_the_source_to_service_is_tried_again(migration: Migration) -> None:
    migration.handlers["look_for_new_indices"] = in_turn({"new": 1}, {"new": 0})
    returned = migration.handlers["return_source_to_service"]
    migration.handlers["return_source_to_service"] = _stumbling(returned)

    assert migration.run("migrate_domain", cutover={"gates": []}).status == "SUCCEEDED"

    first, second = migration.called("return_source_to_service")
    assert first == second


def test_unblocking_the_source_is_tried_again(migration: Migration) -> None:
    migration.handlers["catch_up_last"] = in_turn(AccessDenied("not any more"))
    unblocked = migration.handlers["unblock_source"]
    migration.handlers["unblock_source"] = _stumbling(unblocked)

    assert migration.run("migrate_domain").error == "AccessDenied"

    first, second = migration.called("unblock_source")
    assert first == second


@pytest.mark.parametrize(
    ("name", "handler", "state"),
    [
        ("migrate", "check_input", "Check input"),
        ("migrate_domain", "list_indices", "List indices"),
        ("snapshot", "check_snapshot", "Check snapshot"),
        ("restore", "check_restore", "Check restore"),
    ],
)
def test_trying_again_has_an_end(migration: Migration, name: str, handler: str, state: str) -> None:
    migration.handlers[handler] = in_turn(Unavailable("the cluster is gone"))

    execution = migration.run(name)

    assert execution.status == "FAILED"
    assert execution.error == "Unavailable"
    assert execution.cause == f"{state}: the cluster is gone"
    assert len(migration.called(handler)) == ATTEMPTS


def test_a_function_that_takes_too_long_is_tried_again(migration: Migration) -> None:
    migration.handlers["start_snapshot"] = in_turn(TimedOut(), {"snapshot": "snapferry-1"})

    execution = migration.run("snapshot")

    assert execution.status == "SUCCEEDED"
    assert len(migration.called("start_snapshot")) == 2


@pytest.mark.parametrize(("name", "state"), TASKS)
def test_transient_errors(state_machines: StateMachines, name: str, state: str) -> None:
    task = states(name)[state]
    transient = set(TRANSIENT_FOR_FUNCTIONS if handler_of(task) else TRANSIENT_FOR_CHILDREN)
    if handler_of(task) and not state.startswith("Wait until"):
        transient.add("States.Timeout")

    assert set(task["Retry"][-1]["ErrorEquals"]) == transient
    for error in sorted(transient)[:: len(transient) - 1]:
        assert _status(state_machines, task, error, retries=ATTEMPTS - 2) == "RETRIABLE"
        assert _status(state_machines, task, error, retries=ATTEMPTS - 1) == "CAUGHT_ERROR"
    assert _status(state_machines, task, "AccessDenied", retries=0) == "CAUGHT_ERROR"
    for error in INACTIVE if handler_of(task) else ():
        retries = INACTIVE_ATTEMPTS - 2
        assert _status(state_machines, task, error, retries=retries) == "RETRIABLE"
        assert _status(state_machines, task, error, retries=retries + 1) == "CAUGHT_ERROR"


CHILDREN = [(name, state) for name, state in TASKS if not handler_of(states(name)[state])]


@pytest.mark.parametrize(("name", "state"), CHILDREN)
def test_an_attempt_to_start_a_child_again_names_the_same(
    state_machines: StateMachines, name: str, state: str
) -> None:
    names = set()
    for retries in range(ATTEMPTS - 1):
        answer = _fail(
            state_machines, states(name)[state], "StepFunctions.SdkClientException", retries
        )
        names.add(json.loads(answer["inspectionData"]["afterArguments"])["Name"])

    [only] = names
    assert re.fullmatch("[a-z0-9-]{17,80}", only)


@pytest.mark.parametrize(("name", "state"), CHILDREN)
def test_a_child_that_has_ended_unseen_is_begun_anew(
    state_machines: StateMachines, name: str, state: str
) -> None:
    error = "StepFunctions.ExecutionAlreadyExistsException"
    answer = _fail(state_machines, states(name)[state], error, retries=0)

    assert (answer["status"], answer["nextState"]) == ("CAUGHT_ERROR", state)


def _status(
    state_machines: StateMachines, task: dict[str, Any], error: str, *, retries: int
) -> str:
    """What becomes of a Task that fails after so many retries."""
    return _fail(state_machines, task, error, retries)["status"]


def _fail(
    state_machines: StateMachines, task: dict[str, Any], error: str, retries: int
) -> "TestStateOutputTypeDef":
    job = {"domain": {"name": "d" * 40}, "cutover": {"gate_deadline_seconds": 60}}
    return state_machines.try_state(
        task,
        {"job": job, "round": 51, "final": False, "snapshot": "s", "started_at": 1.5}
        | {"hold_seconds": 5, "failure": {"error": "A", "cause": "so"}, "jobs": [job]}
        | {"migration_id": "m", "execution_arn": "arn", "given_back": {}, "until": "lag fits"}
        | {"slices": 2, "slice": 1},
        state_input={"job": job, "round": 1, "name": "m", "executionArn": "arn"}
        | {"failed": [], "kept": [], "domain": job["domain"]},
        mock={"errorOutput": {"error": error, "cause": "so"}},
        stateConfiguration={"retrierRetryCount": retries},
        inspectionLevel="DEBUG",
    )
