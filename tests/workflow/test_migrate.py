"""The state machine that moves the indices of every domain, down to its grandchildren."""

import re
import threading
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from snapferry.errors import (
    AccessDenied,
    AclRefused,
    BucketDenied,
    InvalidInput,
    LeaseHeld,
    SnapshotFailed,
    SnapshotInProgress,
    SnapshotSkipped,
)
from snapferry.request import DomainJob
from tests.workflow.fake_handlers import Payload, in_turn
from tests.workflow.migration import (
    BULK,
    LAST_BULK,
    NIGHTLY,
    PLAN,
    PREPARATION,
    RESTORE,
    ROLL_BACK,
    SNAPSHOT,
    WRITTEN,
    Migration,
    given_back,
    in_the_way_of_the_bucket,
    request_document,
)


def _failing(domain: str, error: Exception, usual: Any) -> Any:
    """A handler that fails for one domain."""

    def answer(payload: Payload) -> Any:
        if payload["job"]["domain"]["name"] == domain:
            raise error
        return usual(payload)

    return answer


def test_one_domain_with_both_gates(migration: Migration) -> None:
    execution = migration.run("migrate", "logs", snapshots_afterwards="delete")

    assert execution.status == "SUCCEEDED"
    report_key = f"migrations/{migration.migration_id}/report.json"
    assert execution.output == {"status": "SUCCEEDED", "report": report_key}
    handlers = [handler for handler, _ in migration.calls]
    # Beside the gate and the freeze, catching up goes on.
    assert [handler for handler in handlers if handler != "catch_up"] == [
        *["check_input", *PLAN, "begin_migration", "let_source_write", *PREPARATION],
        *[
            *BULK,
            "copy_artifacts",
            "begin_catch_up",
            "verify_documents",
            "look_for_new_indices",
            "check_window",
            "announce_gate",
            "freeze_source",
        ],
        *[*LAST_BULK, "verify_copy", "hand_over_indices", "move_aliases", "announce_gate"],
        *[
            "look_for_late_indices",
            "verify_documents",
            "release_source",
            "delete_snapshots",
            *ROLL_BACK,
            "write_report",
        ],
    ]
    assert handlers.count("catch_up") == 2
    for _, payload in migration.calls:
        if "job" in payload:
            assert DomainJob.model_validate(payload["job"]).migration_id == migration.migration_id

    report = migration.records.read("report")
    assert report["migration_id"] == migration.migration_id
    assert report["given_back"]["given_back"] == 3
    started_at = datetime.fromisoformat(report["started_at"])
    assert abs(started_at - execution.events[0]["timestamp"]) < timedelta(seconds=10)
    [domain] = report["domains"]
    assert (domain["domain"], domain["status"]) == ("logs", "SUCCEEDED")


def test_a_plan_alone_changes_nothing(migration: Migration) -> None:
    execution = migration.run("migrate", "logs", "orders", mode="plan")

    assert (execution.status, execution.output) == ("SUCCEEDED", WRITTEN)
    assert [handler for handler, _ in migration.calls] == [
        *["check_input", "plan_domain", "plan_domain", "write_plan"]
    ]


def test_a_plan_that_nobody_approves_in_time(migration: Migration) -> None:
    usual = migration.handlers["check_input"]

    def check_input(payload: Payload) -> Any:
        checked = usual(payload)
        # Less than a request may ask for, since tests have no minute to wait.
        checked["jobs"][0]["cutover"]["gate_deadline_seconds"] = 1
        return checked

    migration.handlers["check_input"] = check_input
    migration.handlers["announce_gate"] = in_turn(None)

    execution = migration.run("migrate", "logs")

    assert execution.error == "GateNotAnswered"
    assert execution.cause
    assert "nobody answered the gate plan within 1 seconds" in execution.cause
    assert [handler for handler, _ in migration.calls] == [
        *["check_input", *PLAN, *ROLL_BACK, "write_report"]
    ]


def test_a_snapshot_alone_is_proven_and_kept(migration: Migration) -> None:
    execution = migration.run("migrate", "logs", mode="snapshot_only")

    assert execution.status == "SUCCEEDED"
    assert [handler for handler, _ in migration.calls] == [
        *["check_input", *PLAN, "begin_migration", "let_source_write", *PREPARATION],
        *["list_indices", *SNAPSHOT, *ROLL_BACK, "write_report"],
    ]
    [domain] = migration.records.read("report")["domains"]
    assert (domain["status"], domain["indices"]) == ("SUCCEEDED", 2)


