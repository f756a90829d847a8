"""The state machine that moves the indices of one domain."""

import json
import threading
from collections import Counter
from typing import Any

import pytest

from snapferry.errors import (
    AccessDenied,
    OutsideWindow,
    RestoreFailed,
    SnapshotFailed,
    SnapshotInProgress,
    SourceChanged,
    Unavailable,
    VerificationFailed,
)
from snapferry.request import DomainJob
from tests.workflow.fake_handlers import Payload, in_turn
from tests.workflow.migration import (
    BULK,
    CAUGHT_UP,
    FROZEN,
    LAST_BULK,
    RESTORE,
    SNAPSHOT,
    Migration,
    caught_up_last,
    in_the_way_of_the_bucket,
    listed,
)


def _handlers(migration: Migration) -> list[str]:
    return [handler for handler, _ in migration.calls]


@pytest.mark.parametrize("rounds", [1, pytest.param(2, marks=pytest.mark.exhaustive), 3])
def test_rounds(migration: Migration, rounds: int) -> None:
    migration.handlers["list_indices"] = in_turn(
        *(listed(number, for_snapshot=number) for number in range(1, 9))
    )

    migration.handlers["weigh_another_round"] = in_turn({"pays": True})
    migration.handlers["catch_up_last"] = in_turn(caught_up_last(0, by_snapshot=rounds + 1))

    execution = migration.run(
        "migrate_domain", cutover={"rounds": rounds, "gates": [], "catch_up": False}
    )

    assert execution.status == "SUCCEEDED"
    last = rounds + 1
    # However many rounds there were: a hundred of these have to fit into one output.
    assert execution.output == {
        "domain": "logs",
        "status": "SUCCEEDED",
        "indices": last,
        "documents": 20,
        "primary_store_bytes": 1000 * last,
        "aliases": 1,
        "caught_up": 0,
        "write_stop": {
            "stopped_at": 1_800_000_000.25,
            "predicted_seconds": 2.5,
            "predicted_interval_seconds": [1.5, 4],
            "seconds": 1.8,
        },
    }
    assert _handlers(migration) == [
        # After as many as are wanted at most nothing is weighed.
        *(BULK * rounds)[:-1],
        *["copy_artifacts", "check_window", "freeze_source"],
        *LAST_BULK,
        *["verify_copy", "hand_over_indices", "move_aliases", "verify_documents", "release_source"],
    ]
    for handlers in (
        ("list_indices", "catch_up_last"),
        *((handler,) for handler in (*SNAPSHOT, "start_restore", "check_restore")),
    ):
        assert [payload["round"] for payload in migration.called(*handlers)] == [
            *range(1, last + 1)
        ]
    # While clients wait, the check stays until the end.
    for check in ("check_snapshot", "check_restore"):
        stays = [payload["hold_seconds"] for payload in migration.called(check)]
        assert stays == [5] * rounds + [600]


@pytest.mark.parametrize(
    ("begun", "left", "catching_up", "last"),
    [
        # All are caught up: nothing is copied by a snapshot while writes are stopped.
        (3, 0, ["catch_up"], []),
        # Some are new, or have to go by a snapshot anyway.
        (2, 1, ["catch_up"], [*SNAPSHOT, *RESTORE, "verify_copy"]),
        # None qualifies.
        (0, 3, [], [*SNAPSHOT, *RESTORE, "verify_copy"]),
    ],
)
def test_what_is_caught_up_needs_no_last_snapshot(
    migration: Migration, begun: int, left: int, catching_up: list[str], last: list[str]
) -> None:
    migration.handlers["list_indices"] = in_turn(listed(3, for_snapshot=3))
    migration.handlers["begin_catch_up"] = in_turn(
        {"caught_up": begun, "by_snapshot": 3 - begun, "slices": 1}
    )
    migration.handlers["catch_up_last"] = in_turn(caught_up_last(3 - left, by_snapshot=left))

    execution = migration.run("migrate_domain", cutover={"gates": []})

    assert execution.status == "SUCCEEDED"
    # Beside the freeze catching up goes on, so these two come in any order.
    beside = {"check_window", "freeze_source"}
    assert [handler for handler in _handlers(migration) if handler not in beside] == [
        *BULK,
        "copy_artifacts",
        "begin_catch_up",
        *(["verify_documents"] if begun else []),
        *catching_up,
        "look_for_new_indices",
        *catching_up,
        *["catch_up_last", *last],
        *["hand_over_indices", "move_aliases", "verify_documents", "release_source"],
    ]
    assert len(migration.called("freeze_source")) == 1
    assert [payload["until"] for payload in migration.called("catch_up")] == [
        "lag fits",
        "writes stop",
    ][: 2 * len(catching_up)]
    assert execution.output["caught_up"] == 3 - left


