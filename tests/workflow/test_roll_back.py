"""The state machine that gives back what a migration has changed."""

import pytest

from snapferry.errors import AccessDenied, RollBackInProgress, Unavailable
from tests.workflow.fake_handlers import in_turn
from tests.workflow.migration import ROLL_BACK, Migration, given_back

LEFT = "repository snapferry (source/logs): source search-logs can't be reached"


def _handlers(migration: Migration) -> list[str]:
    return [handler for handler, _ in migration.calls]


def test_gives_everything_back(migration: Migration) -> None:
    migration.handlers["give_back_changes"] = in_turn(given_back(foreign=["someone was here"]))

    execution = migration.run("roll_back")

    assert execution.status == "SUCCEEDED"
    assert execution.output == {
        "given_back": 3,
        "foreign": ["someone was here"],
        "kept": [],
        "reason": "everything is as it was before",
    }
    assert _handlers(migration) == ROLL_BACK
    [begun] = migration.called("begin_roll_back")
    [stopped] = migration.called("stop_executions")
    assert begun["migration_id"] == migration.migration_id
    assert begun["roller_arn"] == stopped["roller_arn"]
    assert begun["execution_arn"] == stopped["execution_arn"]
    assert stopped["started_by"] is None


@pytest.mark.parametrize("gone", [None, [], ["source/logs"], ["source/a", "source/b"]], ids=str)
def test_what_people_say_is_gone_is_passed_on(migration: Migration, gone: list[str] | None) -> None:
    execution_arn = f"{migration.state_machines.arns['migrate']}:{migration.migration_id}"
    told = {"name": migration.migration_id, "executionArn": execution_arn}

    execution = migration.state_machines.run(
        "roll_back", told if gone is None else told | {"gone": gone}, migration.migration_id
    )

    assert execution.cause is None
    [payload] = migration.called("give_back_changes")
    assert payload["gone"] == (gone or [])


def test_a_migration_that_ends_is_not_stopped_by_its_own_roll_back(migration: Migration) -> None:
    migration.run("migrate", cutover={"gates": []})

    [stopped] = migration.called("stop_executions")
    assert stopped["started_by"] == stopped["execution_arn"]


def test_nothing_is_done_where_nothing_is_needed(migration: Migration) -> None:
    migration.handlers["begin_roll_back"] = in_turn({"needed": False, "reason": "done before"})

    execution = migration.run("roll_back")

    assert execution.output == {
        "given_back": 0,
        "foreign": [],
        "kept": [],
        "reason": "done before",
    }
    assert _handlers(migration) == ["begin_roll_back"]


def test_another_roll_back_is_waited_for(migration: Migration) -> None:
    first = [RollBackInProgress("the first one gives everything back")] * 10
    migration.handlers["begin_roll_back"] = in_turn(
        *first, {"needed": False, "reason": "everything has been given back before"}
    )

    execution = migration.run("roll_back")

    assert execution.output["reason"] == "everything has been given back before"
    assert _handlers(migration) == ["begin_roll_back"] * 11


def test_functions_at_work_are_waited_for(migration: Migration) -> None:
    at_work = {"at_work": True, "wait_seconds": 10}
    migration.handlers["check_functions"] = in_turn(at_work, at_work, {"at_work": False})

    execution = migration.run("roll_back")

    assert execution.status == "SUCCEEDED"
    assert _handlers(migration)[2:6] == [*["check_functions"] * 3, "give_back_changes"]


def test_a_long_journal_is_given_back_in_several_runs(migration: Migration) -> None:
    migration.handlers["give_back_changes"] = in_turn(given_back(waiting=5), given_back())

    execution = migration.run("roll_back")

    assert execution.status == "SUCCEEDED"
    assert "Wait for the other side" not in execution.states


def test_a_side_that_is_out_of_reach_is_tried_again(migration: Migration) -> None:
    migration.handlers["give_back_changes"] = in_turn(
        given_back(LEFT, waiting=1), given_back(LEFT), given_back()
    )

    execution = migration.run("roll_back")

    assert execution.status == "SUCCEEDED"
    assert execution.states.count("Wait for the other side") == 2


def test_what_stays_out_of_reach_is_reported_after_hours(migration: Migration) -> None:
    migration.handlers["give_back_changes"] = in_turn(given_back(LEFT))
    migration.handlers["report_leftovers"] = in_turn(Unavailable("SNS is at rest"), None)

    execution = migration.run("roll_back")

    assert (execution.status, execution.error) == ("FAILED", "NotGivenBack")
    assert execution.cause
    assert LEFT in execution.cause
    assert f"snapferry roll-back {migration.migration_id}" in execution.cause
    report = {"migration_id": migration.migration_id, "failed": [LEFT], "kept": []}
    assert migration.called("report_leftovers") == [report, report]
    assert "end_migration" not in _handlers(migration)
    attempts = range(1, len(migration.called("give_back_changes")))
    hours = (
        sum(
            migration.state_machines.seconds_of_wait(
                "roll_back", "Wait for the other side", {"attempt": attempt}
            )
            for attempt in attempts
        )
        / 3_600
    )
    assert 3 < hours < 4


def test_a_report_of_leftovers_that_nobody_hears(migration: Migration) -> None:
    migration.handlers["give_back_changes"] = in_turn(given_back(LEFT))
    migration.handlers["report_leftovers"] = in_turn(AccessDenied("no topic"))

    execution = migration.run("roll_back")

    assert (execution.error, execution.cause) == ("AccessDenied", "Report leftovers: no topic")


def test_people_are_told_of_what_only_they_can_give_back(migration: Migration) -> None:
    migration.handlers["give_back_changes"] = in_turn(given_back(kept=["write block orders"]))
    migration.handlers["report_leftovers"] = in_turn(Unavailable("SNS is at rest"), None)

    execution = migration.run("roll_back")

    assert execution.status == "SUCCEEDED"
    assert execution.output["kept"] == ["write block orders"]
    assert "clients that have moved" in execution.output["reason"]
    assert _handlers(migration)[-3:] == ["end_migration", *["report_leftovers"] * 2]
    assert migration.called("report_leftovers")[0]["kept"] == ["write block orders"]


def test_a_report_of_kept_changes_that_nobody_hears(migration: Migration) -> None:
    migration.handlers["give_back_changes"] = in_turn(given_back(kept=["write block orders"]))
    migration.handlers["report_leftovers"] = in_turn(AccessDenied("no topic"))

    execution = migration.run("roll_back")

    assert (execution.error, execution.cause) == ("AccessDenied", "Report kept changes: no topic")