def test_a_snapshot_of_a_series_is_followed_by_its_retention(migration: Migration) -> None:
    execution = migration.run("migrate", "logs", **NIGHTLY)

    assert execution.status == "SUCCEEDED"
    assert [handler for handler, _ in migration.calls] == [
        *["check_input", "plan_domain", "write_plan", "begin_migration", "let_source_write"],
        *[*PREPARATION, "list_indices", *SNAPSHOT, "expire_snapshots", *ROLL_BACK, "write_report"],
    ]
    [name] = {payload["job"]["began_at"] for payload in migration.called("expire_snapshots")}
    [checked] = migration.called("check_input")
    assert re.sub(r"[-:]|\.\d+", "", checked["started_at"]).lower() == name


def test_a_series_without_retention_keeps_its_snapshots(migration: Migration) -> None:
    migration.run("migrate", "logs", **NIGHTLY | {"series": {"name": "nightly"}})

    assert len(migration.called("start_snapshot")) == 1
    assert migration.called("expire_snapshots") == []


def test_a_snapshot_of_a_series_that_overlaps_another_run_is_skipped(migration: Migration) -> None:
    migration.handlers["begin_migration"] = in_turn(SnapshotSkipped("m-0 uses the bucket"))

    execution = migration.run("migrate", "logs", **NIGHTLY)

    assert execution.status == "SUCCEEDED"
    assert execution.output["status"] == "SKIPPED"
    assert execution.output["cause"] == "Begin migration: m-0 uses the bucket"
    assert migration.called("start_snapshot") == []
    # It may have taken the lease of the bucket.
    assert [handler for handler, _ in migration.calls][-6:] == [*ROLL_BACK, "write_report"]
    assert [event for event, _ in migration.events.told] == ["SnapshotSkipped"]


@in_the_way_of_the_bucket("the domain's automated snapshot runs")
def test_deleting_expired_snapshots_waits_for_a_running_one_and_for_the_right_to_write(
    migration: Migration, in_the_way: Exception, times: int
) -> None:
    migration.handlers["expire_snapshots"] = in_turn(*[in_the_way] * times, {"deleted": 1})

    execution = migration.run("migrate_domain", **NIGHTLY)

    assert execution.status == "SUCCEEDED"
    assert len(migration.called("expire_snapshots")) == times + 1


def test_a_rehearsal_asks_nothing_of_clients(migration: Migration) -> None:
    execution = migration.run("migrate", "logs", mode="rehearse")

    assert execution.status == "SUCCEEDED"
    assert [handler for handler, _ in migration.calls] == [
        *["check_input", *PLAN, "begin_migration", "let_source_write", *PREPARATION],
        *[*BULK[:-1], "verify_rehearsal", *ROLL_BACK, "write_report"],
    ]
    [domain] = migration.records.read("report")["domains"]
    assert (domain["status"], domain["documents"]) == ("SUCCEEDED", 20)


def test_a_restore_alone_asks_nothing_of_the_source(migration: Migration) -> None:
    execution = migration.run("migrate", "logs", mode="restore_only")

    assert execution.status == "SUCCEEDED"
    assert [handler for handler, _ in migration.calls] == [
        *["check_input", "begin_migration", "let_source_write", "grant_rights"],
        # These two leave the source alone then: tests/unit/test_handlers.py.
        *["register_source_repository", "register_destination_repository", "prove_bucket_access"],
        *[*PLAN, "list_indices", *RESTORE, "verify_restore", *ROLL_BACK, "write_report"],
    ]
    written = migration.records.read("report")
    [domain] = written["domains"]
    assert (domain["restored_from"], domain["documents"]) == ("snapferry-nightly-1", 20)
    assert "without its source" in written["to_do"][0]


def test_a_restore_alone_of_what_is_not_there_gives_back_what_it_took_to_look(
    migration: Migration,
) -> None:
    migration.handlers["plan_domain"] = in_turn(InvalidInput("there is no such snapshot"))

    execution = migration.run("migrate", "logs", mode="restore_only")

    assert (execution.status, execution.error) == ("FAILED", "InvalidInput")
    assert migration.called("start_restore") == []
    assert [handler for handler, _ in migration.calls][-6:] == [*ROLL_BACK, "write_report"]


def test_a_restore_alone_tells_with_its_plan_what_could_not_be_prepared(
    migration: Migration,
) -> None:
    usual = migration.handlers["register_destination_repository"]
    refusal = AccessDenied("no right to register")
    migration.handlers["register_destination_repository"] = _failing("users", refusal, usual)

    migration.run("migrate", "logs", "users", mode="restore_only")

    [written] = migration.called("write_plan")
    assert {outcome["domain"]: outcome["status"] for outcome in written["outcomes"]} == {
        "logs": "PLANNED",
        "users": "FAILED",
    }


