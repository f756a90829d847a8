import io
import json
import sys
from typing import Any

import pytest

from snapferry.verdicts import Verdict
from tests.unit.cli.aws import PLAN, STATES, FakeAws
from tests.unit.cli.conftest import Run
from tests.unit.conftest import document


@pytest.fixture
def planned(aws: FakeAws, run: Run, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has a plan made; gives what is said of it."""

    def plan(*arguments: str, status: str = "SUCCEEDED", **attributes: Any) -> Any:
        def end() -> None:
            aws.plan()
            [arn] = aws.executions
            aws.end(arn, status, **attributes)

        aws.events.append(end)
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(document())))
        return run("plan", "-", *arguments)

    return plan


OUTPUT = json.dumps({"plan": "migrations/m-1/plan.json"})


def test_a_plan_is_made_by_an_execution_that_ends_there(
    aws: FakeAws, planned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    said = planned(output=OUTPUT)

    assert said.code == 0
    [started] = aws.sent("StartExecution")
    assert json.loads(started["input"]) == document() | {"mode": "plan"}
    [arn] = aws.executions
    assert arn.startswith(f"{STATES}:execution:migrate:plan-")
    for text in (
        "orders",
        "restore",
        "caught up",
        "old",
        "reject",
        "it is too old. What to do: reindex it",
    ):
        assert text in said.out
    assert "repository snapferry-m-1-logs (destination/search.example.com:9200)" in said.out
    assert "the limits of recoveries stay" in said.out
    assert "Indices to be moved: 1, 2.0 MB; skipped: 0; rejected: 1." in said.out


def test_no_name_is_cut_where_the_terminal_is_narrow(
    aws: FakeAws, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    index = Verdict("q" * 120, "reject", "it is too old", "reindex it").record()
    aws.plan(domains=[PLAN["domains"][0] | {"indices": [index]}])

    said = run("plan", "--of", "m-1")

    assert said.out.count("q") == 120


def test_an_execution_that_was_just_started_may_be_seen_late(aws: FakeAws, planned: Any) -> None:
    aws.unknown_looks = 3
    aws.events.extend([lambda: None] * 3)

    assert planned(output=OUTPUT).code == 0


def test_an_execution_that_is_never_seen_is_not_found(aws: FakeAws, planned: Any) -> None:
    aws.unknown_looks = float("inf")
    aws.events.extend([lambda: None] * 20)

    said = planned(output=OUTPUT)

    assert said.code == 3
    assert "there is no migration 'plan-" in said.err
    assert aws.waited_seconds == 10


@pytest.mark.parametrize("mode", ["rehearse", "snapshot_only", "restore_only", "plans"])
def test_only_migrations_are_planned(
    aws: FakeAws, run: Run, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(document(mode=mode))))

    said = run("plan", "-")

    assert said.code == 2
    assert said.err.startswith(f"InvalidInput: mode: {mode!r}")
    assert aws.requests == []


@pytest.mark.parametrize("text", ["[]", "7", "null"])
def test_what_is_no_input_is_not_planned(
    aws: FakeAws, run: Run, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    said = run("plan", "-")

    assert (said.code, aws.requests) == (2, [])
    assert said.err.startswith("InvalidInput: input: this has to be an object")


def test_programs_get_the_plan(planned: Any) -> None:
    assert planned("--json", output=OUTPUT).document == PLAN


def test_a_plan_that_cannot_be_made_says_why(planned: Any) -> None:
    said = planned(status="FAILED", error="Unavailable", cause="no route")

    assert said.code == 1
    assert "Unavailable: no route" in said.out


def test_what_cannot_be_moved_is_told_by_the_exit_code(aws: FakeAws, run: Run) -> None:
    aws.plan(error="PlanRejected", cause="logs: old: it is too old")

    said = run("plan", "--of", "m-1")

    assert said.code == 1
    assert "PlanRejected: logs: old: it is too old" in said.out


def test_a_migration_without_a_plan(run: Run) -> None:
    said = run("plan", "--of", "m-2")

    assert said.code == 3
    assert "migrations/m-2/plan.json" in said.err