def test_policies_are_attached_where_they_are_wanted_and_only_in_the_end(
    migration: Migration,
) -> None:
    execution = migration.run(
        "migrate_domain", cutover={"gates": []}, artifacts={"include": ["index_policies"]}
    )

    assert execution.status == "SUCCEEDED"
    assert [payload["moved"] for payload in migration.called("copy_artifacts")] == [False, True]
    assert _handlers(migration)[-3:] == ["verify_documents", "copy_artifacts", "release_source"]


def test_people_are_asked_anew_where_clients_still_make_indices_at_the_source(
    migration: Migration,
) -> None:
    migration.handlers["look_for_late_indices"] = in_turn({"late": 1}, {"late": 0})

    execution = migration.run("migrate_domain", cutover={"gates": ["clients_moved"]})

    assert execution.status == "SUCCEEDED"
    assert _handlers(migration)[-6:] == [
        *["announce_gate", "look_for_late_indices"] * 2,
        *["verify_documents", "release_source"],
    ]
    assert len(migration.called("move_aliases")) == 1


def test_a_failure_beside_the_gate_is_none_yet(migration: Migration) -> None:
    def catch_up(payload: Payload) -> Any:
        if payload["until"] == "writes stop":
            raise AccessDenied("no rights")
        return CAUGHT_UP

    migration.handlers["catch_up"] = catch_up

    execution = migration.run("migrate_domain", cutover={"gates": []})

    assert execution.status == "SUCCEEDED"
    assert len(migration.called("catch_up_last")) == 1


def test_every_handler_gets_the_whole_job(migration: Migration) -> None:
    changes: dict[str, Any] = {
        "bucket": {"name": "company-migration", "region": "eu-west-1", "base_path": "a/b"},
        "cutover": {"rounds": 1, "gates": ["clients_moved"], "gate_deadline_seconds": 60},
        "snapshots_afterwards": "delete",
    }

    execution = migration.run("migrate_domain", **changes)

    assert execution.status == "SUCCEEDED"
    job = migration.job(**changes)
    for _, payload in migration.calls:
        assert payload["job"] == job
        assert DomainJob.model_validate(payload["job"]).base_path == "a/b/logs"
    [token] = [payload["token"] for payload in migration.called("announce_gate")]
    assert {
        handler: {
            name: value for name, value in payload.items() if name not in ("job", "entered_at")
        }
        for handler, payload in migration.calls
    } == {
        "list_indices": {"round": 1},
        "start_snapshot": {"round": 2},
        "check_snapshot": {"round": 2, "snapshot": "snapferry-1", "hold_seconds": 600},
        "lift_restore_limits": {},
        "copy_artifacts": {"moved": False},
        "begin_catch_up": {"round": 1, "step": "begin_catch_up"},
        "catch_up": {"until": "writes stop", "slice": 0},
        "look_for_new_indices": {"round": 1, "step": "look_for_new_indices"},
        "check_window": {"round": 1, "step": "check_window"},
        "freeze_source": {"round": 1, "step": "freeze_source"},
        "catch_up_last": {"round": 2, "step": "catch_up_last"},
        "release_source": {},
        "start_restore": {"round": 2},
        "check_restore": {"round": 2, "started_at": 1_800_000_000.25, "hold_seconds": 600},
        "give_back_restore_limits": {},
        "verify_copy": {"round": 2, "step": "verify_copy"},
        "verify_documents": {"round": 2, "moment": "after"},
        "hand_over_indices": {"round": 2, "step": "hand_over_indices"},
        "move_aliases": {"round": 2, "step": "move_aliases"},
        "announce_gate": {"gate": "clients_moved", "token": token},
        "look_for_late_indices": {"round": 2, "step": "look_for_late_indices"},
        "delete_snapshots": {"rounds": 2},
    }


def test_documents_are_compared_call_by_call_before_and_after(migration: Migration) -> None:
    more, ended = ({"ended": done, "documents": 20} for done in (False, True))
    migration.handlers["verify_documents"] = in_turn(more, ended, more, more, ended)

    execution = migration.run("migrate_domain", cutover={"gates": []})

    assert execution.status == "SUCCEEDED"
    assert [
        (payload["moment"], payload["round"]) for payload in migration.called("verify_documents")
    ] == [("before", 1)] * 2 + [("after", 2)] * 3


