import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pytest

from snapferry import listing, report, rounds
from snapferry.errors import Unavailable
from snapferry.indices import Index
from snapferry.journal import Place, side_of
from snapferry.verification import Verdict
from snapferry.verification.content import Difference
from snapferry.verification.documents import IndexComparison
from snapferry.ways import Slice, Ways
from snapferry_cli.main import parser
from tests.unit.conftest import DESTINATION, Announcements, Events, Storage
from tests.unit.told_metrics import told

type Write = Callable[..., dict[str, Any]]

MOVED: dict[str, Any] = {
    "domain": "logs",
    "status": "SUCCEEDED",
    "indices": 2,
    "documents": 40,
    "primary_store_bytes": 4_096,
    "write_stop": {"stopped_at": 1_800_000_000.0, "seconds": 1.8, "predicted_seconds": 2.5}
    | {"predicted_interval_seconds": [1.5, 4.0]},
}
STARTED_AT = "2026-11-23T20:00:00Z"
NOT_CAUGHT_UP: dict[str, Any] = {"caught_up": [], "by_snapshot": {}, "rounds": []} | {
    "write_stop_steps": [],
    "write_stops_given_up": [],
    "late_indices": [],
}
CREATED = {"created_at_milliseconds": 1}
GIVEN_BACK = {
    "given_back": 4,
    "foreign": [],
    "kept": [],
    "reason": "everything is as it was before",
}
LONGEST_CAUSE = 32_768
COPIED = {"ended_at": 1_799_999_900.0, "seconds": 2.0, "bytes_new": 10, "bytes_reused": 5}
TEMPLATE = {"kind": "index template", "name": "logs", "verdict": "same", "reason": ""}


def failed(domain: str, cause: str = "no route") -> dict[str, Any]:
    return {"domain": domain, "status": "FAILED", "error": "Unavailable", "cause": cause}


def stored(storage: Storage) -> dict[str, Any]:
    return dict(json.loads(storage.s3.objects["migrations/m-1/report.json"]))


@pytest.fixture
def write(storage: Storage, events: Events, announcements: Announcements) -> Write:
    """Writes the report of the migration m-1, everything of which was given back."""

    def call(
        domains: Sequence[dict[str, Any]],
        failure: dict[str, str] | None = None,
        given_back: Mapping[str, Any] | None = GIVEN_BACK,
    ) -> dict[str, Any]:
        return report.write(
            storage.records,
            events.bus,
            announcements.topic,
            domains,
            failure,
            dict(given_back) if given_back is not None else None,
            STARTED_AT,
        )

    return call


def test_success_is_reported_with_what_the_records_say(storage: Storage, write: Write) -> None:
    verdict = {"index": "orders", "source_documents": 20, "faults": []}
    storage.records.write("logs/verification", [verdict])
    storage.records.write("logs/artifacts", [TEMPLATE])

    outcome = write([MOVED])

    assert outcome == {"status": "SUCCEEDED", "report": "migrations/m-1/report.json"}
    written = stored(storage)
    assert (written["migration_id"], written["started_at"]) == ("m-1", STARTED_AT)
    assert (written["status"], written["given_back"]) == ("SUCCEEDED", GIVEN_BACK)
    began, ended = (datetime.fromisoformat(written[name]) for name in ("started_at", "ended_at"))
    assert abs((ended - began).total_seconds() - written["seconds"]) < 2
    [domain] = written["domains"]
    assert MOVED.items() <= domain.items()
    assert domain["catch_up"] == NOT_CAUGHT_UP
    assert (domain["verification"], domain["artifacts"]) == ([verdict], [TEMPLATE])
    assert storage.s3.objects["migrations/m-1/report.html"].startswith(b"<!doctype html>")


def test_each_index_has_a_row(storage: Storage, write: Write) -> None:
    listed = [
        Index("orders", "u1", open=True, shards=2, replicas=1, primary_store_bytes=7, **CREATED),
        Index("users", "u2", open=True, shards=1, replicas=1, primary_store_bytes=5, **CREATED),
    ]
    rounds.note(storage.records, "logs", 1, final=False)
    rounds.note(storage.records, "logs", 2, final=True, snapshot=COPIED, restore=COPIED)
    listing.keep(storage.records, "logs", 2, listed)
    ways = Ways(1, [Slice(["orders"], {"users": "it is new"})])
    ways.keep(storage.records, "logs")
    verdicts = [Verdict("orders", 20, 20, 2, "green", []), Verdict("users", 3, 2, 1, "red", ["a"])]
    storage.records.write("logs/verification", [verdict.record() for verdict in verdicts])

    write([MOVED])

    orders, users = stored(storage)["domains"][0]["index_table"]
    assert orders == {
        "index": "orders",
        "primary_store_bytes": 7,
        "shards": 2,
        "source_documents": 20,
        "destination_documents": 20,
        "health": "green",
        "way": "caught up",
        "reason": None,
        "compared_before": 0,
        "compared_after": 0,
        "written_since": 0,
        "faults": [],
    }
    assert (users["way"], users["reason"], users["faults"]) == ("last snapshot", "it is new", ["a"])