REJECTED = {"error": "PlanRejected", "cause": "logs: orders: it is too old. Nothing was changed."}


def test_a_plan_alone_tells_what_cannot_be_moved(migration: Migration) -> None:
    migration.handlers["write_plan"] = in_turn(WRITTEN | REJECTED)

    execution = migration.run("migrate", "logs", mode="plan")

    assert (execution.status, execution.output) == ("SUCCEEDED", WRITTEN | REJECTED)


def test_what_cannot_be_moved_ends_the_migration_before_it_begins(migration: Migration) -> None:
    migration.handlers["write_plan"] = in_turn(WRITTEN | REJECTED)

    execution = migration.run("migrate", "logs")

    assert {"error": execution.error, "cause": execution.cause} == REJECTED
    assert [handler for handler, _ in migration.calls] == [
        *["check_input", "plan_domain", "write_plan"],
        *[*ROLL_BACK, "write_report"],
    ]


def test_a_domain_that_cannot_be_planned_is_told_with_the_others(migration: Migration) -> None:
    migration.handlers["plan_domain"] = _failing(
        "orders", AccessDenied("no rights"), migration.handlers["plan_domain"]
    )

    migration.run("migrate", "logs", "orders")

    [written] = migration.called("write_plan")
    assert written["outcomes"] == [
        {"domain": "logs", "status": "PLANNED"},
        {
            "domain": "orders",
            "status": "FAILED",
            "error": "AccessDenied",
            "cause": "Plan domain: no rights",
        },
    ]


def test_a_plan_that_nobody_has_to_approve(migration: Migration) -> None:
    migration.run("migrate", "logs", cutover={"gates": []})

    handlers = [handler for handler, _ in migration.calls]
    assert handlers[:4] == ["check_input", "plan_domain", "write_plan", "begin_migration"]


def test_one_domain_that_fails(migration: Migration) -> None:
    migration.handlers["check_snapshot"] = in_turn(SnapshotFailed('shard {"a"}[0] is lost'))

    execution = migration.run("migrate", "logs")

    assert execution.status == "FAILED"
    assert execution.error == "SnapshotFailed"
    assert execution.cause == 'Check snapshot: shard {"a"}[0] is lost'
    [domain] = migration.records.read("report")["domains"]
    failure = {
        "domain": "logs",
        "status": "FAILED",
        "error": "SnapshotFailed",
        "cause": 'Check snapshot: shard {"a"}[0] is lost',
    }
    assert failure.items() <= domain.items()
    assert (domain["rounds"], domain["timeline"], domain["index_table"]) == ([], [], [])


def test_a_domain_that_fails_leaves_the_others_running(migration: Migration) -> None:
    migration.handlers["start_snapshot"] = _failing(
        "orders", AccessDenied("no rights"), migration.handlers["start_snapshot"]
    )

    execution = migration.run("migrate", "logs", "orders", "users", cutover={"gates": []})

    assert execution.status == "FAILED"
    assert execution.error == "DomainsFailed"
    assert execution.cause == "1 of 3 domains failed. orders: Start snapshot: no rights"
    outcomes = {
        domain["domain"]: domain["status"] for domain in migration.records.read("report")["domains"]
    }
    assert outcomes == {"logs": "SUCCEEDED", "orders": "FAILED", "users": "SUCCEEDED"}
    moved = {payload["job"]["domain"]["name"] for payload in migration.called("move_aliases")}
    assert moved == {"logs", "users"}


def test_many_failures_fit_into_what_a_state_passes_on(migration: Migration) -> None:
    names = [f"logs-{number}" for number in range(60)]
    migration.handlers["grant_rights"] = in_turn(AccessDenied("no rights, " * 600))

    execution = migration.run("migrate", *names, domains_at_once=40)

    assert execution.error == "DomainsFailed"
    domains = migration.records.read("report")["domains"]
    assert [domain["domain"] for domain in domains] == names
    expected = "Grant rights: no rights"
    assert {domain["cause"][: len(expected)] for domain in domains} == {expected}


