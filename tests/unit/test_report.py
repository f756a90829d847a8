import json
from typing import Any

import pytest

from snapferry import report, rounds
from snapferry.errors import Unavailable
from tests.unit.conftest import Events, Storage

MOVED = {"domain": "logs", "status": "SUCCEEDED", "indices": 2, "documents": 40}
NOT_CAUGHT_UP: dict[str, Any] = {"caught_up": [], "by_snapshot": {}, "rounds": []} | {
    "write_stop_steps": []
}
GIVEN_BACK = {
    "given_back": 4,
    "foreign": [],
    "kept": [],
    "reason": "everything is as it was before",
}
LONGEST_CAUSE = 32_768
TEMPLATE = {"kind": "index template", "name": "logs", "verdict": "same", "reason": ""}


def failed(domain: str, cause: str = "no route") -> dict[str, Any]:
    return {"domain": domain, "status": "FAILED", "error": "Unavailable", "cause": cause}


def stored(storage: Storage) -> dict[str, Any]:
    return dict(json.loads(storage.s3.objects["migrations/m-1/report.json"]))


def test_success_is_reported_with_the_verification(storage: Storage, events: Events) -> None:
    rounds.note(storage.records, "logs", 1, snapshot={"seconds": 1.5})
    storage.records.write("logs/artifacts", [TEMPLATE])
    storage.records.write("logs/verification", [{"index": "orders", "faults": []}])

    outcome = report.write(
        storage.records, events.bus, [MOVED], None, GIVEN_BACK, "2026-11-23T20:00:00Z"
    )

    assert outcome == {"status": "SUCCEEDED", "report": "migrations/m-1/report.json"}
    assert stored(storage) == {
        "migration_id": "m-1",
        "started_at": "2026-11-23T20:00:00Z",
        "status": "SUCCEEDED",
        "given_back": GIVEN_BACK,
        "domains": [
            MOVED
            | {
                "rounds": [{"round": 1, "snapshot": {"seconds": 1.5}}],
                "catch_up": NOT_CAUGHT_UP,
                "artifacts": [TEMPLATE],
                "verification": [{"index": "orders", "faults": []}],
            }
        ],
    }


def test_the_failure_of_the_only_domain_is_that_of_the_migration(
    storage: Storage, events: Events
) -> None:
    outcome = report.write(
        storage.records, events.bus, [failed("logs", "x" * 1_000)], None, GIVEN_BACK, "now"
    )

    assert (outcome["status"], outcome["error"]) == ("FAILED", "Unavailable")
    assert outcome["cause"] == "x" * 1_000
    assert stored(storage)["error"] == "Unavailable"


def test_one_failure_among_several_is_named_by_its_domain(storage: Storage, events: Events) -> None:
    outcome = report.write(
        storage.records, events.bus, [MOVED, failed("orders")], None, GIVEN_BACK, "now"
    )

    assert outcome["error"] == "DomainsFailed"
    assert outcome["cause"] == "1 of 2 domains failed. orders: no route"
    assert [domain["status"] for domain in stored(storage)["domains"]] == ["SUCCEEDED", "FAILED"]
    assert stored(storage)["domains"][1]["verification"] == []


def test_a_hundred_failures_fit_into_a_cause_and_are_whole_in_the_report(
    storage: Storage, events: Events
) -> None:
    domains = [failed(f"{'d' * 37}{number:03}", "x" * 5_000) for number in range(100)]

    outcome = report.write(storage.records, events.bus, domains, None, GIVEN_BACK, "now")

    assert len(outcome["cause"]) <= LONGEST_CAUSE
    assert all(domain["domain"] in outcome["cause"] for domain in domains)
    assert all(len(domain["cause"]) == 5_000 for domain in stored(storage)["domains"])


def test_what_ended_the_migration_as_a_whole_is_its_failure(
    storage: Storage, events: Events
) -> None:
    failure = {"error": "AccessDenied", "cause": "no permissions"}

    outcome = report.write(storage.records, events.bus, [], failure, None, "now")

    assert outcome == failure | {"status": "FAILED", "report": "migrations/m-1/report.json"}
    assert stored(storage)["given_back"] is None
    [(event, detail)] = events.fake.told
    assert event == "MigrationFailed"
    assert detail.items() >= (failure | {"migration_id": "m-1"}).items()


def test_a_redriven_execution_leaves_the_report_of_its_migration(
    storage: Storage, events: Events
) -> None:
    report.write(storage.records, events.bus, [failed("logs")], None, GIVEN_BACK, "now")
    failure = {"error": "MigrationEnded", "cause": "it has ended"}

    outcome = report.write(storage.records, events.bus, [], failure, GIVEN_BACK, "now")

    assert outcome == {"status": "FAILED"} | failure
    assert stored(storage)["error"] == "Unavailable"


def test_success_is_told(storage: Storage, events: Events) -> None:
    report.write(storage.records, events.bus, [MOVED], None, GIVEN_BACK, "now")

    assert events.fake.told == [
        (
            "MigrationSucceeded",
            {"migration_id": "m-1", "report": "migrations/m-1/report.json", "domains": 1},
        )
    ]


def test_an_event_that_the_bus_does_not_take_is_told_again(
    storage: Storage, events: Events
) -> None:
    events.fake.refuses = True

    with pytest.raises(Unavailable, match="ThrottlingException"):
        report.write(storage.records, events.bus, [MOVED], None, GIVEN_BACK, "now")
