import json
from typing import Any

from snapferry import report, rounds
from tests.unit.conftest import Storage

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


def failed(domain: str, cause: str = "no route") -> dict[str, Any]:
    return {"domain": domain, "status": "FAILED", "error": "Unavailable", "cause": cause}


def stored(storage: Storage) -> dict[str, Any]:
    return dict(json.loads(storage.s3.objects["migrations/m-1/report.json"]))


def test_success_is_reported_with_the_verification(storage: Storage) -> None:
    rounds.note(storage.records, "logs", 1, snapshot={"seconds": 1.5})
    storage.records.write("logs/verification", [{"index": "orders", "faults": []}])

    outcome = report.write(storage.records, [MOVED], GIVEN_BACK, "2026-11-23T20:00:00Z")

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
                "verification": [{"index": "orders", "faults": []}],
            }
        ],
    }


def test_the_failure_of_the_only_domain_is_that_of_the_migration(storage: Storage) -> None:
    outcome = report.write(storage.records, [failed("logs", "x" * 1_000)], GIVEN_BACK, "now")

    assert (outcome["status"], outcome["error"]) == ("FAILED", "Unavailable")
    assert outcome["cause"] == "x" * 1_000
    assert stored(storage)["error"] == "Unavailable"


def test_one_failure_among_several_is_named_by_its_domain(storage: Storage) -> None:
    outcome = report.write(storage.records, [MOVED, failed("orders")], GIVEN_BACK, "now")

    assert outcome["error"] == "DomainsFailed"
    assert outcome["cause"] == "1 of 2 domains failed. orders: no route"
    assert [domain["status"] for domain in stored(storage)["domains"]] == ["SUCCEEDED", "FAILED"]
    assert stored(storage)["domains"][1]["verification"] == []


def test_a_hundred_failures_fit_into_a_cause_and_are_whole_in_the_report(storage: Storage) -> None:
    domains = [failed(f"{'d' * 37}{number:03}", "x" * 5_000) for number in range(100)]

    outcome = report.write(storage.records, domains, GIVEN_BACK, "now")

    assert len(outcome["cause"]) <= LONGEST_CAUSE
    assert all(domain["domain"] in outcome["cause"] for domain in domains)
    assert all(len(domain["cause"]) == 5_000 for domain in stored(storage)["domains"])
