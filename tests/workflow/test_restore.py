"""The state machine that restores one snapshot."""

import pytest

from tests.workflow.fake_handlers import in_turn
from tests.workflow.migration import Migration, in_the_way_of_the_bucket


def test_restores_a_snapshot_that_ends_at_the_first_look(migration: Migration) -> None:
    execution = migration.run("restore")

    assert execution.status == "SUCCEEDED"
    job = migration.job()
    assert migration.calls == [
        ("lift_restore_limits", {"job": job}),
        ("start_restore", {"job": job, "round": 2}),
        (
            "check_restore",
            {"job": job, "round": 2, "started_at": 1_800_000_000.25, "hold_seconds": 5},
        ),
        ("give_back_restore_limits", {"job": job}),
    ]


def test_looks_until_every_shard_is_active(migration: Migration) -> None:
    running = migration.look("restore", ended=False)
    ended = migration.look("restore", ended=True)
    migration.handlers["check_restore"] = in_turn(running, running, running, ended)

    execution = migration.run("restore")

    assert execution.status == "SUCCEEDED"
    first, *others = migration.called("check_restore")
    assert others == [first] * 3
    assert execution.states.count("Wait for the restore") == 3


@pytest.mark.parametrize("wait_seconds", [2, 900])
def test_waits_as_long_as_the_look_says(migration: Migration, wait_seconds: int) -> None:
    look = migration.look("restore", ended=False, wait_seconds=wait_seconds)

    waited_seconds = migration.state_machines.seconds_of_wait(
        "restore", "Wait for the restore", {}, look
    )

    assert waited_seconds == wait_seconds


@in_the_way_of_the_bucket("an index that is being snapshotted can't be closed")
def test_waits_for_a_snapshot_of_the_destination_and_for_its_right_to_read(
    migration: Migration, in_the_way: Exception, times: int
) -> None:
    migration.handlers["start_restore"] = in_turn(
        *[in_the_way] * times, {"started_at": 1_800_000_000.25}
    )

    execution = migration.run("restore")

    assert execution.status == "SUCCEEDED"
    assert len(migration.called("start_restore")) == times + 1
