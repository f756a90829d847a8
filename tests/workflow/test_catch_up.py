"""The state machine that catches a domain's indices up."""

from collections import Counter
from typing import Any

from snapferry.errors import AccessDenied
from tests.workflow.fake_handlers import Payload, in_turn
from tests.workflow.migration import CAUGHT_UP, Migration
from tests.workflow.state_machines import Execution


def test_goes_on_until_it_has_ended(migration: Migration) -> None:
    not_yet = {"ended": False}
    migration.handlers["catch_up"] = in_turn(not_yet, not_yet, CAUGHT_UP)

    execution = migration.run("catch_up")

    assert execution.status == "SUCCEEDED"
    assert execution.output == {"ended": True}
    assert [
        (payload["job"], payload["until"], payload["slice"])
        for payload in migration.called("catch_up")
    ] == [(migration.job(), "lag fits", 0)] * 3


def run_slices(migration: Migration, slices: int) -> Execution:
    return migration.state_machines.run(
        "catch_up",
        {"job": migration.job(), "until": "lag fits", "slices": slices},
        migration.migration_id,
    )


def test_no_slice_waits_for_another_one(migration: Migration) -> None:
    def catch_up(payload: Payload) -> Any:
        number = payload["slice"]
        calls = [each for each in migration.called("catch_up") if each["slice"] == number]
        return {"ended": len(calls) > number}

    migration.handlers["catch_up"] = catch_up

    execution = run_slices(migration, 3)

    assert execution.output == {"ended": True}
    assert Counter(payload["slice"] for payload in migration.called("catch_up")) == {
        0: 1,
        1: 2,
        2: 3,
    }


def test_a_slice_that_fails_is_the_failure_of_all(migration: Migration) -> None:
    def catch_up(payload: Payload) -> Any:
        if payload["slice"] == 1:
            raise AccessDenied("no rights")
        return CAUGHT_UP

    migration.handlers["catch_up"] = catch_up

    execution = run_slices(migration, 2)

    assert (execution.status, execution.error) == ("FAILED", "AccessDenied")
    assert execution.cause == "Catch up: no rights"