def test_domains_go_where_each_of_them_is_to_go(migration: Migration) -> None:
    document = request_document("logs", "orders", "users")
    elsewhere = document["destination"] | {"endpoint": "elsewhere.example.com"}
    document["domains"][1]["destination"] = elsewhere

    execution = migration.state_machines.run("migrate", document, migration.migration_id)

    assert execution.status == "SUCCEEDED"
    destinations = {
        "logs": "search.example.com:9200",
        "orders": "elsewhere.example.com",
        "users": "search.example.com:9200",
    }
    for handler in ("grant_rights", "register_destination_repository", *RESTORE):
        assert {
            payload["job"]["domain"]["name"]: payload["job"]["destination"]["endpoint"]
            for payload in migration.called(handler)
        } == destinations


@pytest.mark.parametrize("handler", ["grant_rights", "list_indices"])
def test_domains_are_prepared_and_moved_as_many_at_once_as_is_wanted(
    migration: Migration, handler: str
) -> None:
    usual = migration.handlers[handler]
    pair = threading.Barrier(2, timeout=20)
    seen, inside, at_once = set[str](), list[str](), list[int]()

    def answer(payload: Payload) -> Any:
        domain = payload["job"]["domain"]["name"]
        if domain not in seen:
            seen.add(domain)
            inside.append(domain)
            at_once.append(len(inside))
            pair.wait()
            time.sleep(0.5)  # A third one would come in meanwhile.
            inside.remove(domain)
        return usual(payload)

    migration.handlers[handler] = answer

    execution = migration.run(
        "migrate", "logs", "orders", "users", "sales", domains_at_once=2, cutover={"gates": []}
    )

    assert execution.status == "SUCCEEDED"
    assert max(at_once) == 2


def test_where_one_domain_is_moved_at_once_they_go_in_their_order(migration: Migration) -> None:
    migration.handlers["grant_rights"] = in_turn(AccessDenied("no rights"))

    migration.run("migrate", "logs", "orders", "users", domains_at_once=1)

    domains = [payload["job"]["domain"]["name"] for payload in migration.called("grant_rights")]
    assert domains == ["logs", "orders", "users"]


def test_a_domain_that_cannot_be_prepared_leaves_the_others_running(migration: Migration) -> None:
    migration.handlers["register_destination_repository"] = _failing(
        "orders", AccessDenied("no rights"), migration.handlers["register_destination_repository"]
    )

    execution = migration.run("migrate", "logs", "orders", "users", cutover={"gates": []})

    assert execution.error == "DomainsFailed"
    assert execution.cause == (
        "1 of 3 domains failed. orders: Register destination repository: no rights"
    )
    moved = {payload["job"]["domain"]["name"] for payload in migration.called("move_aliases")}
    assert moved == {"logs", "users"}
    listed = {payload["job"]["domain"]["name"] for payload in migration.called("list_indices")}
    assert listed == {"logs", "users"}


ACL = {
    "bucket": {
        "name": "company-migration",
        "region": "eu-west-1",
        "access": {"role_arn": "arn:aws:iam::222222222222:role/SnapferryBucketAccess"},
    },
    "cutover": {"gates": []},
}


TURN = ["let_source_write", "start_snapshot", "let_destination_read", "start_restore"]


def ways(migration: Migration, handler: str) -> list[str]:
    """The ways of the jobs that a handler was given."""
    return [
        (payload["job"] if "job" in payload else payload["jobs"][0])["way"]
        for payload in migration.called(handler)
    ]


def test_a_bucket_that_needs_its_acl_is_tried_by_it(migration: Migration) -> None:
    migration.handlers["prove_bucket_access"] = lambda payload: {
        "way": "acl" if payload["job"]["domain"]["name"] == "orders" else payload["job"]["way"]
    }

    execution = migration.run("migrate", "logs", "orders", **ACL)

    assert execution.status == "SUCCEEDED"
    # All domains go by the ACL then, one after the other.
    assert sorted(ways(migration, "prove_bucket_access")) == ["acl", "acl", "policy", "policy"]
    assert set(ways(migration, "list_indices")) == {"acl"}
    moved = [payload["job"]["domain"]["name"] for payload in migration.called("start_snapshot")]
    assert moved == ["logs", "logs", "orders", "orders"]
    # Before each snapshot the source is let write, before each restore the destination is let read.
    turns = [handler for handler, _ in migration.calls if handler in {*TURN}]
    assert turns == ["let_source_write"] * 2 + 4 * TURN


@pytest.mark.parametrize("refusal", [AclRefused("no ACLs"), BucketDenied("no rights")])
def test_a_bucket_that_refuses_the_registration_is_proven_all_the_same(
    migration: Migration, refusal: Exception
) -> None:
    migration.handlers["register_source_repository"] = in_turn(refusal, {})
    migration.handlers["prove_bucket_access"] = in_turn({"way": "acl"})

    execution = migration.run("migrate", "logs", **ACL)

    assert execution.status == "SUCCEEDED"
    assert ways(migration, "register_source_repository") == ["policy", "acl"]


