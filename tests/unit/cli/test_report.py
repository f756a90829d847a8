"""`snapferry report`."""

from pathlib import Path
from typing import Any

import pytest

from snapferry import report_page
from tests.unit.cli.aws import STATES, FakeAws
from tests.unit.cli.conftest import Run

MOVED: dict[str, Any] = {
    "domain": "logs",
    "status": "SUCCEEDED",
    "indices": 2,
    "documents": 40_000,
    "primary_store_bytes": 4_096_000,
    "write_stop": {"stopped_at": 1_800_000_000.0, "seconds": 1.8, "predicted_seconds": 2.5}
    | {"predicted_interval_seconds": [1.5, 4.0]},
}
FAILED = {"domain": "logs", "status": "FAILED", "error": "Unavailable", "cause": "no route"}


def test_people_see_what_the_page_shows(aws: FakeAws, run: Run) -> None:
    aws.report(MOVED)

    said = run("report", "m-1")

    assert said.code == 0
    assert "m-1: SUCCEEDED" in said.out
    assert "From 2026-11-23 20:00:00 UTC to 20" in said.out
    assert "40,000 documents" in said.out
    assert "4.1 MB in primaries" in said.out
    assert "1.8 s write stop" in said.out
    assert "2.5 s (1.5 s to 4.0 s) write stop predicted" in said.out
    assert "See that no client has the address of logs any more" in said.out
    assert "Timeline" in said.out


def test_a_failure_is_said_with_its_cause(aws: FakeAws, run: Run) -> None:
    aws.report(FAILED)

    said = run("report", "m-1")

    assert said.code == 1
    # Once for the migration, and once for its domain.
    assert said.out.count("FAILED\nUnavailable: no route\n") == 2


def test_a_snapshot_that_was_skipped_is_no_failure(aws: FakeAws, run: Run) -> None:
    why = {"error": "SnapshotSkipped", "cause": "the snapshot monday runs"}
    aws.report(failure=why)

    said = run("report", "m-1")

    assert said.code == 0
    assert "m-1: SKIPPED\nSnapshotSkipped: the snapshot monday runs\n" in said.out


def test_programs_get_the_whole_report(aws: FakeAws, run: Run) -> None:
    written = aws.report(MOVED)

    assert run("report", "m-1", "--json").document == written


@pytest.mark.parametrize("options", [[], ["--json"]], ids=str)
def test_the_page_is_written_where_it_is_wanted(
    aws: FakeAws, run: Run, tmp_path: Path, options: list[str]
) -> None:
    written = aws.report(MOVED)
    file = tmp_path / "report.html"

    assert run("report", "m-1", "--html", str(file), *options).code == 0
    assert file.read_text() == report_page.render(written)


def test_a_page_that_cannot_be_written_is_said(aws: FakeAws, run: Run, tmp_path: Path) -> None:
    aws.report(MOVED)
    file = tmp_path / "nowhere" / "report.html"

    said = run("report", "m-1", "--html", str(file))

    assert said.code == 2
    assert f"InvalidInput: --html {file} can't be written: No such file or directory" in said.err


def test_a_plan_has_no_report(aws: FakeAws, run: Run) -> None:
    arn = aws.begin()
    aws.end(arn, output='{"plan": "migrations/m-1/plan.json"}')

    said = run("report", "m-1")

    assert said.code == 3
    assert "m-1 has made a plan alone. What to do: see its plan: `snapferry plan --of m-1`" in (
        said.err
    )


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (
            "RUNNING",
            "the migration m-1 still runs. What to do: see how far it is: `snapferry watch",
        ),
        (
            "ABORTED",
            "was ended from outside. What to do: see what it has changed: `snapferry roll-",
        ),
        ("TIMED_OUT", "was ended from outside"),
        ("FAILED", "there is no record migrations/m-1/report.json"),
    ],
)
def test_a_migration_without_a_report_is_said(
    aws: FakeAws, run: Run, status: str, why: str
) -> None:
    aws.begin()
    aws.end(f"{STATES}:execution:migrate:m-1", status)

    said = run("report", "m-1")

    assert said.code == 3
    assert why in said.err