def test_a_quick_verification_compares_no_documents(migration: Migration) -> None:
    execution = migration.run("migrate_domain", cutover={"gates": []}, verification="quick")

    assert execution.status == "SUCCEEDED"
    assert migration.called("verify_documents") == []
    assert len(migration.called("verify_copy")) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_documents_that_differ_end_it_and_leave_the_source_as_it_is(
    migration: Migration, moment: str
) -> None:
    def verify(payload: Payload) -> Any:
        if payload["moment"] == moment:
            raise VerificationFailed("orders: document 7 is missing")
        return {"ended": True, "documents": 20}

    migration.handlers["verify_documents"] = verify

    execution = migration.run("migrate_domain", cutover={"gates": []})

    assert (execution.status, execution.error) == ("FAILED", "VerificationFailed")
    state = "Verify restored documents" if moment == "before" else "Verify documents"
    assert execution.cause == f"{state}: orders: document 7 is missing"
    assert bool(migration.called("freeze_source")) == (moment == "after")
    assert not migration.called("release_source")


@pytest.mark.parametrize(
    ("gates", "states"),
    [
        (["stop_writes"], ["Wait until writes stop"]),
        (["clients_moved"], ["Wait until clients moved"]),
    ],
)
def test_gates(migration: Migration, gates: list[str], states: list[str]) -> None:
    execution = migration.run("migrate_domain", cutover={"gates": gates})

    assert execution.status == "SUCCEEDED"
    assert [state for state in execution.states if state.startswith("Wait until")] == states
    assert {payload["gate"] for payload in migration.called("announce_gate")} == set(gates)


@pytest.mark.parametrize(
    ("gate", "state", "remedy"),
    [
        (
            "stop_writes",
            "Wait until writes stop",
            "start the migration again, or give cutover.gate_deadline_seconds more time",
        ),
        (
            "clients_moved",
            "Wait until clients moved",
            # It is too late for that.
            "the indices were handed over by then, so the source stays blocked: point the clients "
            "to the destination, or see After the point of no return in docs/roll-back.md",
        ),
    ],
)
def test_a_gate_that_nobody_answers(
    migration: Migration, gate: str, state: str, remedy: str
) -> None:
    migration.handlers["announce_gate"] = in_turn(None)
    job = migration.job(cutover={"gates": [gate]})
    # Less than a request may ask for, since tests have no minute to wait.
    job["cutover"]["gate_deadline_seconds"] = 1

    execution = migration.state_machines.run("migrate_domain", {"job": job}, migration.migration_id)

    assert execution.status == "FAILED"
    assert execution.error == "GateNotAnswered"
    assert execution.cause == (
        f"{state}: nobody answered the gate {gate} within 1 seconds; {remedy}"
    )
    assert not migration.called("freeze_source" if gate == "stop_writes" else "release_source")


@pytest.mark.parametrize(
    ("answer", "error", "cause"),
    [
        ({"error": "NotToday", "cause": "the shop is busy"}, "NotToday", "the shop is busy"),
        ({}, "TaskFailed", "no cause was given"),
    ],
)
def test_a_gate_that_somebody_refuses(
    migration: Migration, answer: dict[str, str], error: str, cause: str
) -> None:
    def refuse(payload: Payload) -> None:
        migration.state_machines.client.send_task_failure(taskToken=payload["token"], **answer)

    migration.handlers["announce_gate"] = refuse

    execution = migration.run("migrate_domain")

    assert execution.status == "FAILED"
    assert execution.error == error
    assert execution.cause == f"Wait until writes stop: {cause}"
    assert not migration.called("freeze_source")


@pytest.mark.parametrize(
    ("handler", "error", "state"),
    [
        ("start_snapshot", AccessDenied("no rights"), "Start snapshot"),
        ("check_snapshot", SnapshotFailed('the snapshot {"a"} is "PARTIAL"'), "Check snapshot"),
        ("check_restore", RestoreFailed("shard a[0]\nis lost"), "Check restore"),
        ("catch_up", AccessDenied("no rights"), "Catch up"),
    ],
)
def test_what_failed_in_a_child_execution_is_told_in_plain_text(
    migration: Migration, handler: str, error: Exception, state: str
) -> None:
    migration.handlers[handler] = in_turn(error)

    execution = migration.run("migrate_domain")

    assert execution.status == "FAILED"
    assert execution.error == type(error).__name__
    assert execution.cause == f"{state}: {error}"
    assert _handlers(migration)[-2:] == [handler, "unblock_source"]


