"""An event starts a migration, and events tell what becomes of it."""

import json
from pathlib import Path
from typing import Any

import jsonschema

from tests.sandbox.listening import overheard
from tests.sandbox.migrations import Sandbox, Started, fill, wait_until

_SCHEMAS = json.loads((Path(__file__).parents[2] / "docs/events.schema.json").read_text())["$defs"]


def request_by_event(sandbox: Sandbox, document: Any) -> Started:
    """Asks for a migration on the bus, and gives the execution that was started for it."""
    arn = sandbox.world.deployment["state_machines"]["migrate"]

    def executions() -> set[str]:
        answer = sandbox.executions.list_executions(stateMachineArn=arn)
        return {execution["executionArn"] for execution in answer["executions"]}

    before = executions()
    answer = sandbox.client("events").put_events(
        Entries=[
            {
                "EventBusName": sandbox.world.deployment["event_bus"],
                "Source": "somebody",
                "DetailType": "MigrationRequested",
                "Detail": json.dumps(document),
            }
        ]
    )
    assert answer["FailedEntryCount"] == 0
    wait_until(lambda: executions() > before)
    [execution_arn] = executions() - before
    return Started(execution_arn.rpartition(":")[2], execution_arn)


def told_of(heard: list[tuple[str, str]], migration_id: str) -> dict[str, Any]:
    """The details of the product's events of a migration, by detail type; each is as documented."""
    events = [json.loads(text) for source, text in heard if source == "snapferry"]
    told = {
        event["detail-type"]: event["detail"]
        for event in events
        if event["detail"]["migration_id"] == migration_id
    }
    for event, detail in told.items():
        jsonschema.validate(detail, _SCHEMAS[event])
    return told


def test_a_migration_by_an_event_is_told_from_its_beginning_to_its_end(sandbox: Sandbox) -> None:
    fill(sandbox.source, "requested-1", 20)
    with overheard(sandbox) as heard:
        started = request_by_event(sandbox, sandbox.request("requested-1"))
        sandbox.follow(started, lambda: sandbox.outcome(started) is not None)
        outcome = sandbox.outcome(started)
    assert outcome
    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    assert sandbox.destination.count(index="requested-1")["count"] == 20
    told = told_of(heard, started.migration_id)
    assert told.keys() == _SCHEMAS.keys() - {"MigrationFailed", "SnapshotSkipped"}
    assert told["MigrationSucceeded"]["report"] == outcome.output["report"]
    to_people = [json.loads(text)["Message"] for source, text in heard if source == "topic"]
    assert any(
        f"The migration {started.migration_id} has succeeded" in message for message in to_people
    )


def test_a_failure_is_told_to_programs_and_to_people(sandbox: Sandbox) -> None:
    with overheard(sandbox) as heard:
        outcome = sandbox.migrate(sandbox.request("nowhere-to-be-found"))
    assert outcome.status == "FAILED"
    told = told_of(heard, outcome.migration_id)
    # It ends with its plan, so that there is nothing to roll back.
    assert told.keys() == {"PlanReady", "MigrationFailed"}
    assert told["MigrationFailed"]["error"] == outcome.error
    assert told["MigrationFailed"]["cause"] == outcome.cause
    to_people = [json.loads(text)["Message"] for source, text in heard if source == "topic"]
    assert any(
        f"The migration {outcome.migration_id} has failed: {outcome.error}" in message
        for message in to_people
    )