@pytest.mark.parametrize(
    ("noted", "way"),
    [
        ([{"final": False}], "-"),
        ([{"final": False, "snapshot": COPIED}], "snapshot"),
        ([{"final": False, "snapshot": COPIED, "restore": COPIED}], "restored"),
        ([{"snapshot": COPIED, "restore": COPIED}, {"final": True}], "restored"),
        (
            [{"snapshot": COPIED, "restore": COPIED}, {"final": True, "snapshot": COPIED}],
            "restored",
        ),
        ([{"final": True, "snapshot": COPIED, "restore": COPIED}], "last snapshot"),
    ],
)
def test_the_way_of_an_index_is_as_far_as_it_came(
    storage: Storage, noted: list[dict[str, Any]], way: str, write: Write
) -> None:
    listed = Index("orders", "u1", True, 2, 1, primary_store_bytes=7, **CREATED)
    for number, measured in enumerate(noted, start=1):
        rounds.note(storage.records, "logs", number, **measured)
        listing.keep(storage.records, "logs", number, [listed])

    write([failed("logs")])

    [row] = stored(storage)["domains"][0]["index_table"]
    assert row["way"] == way


def test_phases_come_in_their_order(storage: Storage, write: Write) -> None:
    copied = {"seconds": 2.0, "bytes_new": 10, "bytes_reused": 5}
    rounds.note(storage.records, "logs", 1, snapshot=copied | {"ended_at": 1_799_999_900.0})
    rounds.note(storage.records, "logs", 1, restore=copied | {"ended_at": 1_799_999_905.0})
    listing.keep(storage.records, "logs", 1, [])
    storage.records.put(
        "gate#logs#stop_writes",
        gate="stop_writes",
        announced_at=1_799_999_950.0,
        answered_at=1_799_999_999,
    )
    storage.records.put("gate#logs#clients_moved", gate="clients_moved", announced_at=1.0)

    write([MOVED])

    assert [
        (phase["phase"], round(phase["ended_at"] - phase["began_at"], 1))
        for phase in stored(storage)["domains"][0]["timeline"]
    ] == [
        ("round 1: snapshot", 2.0),
        ("round 1: restore", 2.0),
        ("gate: stop writes", 49.0),
        ("write stop", 1.8),
    ]


def test_what_people_have_to_do_is_said(storage: Storage, write: Write) -> None:
    place = Place(DESTINATION, "repository", "r-1")
    template = Place(DESTINATION, "index_template", "t-1")
    storage.journal.note(template, None, {})
    # It is the clients'.
    storage.journal.hand_over([template])
    storage.journal.note(place, None, {"type": "s3"})
    artifacts = [
        {"kind": "role", "name": "r", "verdict": "conflict", "reason": "it differs"},
        {"kind": "saved dashboard", "name": "global/a", "verdict": "create", "reason": ""},
    ]
    storage.records.write("logs/artifacts", artifacts)
    storage.records.write("logs/late-indices", ["orders-3"])

    write([MOVED, failed("users")])

    written = stored(storage)
    assert [(change["key"], change["state"]) for change in written["changes"]] == [
        ("t-1", "handed_over"),
        ("r-1", "open"),
    ]
    assert written["changes"][1] == {
        "side": DESTINATION,
        "kind": "repository",
        "key": "r-1",
        "state": "open",
        "note": "",
    }
    assert written["to_do"] == [
        "Look at what failed: 1 of 2 domains failed. users: no route",
        "Decide about what was left: repository r-1 (destination/search.example.com:9200)",
        "Bring role r of logs over by hand: it differs",
        "See to orders-3 of logs: a client made it or wrote to it at the source after the "
        "hand-over, and nothing moved that. What is new goes by a migration of its own; what was "
        "moved before has to be brought document by document.",
        "Have everybody who has a private tenant in the Dashboards of logs export what is in it "
        "there and import it at the destination: nobody else can.",
        "See that no client has the address of logs any more: it takes writes again, and nothing "
        "moves them.",
    ]


