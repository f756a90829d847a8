"""The state machine that takes one snapshot."""

import pytest

from tests.workflow.fake_handlers import in_turn
from tests.workflow.migration import Migration, in_the_way_of_the_bucket


def test_takes_a_snapshot_that_ends_at_the_first_look(migration: Migration) -> None:
    execution = migration.run("snapshot")

    assert execution.status == "SUCCEEDED"
    job = migration.job()
    assert migration.calls == [
        ("start_snapshot", {"job": job, "round": 2}),
        ("check_snapshot", {"job": job, "round": 2, "snapshot": "snapferry-1", "hold_seconds": 5}),
    ]


def test_looks_until_the_snapshot_has_ended(migration: Migration) -> None:
    running = migration.look("snapshot", ended=False)
    ended = migration.look("snapshot", ended=True)
    migration.handlers["check_snapshot"] = in_turn(running, running, running, ended)

    execution = migration.run("snapshot")

    assert execution.status == "SUCCEEDED"
    first, *others = migration.called("check_snapshot")
    assert others == [first] * 3
    assert execution.states.count("Wait for the snapshot") == 3


@pytest.mark.parametrize("wait_seconds", [2, 900])
def test_waits_as_long_as_the_look_says(migration: Migration, wait_seconds: int) -> None:
    look = migration.look("snapshot", ended=False, wait_seconds=wait_seconds)

    waited_seconds = migration.state_machines.seconds_of_wait(
        "snapshot", "Wait for the snapshot", {}, look
    )

    assert waited_seconds == wait_seconds


@in_the_way_of_the_bucket("the domain's automated snapshot runs")
def test_waits_for_another_snapshot_of_the_domain_and_for_its_right_to_write(
    migration: Migration, in_the_way: Exception, times: int
) -> None:
    migration.handlers["start_snapshot"] = in_turn(
        *[in_the_way] * times, {"snapshot": "snapferry-1"}
    )

    execution = migration.run("snapshot")

    assert execution.status == "SUCCEEDED"
    assert len(migration.called("start_snapshot")) == times + 1