def test_the_proof_lets_another_snapshot_of_the_domain_end_first(migration: Migration) -> None:
    in_the_way = [SnapshotInProgress("the domain's automated snapshot runs")] * 10
    migration.handlers["prove_bucket_access"] = in_turn(*in_the_way, {"way": "policy"})

    execution = migration.run("migrate", "logs")

    assert execution.status == "SUCCEEDED"
    assert len(migration.called("prove_bucket_access")) == 11


def test_snapshots_are_deleted_by_a_source_that_may_write_again(migration: Migration) -> None:
    migration.handlers["prove_bucket_access"] = in_turn({"way": "acl"})

    execution = migration.run("migrate", "logs", **ACL, snapshots_afterwards="delete")

    assert execution.status == "SUCCEEDED"
    called = [handler for handler, _ in migration.calls]
    assert called[called.index("delete_snapshots") - 1] == "let_source_write"


def test_a_migration_that_may_not_begin_gives_back_what_it_has_taken(migration: Migration) -> None:
    migration.handlers["begin_migration"] = in_turn(LeaseHeld("the bucket b is in use by m-0"))

    execution = migration.run("migrate", "logs")

    assert (execution.error, execution.cause) == (
        "LeaseHeld",
        "Begin migration: the bucket b is in use by m-0",
    )
    assert [handler for handler, _ in migration.calls] == [
        *["check_input", *PLAN, "begin_migration"],
        *ROLL_BACK,
        "write_report",
    ]
    assert migration.records.read("report")["error"] == "LeaseHeld"
    assert [event for event, _ in migration.events.told] == ["MigrationFailed"]
    [message] = migration.announcements.messages
    assert "LeaseHeld. Begin migration: the bucket b is in use by m-0" in message["message"]


def test_a_failure_is_told_though_something_is_left_besides(migration: Migration) -> None:
    migration.handlers["begin_migration"] = in_turn(LeaseHeld("in use by m-0"))
    migration.handlers["stop_executions"] = in_turn(AccessDenied("no rights"))

    execution = migration.run("migrate", "logs")

    assert (execution.error, execution.cause) == (
        "LeaseHeld",
        "Begin migration: in use by m-0. Besides, Stop executions: no rights",
    )
    assert migration.records.read("report")["cause"] == execution.cause


def test_a_failure_is_told_though_its_report_is_missing(migration: Migration) -> None:
    migration.handlers["begin_migration"] = in_turn(LeaseHeld("in use by m-0"))
    migration.handlers["write_report"] = in_turn(AccessDenied("no rights"))

    execution = migration.run("migrate", "logs")

    assert (execution.error, execution.cause) == (
        "LeaseHeld",
        "Begin migration: in use by m-0. Besides, Write report: no rights",
    )


def test_a_success_that_leaves_something_is_a_failure(migration: Migration) -> None:
    migration.handlers["end_migration"] = in_turn(AccessDenied("no rights"))

    execution = migration.run("migrate", "logs", cutover={"gates": []})

    assert (execution.error, execution.cause) == ("AccessDenied", "End migration: no rights")


def test_changes_of_others_are_reported(migration: Migration) -> None:
    migration.handlers["give_back_changes"] = in_turn(given_back(foreign=["someone was here"]))

    migration.run("migrate", "logs", cutover={"gates": []})

    assert migration.records.read("report")["given_back"]["foreign"] == ["someone was here"]


def test_a_child_execution_that_somebody_stops(migration: Migration) -> None:
    def stop(_: Payload) -> Any:
        migration.state_machines.stop_running("migrate_domain")
        return {"indices": 1, "primary_store_bytes": 1}

    migration.handlers["list_indices"] = stop

    execution = migration.run("migrate", "logs")

    assert execution.status == "FAILED"
    assert execution.error == "TaskFailed"
    assert execution.cause == "Migrate domain: ABORTED"
    assert migration.records.read("report")["domains"][0]["status"] == "FAILED"


@pytest.mark.parametrize("jobs", [{}, {"jobs": "none", "domains_at_once": 1}])
def test_jobs_that_are_no_list(migration: Migration, jobs: dict[str, Any]) -> None:
    migration.handlers["check_input"] = in_turn(jobs)

    execution = migration.run("migrate", "logs")

    assert execution.status == "FAILED"
    assert execution.error
    assert execution.cause
    assert "register_source_repository" not in dict(migration.calls)