def test_what_was_not_compared_or_can_not_be_told_is_left_to_people(
    storage: Storage, write: Write
) -> None:
    gone = [Difference(f"0-{number}", 0, "missing") for number in (4, 5)]
    index = IndexComparison("orders", [], 7, 1, 1, gone={"0": 3}, gone_examples=gone, untold=[0])
    compared = {
        "began_at": 1_800_000_002.0,
        "ended_at": 1_800_000_003.0,
        "indices": [asdict(index)],
        "not_compared": dict.fromkeys(("users", "roles"), "the destination has it no more"),
    }
    storage.records.write("logs/documents-after", compared)

    write([MOVED])

    assert stored(storage)["to_do"][:2] == [
        "Look at roles, users of logs, whose documents weren't compared after the clients had "
        "moved: the destination has it no more",
        "See whether clients have deleted 3 documents of orders of logs, such as 0-4, 0-5: the "
        "destination lacks them, and it can't be told, since their shards have moved or were "
        "restarted after the cut-over and count deletions anew.",
    ]


def test_what_the_plan_noted_is_said_again(storage: Storage, write: Write) -> None:
    storage.records.write("plan", {"notes": ["limits stay"]})
    storage.records.write("logs/plan", {"destination": "search.example.com:9200"})

    write([MOVED])

    assert stored(storage)["notes"] == ["limits stay"]
    page = storage.s3.objects["migrations/m-1/report.html"].decode()
    assert "limits stay" in page
    assert "logs to search.example.com:9200" in page


