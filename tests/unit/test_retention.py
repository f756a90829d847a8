from datetime import UTC, datetime
from typing import Any

import pytest

from snapferry import repositories, retention
from snapferry.errors import SnapshotInProgress
from snapferry.request import DomainJob
from tests.unit.conftest import MakeJob, Side, Storage
from tests.unit.fakes import FakeSnapshot, Fault

NOW = datetime(2026, 11, 30, 2, tzinfo=UTC)
NIGHTS = [f"snapferry-nightly-202611{day}t020000z" for day in range(24, 31)]
OTHERS = [
    "snapferry-monday-logs-1",
    "snapferry-nightly-2-20261101t020000z",
    "snapferry-nightly-by-hand",
    "20261101t020000z",
]


@pytest.fixture
def series(make_job: MakeJob) -> MakeJob:
    def make(**kept: int) -> DomainJob:
        return make_job(
            mode="snapshot_only",
            cutover__gates=[],
            series={"name": "nightly"} | ({"retention": kept} if kept else {}),
        )

    return make


@pytest.fixture
def taken(source: Side, storage: Storage, job: DomainJob) -> dict[str, FakeSnapshot]:
    """The repository with a week's snapshots, and with others'."""
    repositories.register_source(storage.journal, source.client, job)
    snapshots = {name: FakeSnapshot({}, 0, 0) for name in [*NIGHTS, *OTHERS]}
    source.cluster.bucket["snapferry/logs"] = snapshots
    return snapshots


def expire(source: Side, storage: Storage, job: DomainJob) -> int:
    return retention.expire(source.client, storage.records, job, NOW)


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        ({"count": 3}, 3),
        ({"count": 7}, 7),
        ({"count": 100}, 7),
        ({"age_days": 2}, 3),
        ({"age_days": 5, "count": 2}, 2),
        ({"age_days": 1, "count": 6}, 2),
        ({}, 7),
    ],
    ids=str,
)
def test_the_newest_are_kept_and_whatever_is_no_snapshot_of_the_series(
    source: Side,
    storage: Storage,
    taken: dict[str, FakeSnapshot],
    series: MakeJob,
    kept: dict[str, int],
    left: int,
) -> None:
    assert expire(source, storage, series(**kept)) == 7 - left

    assert set(taken) == {*NIGHTS[-left:], *OTHERS}
    assert retention.deleted(storage.records, "logs") == NIGHTS[:-left]


def test_incomplete_ones_do_not_count_and_go_with_those_of_their_time(
    source: Side, storage: Storage, taken: dict[str, FakeSnapshot], series: MakeJob
) -> None:
    for night in (0, 4, 5):
        taken[NIGHTS[night]].doomed = "PARTIAL"

    expire(source, storage, series(count=2))

    assert set(taken) == {*NIGHTS[3:], *OTHERS}


def test_the_newest_complete_one_is_kept_however_old_it_is(
    source: Side, storage: Storage, taken: dict[str, FakeSnapshot], series: MakeJob
) -> None:
    for name in NIGHTS[1:]:
        taken[name].doomed = "FAILED"

    expire(source, storage, series(age_days=1))

    assert set(taken) == {*NIGHTS, *OTHERS}


def test_one_that_runs_is_left_alone(
    source: Side, storage: Storage, taken: dict[str, FakeSnapshot], series: MakeJob
) -> None:
    taken[NIGHTS[0]].unfinished = True

    expire(source, storage, series(count=1))

    assert set(taken) == {NIGHTS[0], NIGHTS[-1], *OTHERS}


def test_another_attempt_goes_on_and_says_all_that_was_done(
    source: Side, storage: Storage, taken: dict[str, FakeSnapshot], series: MakeJob
) -> None:
    refusal: Any = {
        "error": {
            "type": "concurrent_snapshot_execution_exception",
            "reason": "cannot delete snapshot: another snapshot is already running",
        }
    }
    source.cluster.faults = [Fault(f"DELETE .*{NIGHTS[2]}", (503, refusal))]
    with pytest.raises(SnapshotInProgress):
        expire(source, storage, series(count=3))
    assert set(taken) == {*NIGHTS[2:], *OTHERS}

    assert expire(source, storage, series(count=3)) == 4

    assert set(taken) == {*NIGHTS[4:], *OTHERS}
    assert retention.deleted(storage.records, "logs") == NIGHTS[:4]


def test_the_plan_says_from_what_will_be_deleted(series: MakeJob) -> None:
    assert [str(place) for place in retention.foresee(series(count=3))] == [
        "expired snapshots snapferry-nightly-* (source/logs)"
    ]
    assert retention.foresee(series()) == []