@pytest.mark.parametrize(
    ("child", "handler", "state"),
    [
        ("snapshot", "check_snapshot", "Take snapshot"),
        ("restore", "check_restore", "Restore snapshot"),
    ],
)
def test_a_child_execution_that_somebody_stops(
    migration: Migration, child: str, handler: str, state: str
) -> None:
    def stop(_: Payload) -> Any:
        migration.state_machines.stop_running(child)
        return migration.look(child, ended=False, wait_seconds=1800)

    migration.handlers[handler] = stop

    execution = migration.run("migrate_domain")

    assert execution.status == "FAILED"
    assert execution.error == "TaskFailed"
    assert execution.cause == f"{state}: ABORTED"
    assert _handlers(migration)[-2:] == [handler, "unblock_source"]


@in_the_way_of_the_bucket("the repository is in use")
def test_deleting_waits_for_a_running_snapshot_and_for_the_right_to_write(
    migration: Migration, in_the_way: Exception, times: int
) -> None:
    migration.handlers["delete_snapshots"] = in_turn(*[in_the_way] * times, {"deleted": 2})

    execution = migration.run("migrate_domain", snapshots_afterwards="delete")

    assert execution.status == "SUCCEEDED"
    assert len(migration.called("delete_snapshots")) == times + 1


def test_payloads_are_json_of_the_input(migration: Migration) -> None:
    """Texts that look like expressions or hold quotes arrive as they are."""
    settings = {"a": "{% $b %}", "c": 'quo"te\\', "d": "", "é": "\n"}
    destination = {
        "endpoint": "search.example.com:9200",
        "secret_arn": "arn:aws:secretsmanager:eu-west-1:222222222222:secret:snapferry/a",
        "repository_settings": settings,
    }

    execution = migration.run("migrate_domain", cutover={"gates": []}, destination=destination)

    assert execution.status == "SUCCEEDED"
    for _, payload in migration.calls:
        job = (payload.get("jobs") or [payload["job"]])[0]
        assert json.dumps(job["destination"]["repository_settings"]) == json.dumps(settings)


def test_writes_stop_inside_the_window_only(migration: Migration) -> None:
    migration.handlers["check_window"] = in_turn(
        {"wait_seconds": 7_200}, {"wait_seconds": 0}, {"wait_seconds": 0}
    )
    # The first answer of the gate comes too late.
    migration.handlers["freeze_source"] = in_turn(OutsideWindow("too late"), FROZEN)

    execution = migration.run("migrate_domain", cutover={"gates": ["stop_writes"]})

    assert execution.status == "SUCCEEDED"
    stopping = ("Check window", "Wait for the window", "Wait until writes stop", "Freeze source")
    assert [state for state in execution.states if state in stopping] == [
        *("Check window", "Wait for the window"),
        *("Check window", "Wait until writes stop", "Freeze source"),
        *("Check window", "Wait until writes stop", "Freeze source"),
    ]


CHANGED = SourceChanged("logs-7: made")
# What a round copies and catches up, until people are asked.
UNTIL_ASKED = ["begin_catch_up", "catch_up", "look_for_new_indices"]


@pytest.mark.parametrize(
    ("changed", "stopped"),
    [
        ("look_for_new_indices", []),
        ("catch_up_last", ["freeze_source", "catch_up_last"]),
        ("verify_copy", ["freeze_source", *LAST_BULK, "verify_copy"]),
        ("hand_over_indices", ["freeze_source", *LAST_BULK, "verify_copy", "hand_over_indices"]),
    ],
)
@pytest.mark.parametrize("for_snapshot", [1, 0])
def test_what_changed_after_all_is_copied_by_another_round(
    migration: Migration, changed: str, stopped: list[str], for_snapshot: int
) -> None:
    usual = migration.handlers[changed]
    outcome = {"new": 1} if changed == "look_for_new_indices" else CHANGED
    migration.handlers[changed] = in_turn(outcome, usual({}))
    migration.handlers["list_indices"] = in_turn(listed(2, 2), listed(3, for_snapshot))

    execution = migration.run(
        "migrate_domain", cutover={"gates": ["stop_writes"]}, verification="quick"
    )

    assert (execution.status, execution.cause) == ("SUCCEEDED", None)
    # Beside the gate, in any order.
    beside = ("check_window", "announce_gate")
    called = [call for call in migration.calls if call[1].get("until") != "writes stop"]
    assert [handler for handler, _ in called if handler not in beside] == [
        *BULK,
        *["copy_artifacts", *UNTIL_ASKED, *stopped, "return_source_to_service"],
        *(BULK if for_snapshot else ["list_indices"]),
        *(["copy_artifacts"] if for_snapshot else []),
        *[*UNTIL_ASKED, "freeze_source", *LAST_BULK, "verify_copy", "hand_over_indices"],
        *["move_aliases", "release_source"],
    ]
    assert len(migration.called("announce_gate")) == (2 if stopped else 1)
    rounds = [payload["round"] for _, payload in migration.calls if "round" in payload]
    assert rounds == sorted(rounds)
    assert rounds[-1] == (4 if stopped else 3)