def test_a_snapshot_that_was_skipped_is_no_failure(
    storage: Storage,
    events: Events,
    announcements: Announcements,
    write: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    why = {"error": "SnapshotSkipped", "cause": "m-0 runs"}

    outcome = write([], why)

    assert outcome == {"status": "SKIPPED", **why, "report": "migrations/m-1/report.json"}
    written = stored(storage)
    assert (written["status"], written["to_do"]) == ("SKIPPED", [])
    [(event, detail)] = events.fake.told
    assert (event, detail["cause"]) == ("SnapshotSkipped", "m-0 runs")
    assert announcements.messages == []
    # The alarm of a series that is always skipped.
    assert [line["SnapshotsSkipped"] for line in told(capsys) if "SnapshotsSkipped" in line] == [1]


def test_a_snapshot_alone_asks_nothing_of_people(storage: Storage, write: Write) -> None:
    storage.records.write("logs/expired-snapshots", ["snapferry-nightly-20261123t020000z"])
    taken = {name: MOVED[name] for name in MOVED.keys() - {"documents", "write_stop"}}

    write([taken])

    written = stored(storage)
    assert written["to_do"] == []
    [domain] = written["domains"]
    assert domain["expired_snapshots"] == ["snapferry-nightly-20261123t020000z"]


def test_the_page_says_nothing_that_is_not_escaped(storage: Storage, write: Write) -> None:
    write([failed("logs", "<script>alert(1)")])

    page = storage.s3.objects["migrations/m-1/report.html"].decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_the_failure_of_the_only_domain_is_that_of_the_migration(
    storage: Storage, write: Write
) -> None:
    outcome = write([failed("logs", "x" * 1_000)])

    assert (outcome["status"], outcome["error"]) == ("FAILED", "Unavailable")
    assert outcome["cause"] == "x" * 1_000
    assert stored(storage)["error"] == "Unavailable"


def test_one_failure_among_several_is_named_by_its_domain(storage: Storage, write: Write) -> None:
    outcome = write([MOVED, failed("orders")])

    assert outcome["error"] == "DomainsFailed"
    assert outcome["cause"] == "1 of 2 domains failed. orders: no route"
    assert [domain["status"] for domain in stored(storage)["domains"]] == ["SUCCEEDED", "FAILED"]
    assert stored(storage)["domains"][1]["verification"] == []


def test_a_hundred_failures_fit_into_a_cause_and_are_whole_in_the_report(
    storage: Storage, write: Write
) -> None:
    domains = [failed(f"{'d' * 37}{number:03}", "x" * 5_000) for number in range(100)]

    outcome = write(domains)

    assert len(outcome["cause"]) <= LONGEST_CAUSE
    assert all(domain["domain"] in outcome["cause"] for domain in domains)
    assert all(len(domain["cause"]) == 5_000 for domain in stored(storage)["domains"])


def test_what_ended_the_migration_as_a_whole_is_its_failure(
    storage: Storage, events: Events, write: Write
) -> None:
    failure = {"error": "AccessDenied", "cause": "no permissions"}

    outcome = write([], failure, given_back=None)

    assert outcome == failure | {"status": "FAILED", "report": "migrations/m-1/report.json"}
    assert stored(storage)["given_back"] is None
    [(event, detail)] = events.fake.told
    assert event == "MigrationFailed"
    assert detail.items() >= (failure | {"migration_id": "m-1"}).items()


def test_a_redriven_execution_leaves_the_report_of_its_migration(
    storage: Storage, announcements: Announcements, write: Write
) -> None:
    write([failed("logs")])
    failure = {"error": "MigrationEnded", "cause": "it has ended"}

    outcome = write([], failure)

    assert outcome == {"status": "FAILED"} | failure
    assert len(announcements.messages) == 1
    assert stored(storage)["error"] == "Unavailable"


def test_success_is_told(events: Events, write: Write) -> None:
    write([MOVED])

    assert events.fake.told == [
        (
            "MigrationSucceeded",
            {"migration_id": "m-1", "report": "migrations/m-1/report.json", "domains": 1},
        )
    ]


EXECUTION = (
    "https://eu-west-1.console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/"
    "arn:aws:states:eu-west-1:222222222222:execution:snapferry-migrate:m-1"
)


WHERE_TO_LOOK = (
    "\n  snapferry report m-1 --stack snapferry --region eu-west-1\n",
    "s3://records/migrations/m-1/report.html\n",
    EXECUTION,
)


def test_people_are_told_of_success(announcements: Announcements, write: Write) -> None:
    write([MOVED])

    [message] = announcements.messages
    assert message["subject"] == "Snapferry has succeeded: m-1"
    for part in ("The migration m-1 has succeeded.", *WHERE_TO_LOOK):
        assert part in message["message"]


def test_people_are_told_of_a_failure_and_what_to_do(
    announcements: Announcements, write: Write
) -> None:
    write([failed("logs", 'no "route"\nto it')])

    [message] = announcements.messages
    assert message["subject"] == "Snapferry has failed: m-1"
    for part in (
        'The migration m-1 has failed: Unavailable. no "route"\nto it\n',
        "docs/recovery.md",
        "\n  snapferry roll-back m-1 --stack snapferry --region eu-west-1\n",
        *WHERE_TO_LOOK,
    ):
        assert part in message["message"]
    for line in message["message"].splitlines():
        if line.startswith("  snapferry"):
            assert parser().parse_args(shlex.split(line)[1:]).stack == "snapferry"


@pytest.mark.parametrize(
    ("domains", "error", "is_kept", "what_to_do"),
    [
        (["FAILED"], "RestoreFailed", False, "start a migration anew; it goes on"),
        (["FAILED"], "NotGivenBack", False, "start a migration anew; it goes on"),
        (
            ["SUCCEEDED", "FAILED"],
            "DomainsFailed",
            False,
            "start a migration anew with the domains",
        ),
        ([], "AccessDenied", False, "start a migration anew; it goes on"),
        (["FAILED"], "VerificationFailed", True, "the source stays blocked"),
        (["SUCCEEDED", "SUCCEEDED"], "NotGivenBack", False, "don't start it anew"),
    ],
)
def test_nobody_is_told_to_start_anew_where_clients_may_have_moved(
    storage: Storage,
    announcements: Announcements,
    write: Write,
    domains: list[str],
    error: str,
    is_kept: bool,
    what_to_do: str,
) -> None:
    block = Place(side_of("logs"), "write_block", "orders")
    storage.journal.note(block, None, "true")
    if is_kept:
        storage.journal.keep(block.side, {block.kind})

    write(
        [MOVED if status == "SUCCEEDED" else failed("logs") for status in domains],
        {"error": error, "cause": "why"},
    )

    [message] = announcements.messages
    assert what_to_do in message["message"]
    assert ("start a migration anew" in message["message"]) == what_to_do.startswith("start")
    assert "deleted" not in message["message"]


def test_an_event_that_the_bus_does_not_take_is_told_again(events: Events, write: Write) -> None:
    events.fake.refuses = True

    with pytest.raises(Unavailable, match="ThrottlingException"):
        write([MOVED])


def test_a_snapshot_alone_has_neither_documents_nor_a_write_stop(
    storage: Storage, write: Write
) -> None:
    listed = Index("orders", "uuid", True, 1, 1, 2_000, created_at_milliseconds=1)
    listing.keep(storage.records, "logs", 1, [listed])
    snapshot = {"seconds": 1.5, "ended_at": 1_800_000_000, "bytes_new": 9, "bytes_reused": 0}
    rounds.note(storage.records, "logs", 1, snapshot=snapshot)
    snapshotted = {
        "domain": "logs",
        "status": "SUCCEEDED",
        "indices": 1,
        "primary_store_bytes": 2_000,
    }

    outcome = write([snapshotted])

    assert outcome["status"] == "SUCCEEDED"
    assert "orders" in storage.s3.objects["migrations/m-1/report.html"].decode()
