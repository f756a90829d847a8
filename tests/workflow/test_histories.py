"""What an execution can hold: 25,000 events, and 256 KiB in what a state takes or gives."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from snapferry import request
from snapferry.polling import next_wait_seconds
from tests.workflow.conftest import Migrations
from tests.workflow.fake_handlers import Payload, in_turn
from tests.workflow.migration import CAUGHT_UP, Migration, request_document
from tests.workflow.state_machines import StateMachines

MOST_EVENTS = 5_000
LIMIT_EVENTS = 25_000
LIMIT_BYTES = 256 * 1024
MOST_DOMAINS = 100
TWO_WEEKS_SECONDS = 14 * 86_400
# What the input allows.
MOST_ROUNDS = 50


def looks(bytes_done: Callable[[int], int]) -> int:
    """How often a copy of two weeks is looked at, by what of a million bytes is done when."""
    elapsed_seconds, count = 0, 1
    while elapsed_seconds < TWO_WEEKS_SECONDS:
        done = bytes_done(elapsed_seconds)
        elapsed_seconds += next_wait_seconds(elapsed_seconds, done, 1_000_000)
        count += 1
    return count


@pytest.mark.parametrize("name", ["snapshot", "restore"])
def test_a_copy_of_two_weeks(
    migrations: Migrations, state_machines: StateMachines, name: str
) -> None:
    lengths = []
    for running in (1, 2):
        migration = migrations.add(state_machines)
        migration.handlers[f"check_{name}"] = in_turn(
            *[migration.look(name, ended=False)] * running, migration.look(name, ended=True)
        )
        lengths.append(len(migration.run(name).events))

    first, second = lengths
    assert second > first
    steady = looks(lambda seconds: 1_000_000 * seconds // TWO_WEEKS_SECONDS)
    assert first + (second - first) * steady < MOST_EVENTS
    # One that seems to be about to end all the time.
    assert first + (second - first) * looks(lambda _: 999_999) < LIMIT_EVENTS


def test_as_many_rounds_as_the_input_allows(
    migrations: Migrations, state_machines: StateMachines
) -> None:
    lengths = []
    for rounds in (1, 2):
        migration = migrations.add(state_machines)
        migration.handlers["weigh_another_round"] = in_turn({"pays": True})
        execution = migration.run("migrate_domain", cutover={"rounds": rounds, "gates": []})
        lengths.append(len(execution.events))

    first, second = lengths
    assert second > first
    assert first + (second - first) * MOST_ROUNDS < MOST_EVENTS


@pytest.mark.exhaustive
def test_catching_up_beside_a_gate_goes_on_in_a_new_execution(migration: Migration) -> None:
    calls = 450
    earlier = len(list(migration.state_machines.histories("catch_up")))

    def catch_up(payload: Payload) -> Any:
        beside = [each for each in migration.called("catch_up") if each["until"] == "writes stop"]
        if payload["until"] == "writes stop" and len(beside) == calls:
            migration.state_machines.client.send_task_success(
                taskToken=migration.called("announce_gate")[0]["token"], output="{}"
            )
        return CAUGHT_UP | {"ended": payload["until"] == "lag fits" or len(beside) >= calls}

    migration.handlers["catch_up"] = catch_up
    migration.handlers["announce_gate"] = in_turn(None)

    execution = migration.run("migrate_domain", cutover={"gates": ["stop_writes"]})

    assert execution.status == "SUCCEEDED"
    assert execution.states.count("Catch up until writes stop") == 2
    lengths = [len(events) for events in migration.state_machines.histories("catch_up")]
    assert len(lengths) == earlier + 3
    assert max(lengths) < MOST_EVENTS


@pytest.mark.exhaustive
def test_nobody_is_asked_to_stop_writes_before_the_lag_fits(migration: Migration) -> None:
    """However many slices share the history."""
    slices, calls_of_each = 40, 12

    def catch_up(payload: Payload) -> Any:
        called = [
            each
            for each in migration.called("catch_up")
            if (each["until"], each["slice"]) == ("lag fits", payload["slice"])
        ]
        return CAUGHT_UP | {"ended": len(called) >= calls_of_each}

    migration.handlers["begin_catch_up"] = in_turn(
        {"caught_up": 1, "by_snapshot": 0, "slices": slices}
    )
    migration.handlers["catch_up"] = catch_up

    execution = migration.run("migrate_domain", cutover={"gates": []})

    assert execution.status == "SUCCEEDED"
    assert execution.states.count("Catch up until the lag fits") == 2
    lengths = [len(events) for events in migration.state_machines.histories("catch_up")]
    assert max(lengths) < MOST_EVENTS


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("handler", "mode"),
    [
        ("list_indices", "migrate"),
        ("plan_domain", "migrate"),
        ("register_destination_repository", "restore_only"),
    ],
)
def test_as_many_domains_as_the_input_allows_with_as_much_to_say_of_each(
    migration: Migration, handler: str, mode: str
) -> None:
    """All of them fail, each with a long cause: an execution never passes on more."""

    def domains(pattern: str) -> Any:
        names = (f"domain-{number:02}" for number in range(MOST_DOMAINS))
        return [
            domain | {"indices": {"include": [pattern]}}
            for domain in request_document(*names)["domains"]
        ]

    document = request_document(
        domains=domains("a"), mode=mode, cutover={"gates": []}, domains_at_once=40
    )
    jobs, _ = request.parse(document, migration.migration_id)
    jobs_bytes = len(json.dumps([job.model_dump(mode="json") for job in jobs]))
    spare_bytes = request.LARGEST_JOBS_BYTES - jobs_bytes
    migration.handlers[handler] = in_turn(RuntimeError('no such "index" ' * 1000))

    document["domains"] = domains("a" * (1 + spare_bytes // MOST_DOMAINS))
    execution = migration.state_machines.run("migrate", document, migration.migration_id)

    # As the plan, or the report, has it.
    assert execution.error in ("DomainsFailed", "RuntimeError")
    assert len(migration.called(handler)) == MOST_DOMAINS
    assert len(execution.events) < MOST_EVENTS
    assert max(map(_passed_on_bytes, execution.events)) < LIMIT_BYTES


def _passed_on_bytes(event: Any) -> int:
    """The largest text that an event of a history passes on."""
    details = [value for value in event.values() if isinstance(value, dict)]
    texts = [value for one in details for value in one.values() if isinstance(value, str)]
    return max((len(text.encode()) for text in texts), default=0)
