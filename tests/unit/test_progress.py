import time
from dataclasses import replace

import pytest

from snapferry import rounds
from snapferry.progress import Progress
from tests.unit.conftest import Events, Storage
from tests.unit.told_metrics import told

HALFWAY = Progress(
    phase="snapshot",
    ended=False,
    elapsed_seconds=10.5,
    bytes_done=1_050,
    bytes_total=2_100,
    bytes_reused=7,
    files_done=3,
    files_total=6,
    shards_done=1,
    shards_total=2,
)


def test_a_look_is_shown_with_rate_and_what_remains(storage: Storage, events: Events) -> None:
    look = HALFWAY.report(storage.records, events.bus, "logs", 2)

    assert look["bytes_per_second"] == 100
    assert look["remaining_seconds"] == 10
    assert look["wait_seconds"] == 5
    assert look["round"] == 2
    item = storage.items["m-1", "progress#logs"]
    assert look.items() - {("wait_seconds", 5)} <= item.items()


def test_a_look_tells_cloudwatch_the_rate(
    storage: Storage, events: Events, capsys: pytest.CaptureFixture[str]
) -> None:
    HALFWAY.report(storage.records, events.bus, "logs", 2)

    assert told(capsys) == [
        {"SnapshotBytesPerSecond": 100, "migration_id": "m-1", "domain": "logs"}
    ]


def test_before_anything_is_copied_nothing_is_predicted(storage: Storage, events: Events) -> None:
    look = replace(HALFWAY, bytes_done=0).report(storage.records, events.bus, "logs", 1)

    assert look["bytes_per_second"] == 0
    assert look["remaining_seconds"] is None


def test_at_the_very_start_there_is_no_rate(storage: Storage, events: Events) -> None:
    look = replace(HALFWAY, elapsed_seconds=0).report(storage.records, events.bus, "logs", 1)

    assert look["bytes_per_second"] == 0


def test_at_the_end_nothing_remains(storage: Storage, events: Events) -> None:
    look = replace(HALFWAY, ended=True, bytes_done=2_100).report(
        storage.records, events.bus, "logs", 1
    )

    assert look["remaining_seconds"] == 0
    assert look["ended"]


def test_the_last_look_is_noted_for_the_report(storage: Storage, events: Events) -> None:
    HALFWAY.report(storage.records, events.bus, "logs", 2)
    assert rounds.copied(storage.records, "logs") == []

    replace(HALFWAY, ended=True).report(storage.records, events.bus, "logs", 2)

    size = {"bytes_new": 2_100, "bytes_reused": 7, "files": 6, "shards": 2}
    [noted] = rounds.copied(storage.records, "logs")
    assert noted["snapshot"].pop("ended_at") == pytest.approx(time.time(), abs=60)
    assert noted == {"round": 2, "snapshot": {"seconds": 10.5} | size}


def test_a_later_look_takes_the_place_of_the_one_before(storage: Storage, events: Events) -> None:
    HALFWAY.report(storage.records, events.bus, "logs", 1)
    replace(HALFWAY, bytes_done=2_000).report(storage.records, events.bus, "logs", 1)

    assert [item["bytes_done"] for item in storage.items.values()] == [2_000]


def test_what_was_shown_of_the_same_is_found_again(storage: Storage, events: Events) -> None:
    assert Progress.shown(storage.records, "logs", "snapshot", 2) is None
    HALFWAY.report(storage.records, events.bus, "logs", 2)

    assert Progress.shown(storage.records, "logs", "snapshot", 2) == replace(
        HALFWAY, elapsed_seconds=10
    )
    assert Progress.shown(storage.records, "logs", "snapshot", 3) is None
    assert Progress.shown(storage.records, "logs", "restore", 2) is None


def test_the_end_of_a_copy_is_told(storage: Storage, events: Events) -> None:
    HALFWAY.report(storage.records, events.bus, "logs", 2)
    for phase in ("snapshot", "restore"):
        replace(HALFWAY, phase=phase, ended=True).report(storage.records, events.bus, "logs", 2)

    assert [event for event, _ in events.fake.told] == ["SnapshotCompleted", "RoundCompleted"]
    for _, detail in events.fake.told:
        assert (detail["migration_id"], detail["domain"], detail["round"]) == ("m-1", "logs", 2)
        assert detail["bytes_new"] == HALFWAY.bytes_total