def test_the_freeze_waits_for_another_snapshot(migration: Migration) -> None:
    in_the_way = [SnapshotInProgress("another one runs")] * 10
    migration.handlers["freeze_source"] = in_turn(*in_the_way, FROZEN)

    execution = migration.run("migrate_domain", cutover={"gates": []})

    assert execution.status == "SUCCEEDED"
    assert len(migration.called("freeze_source")) == 11


def test_catching_up_goes_on_beside_the_gate_until_the_freeze(migration: Migration) -> None:
    rounds_beside_the_gate = threading.Event()

    def catch_up(payload: Payload) -> Any:
        if payload["until"] == "lag fits":
            return CAUGHT_UP
        rounds_beside_the_gate.set()
        return CAUGHT_UP | {"ended": bool(migration.called("freeze_source"))}

    def announce(payload: Payload) -> None:
        assert rounds_beside_the_gate.wait(20)
        migration.approve(payload)

    migration.handlers["catch_up"] = catch_up
    migration.handlers["announce_gate"] = announce

    execution = migration.run("migrate_domain", cutover={"gates": ["stop_writes"]})

    assert execution.cause is None
    assert execution.status == "SUCCEEDED"


SLICED = {"caught_up": 3, "by_snapshot": 0, "slices": 3}


def test_slices_are_caught_up_side_by_side(migration: Migration) -> None:
    side_by_side = threading.Barrier(3, timeout=20)

    def catch_up(_: Payload) -> Any:
        side_by_side.wait()
        return CAUGHT_UP

    migration.handlers["begin_catch_up"] = in_turn(SLICED)
    migration.handlers["catch_up"] = catch_up

    execution = migration.run("migrate_domain", cutover={"gates": []})

    assert execution.status == "SUCCEEDED"
    handlers = [handler for handler, _ in migration.calls]
    before = migration.calls[: handlers.index("catch_up_last")]
    called = Counter(
        (payload["until"], payload["slice"]) for handler, payload in before if handler == "catch_up"
    )
    assert called == {
        (until, number): 1 for until in ("lag fits", "writes stop", "last") for number in range(3)
    }
    assert handlers.count("catch_up_last") == 1


def test_what_a_slice_has_not_done_is_left_to_the_last_round(migration: Migration) -> None:
    last = in_turn(Unavailable("it is busy"), CAUGHT_UP)

    def catch_up(payload: Payload) -> Any:
        if payload["until"] == "last" and payload["slice"] == 1:
            raise AccessDenied("no rights")
        return last(payload) if payload["until"] == "last" else CAUGHT_UP

    migration.handlers["begin_catch_up"] = in_turn(SLICED | {"slices": 2})
    migration.handlers["catch_up"] = catch_up

    execution = migration.run("migrate_domain", cutover={"gates": []})

    assert execution.status == "SUCCEEDED"
    tried = Counter(
        each["slice"] for each in migration.called("catch_up") if each["until"] == "last"
    )
    assert tried == {0: 2, 1: 1}
    assert len(migration.called("catch_up_last")) == 1


def test_a_gate_that_somebody_refuses_ends_the_catching_up_beside_it(migration: Migration) -> None:
    rounds_beside_the_gate = threading.Event()

    def catch_up(payload: Payload) -> Any:
        if payload["until"] == "writes stop":
            rounds_beside_the_gate.set()
            return CAUGHT_UP | {"ended": False}
        return CAUGHT_UP

    def refuse(payload: Payload) -> None:
        assert rounds_beside_the_gate.wait(20)
        migration.state_machines.client.send_task_failure(
            taskToken=payload["token"], error="GateRejected", cause="not tonight"
        )

    migration.handlers["catch_up"] = catch_up
    migration.handlers["announce_gate"] = refuse

    execution = migration.run("migrate_domain")

    assert (execution.status, execution.error) == ("FAILED", "GateRejected")
    assert execution.cause == "Wait until writes stop: not tonight"
