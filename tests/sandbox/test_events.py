"""An event starts a migration, and events tell what becomes of it."""

import json
from pathlib import Path
from typing import Any

import jsonschema

from tests.sandbox.listening import Heard, Told
from tests.sandbox.migrations import Sandbox

_SCHEMAS = json.loads((Path(__file__).parents[2] / "docs/events.schema.json").read_text())["$defs"]


def events_of(heard: Heard, migration_id: str) -> dict[str, Any]:
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


def messages(heard: Heard) -> list[str]:
    """What people were told."""
    return [json.loads(text)["Message"] for source, text in heard if source == "topic"]


def test_a_migration_by_an_event_is_told_from_its_beginning_to_its_end(
    sandbox: Sandbox, told: Told
) -> None:
    outcome = told.succeeded

    events = events_of(told.heard, outcome.migration_id)

    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    assert sandbox.destination.count(index="requested-1")["count"] == 20
    assert events.keys() == _SCHEMAS.keys() - {"MigrationFailed", "SnapshotSkipped"}
    assert events["MigrationSucceeded"]["report"] == outcome.output["report"]
    expected = f"The migration {outcome.migration_id} has succeeded"
    assert any(expected in message for message in messages(told.heard))


def test_a_failure_is_told_to_programs_and_to_people(told: Told) -> None:
    outcome = told.failed

    events = events_of(told.heard, outcome.migration_id)

    assert (outcome.status, outcome.error) == ("FAILED", "PlanRejected")
    # It ends with its plan, so that there is nothing to roll back.
    assert events.keys() == {"PlanReady", "MigrationFailed"}
    assert events["MigrationFailed"]["error"] == outcome.error
    assert events["MigrationFailed"]["cause"] == outcome.cause
    expected = f"The migration {outcome.migration_id} has failed: {outcome.error}"
    assert any(expected in message for message in messages(told.heard))
