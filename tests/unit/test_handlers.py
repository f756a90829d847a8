"""The handlers, on the golden events, between fake clusters."""

import importlib
import io
import itertools
import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from snapferry import clients, cutover, indices, leases, listing, log
from snapferry.access import BucketPermissions
from snapferry.errors import Conflict, InvalidInput, MigrationEnded, NotFound, VerificationFailed
from snapferry.fence import Fence
from snapferry.journal import Journal
from snapferry.metrics import UNITS
from snapferry.request import DomainJob
from tests.unit import buckets
from tests.unit.conftest import DESTINATION, Announcements, Events, Executions, Side, Storage
from tests.unit.fake_security import FakeSecurity
from tests.unit.fake_shards import FakeTailCluster, FakeTailIndex, shards
from tests.unit.fakes import FakeExecution, FakeIndex
from tests.unit.told_metrics import told

ROOT = Path(__file__).parents[2]
HANDLERS = {path.stem for path in (ROOT / "functions").glob("*.py")}
STEPS = get_args(cutover.Step.__value__)
MIGRATION = "monday-night"
ACCESS_ROLE_ARN = "arn:aws:iam::111111111111:role/SnapferryDomainAccess"
SNAPSHOT = f"snapferry-{MIGRATION}-logs-1"
STATES = "arn:aws:states:eu-west-1:222222222222"
EXECUTION = f"{STATES}:execution:snapferry-migrate:{MIGRATION}"
DOMAIN_EXECUTION = f"{STATES}:execution:snapferry-migrate-domain:1"
ROLLER = f"{STATES}:execution:snapferry-roll-back:1"


@dataclass(frozen=True)
class FakeContext:
    """What Lambda tells a function of itself."""

    function_name: str
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-west-1:222222222222:function:name"
    aws_request_id: str = "1"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


def event(name: str) -> Any:
    return json.loads((ROOT / f"events/{name}.json").read_text())


def handle(name: str, **changes: Any) -> Any:
    """What a handler, or a step of the cut-over, answers to its golden event, as JSON."""
    if name in STEPS:
        name, changes = "cut_over", {"step": name, **changes}
    handler = importlib.import_module(name).handler
    return json.loads(json.dumps(handler(event(name) | changes, FakeContext(name))))


@pytest.fixture
def migration_bucket(storage: Storage) -> Iterator[BucketPermissions]:  # noqa: ARG001 - the same moto
    with buckets.bucket() as made:
        yield made


@dataclass(frozen=True)
class Plugins:
    """The security plugins of both sides."""

    source: FakeSecurity
    destination: FakeSecurity


@pytest.fixture
def plugins(source: Side, destination: Side) -> Plugins:
    return Plugins(FakeSecurity(source.cluster), FakeSecurity(destination.cluster))


@pytest.fixture(autouse=True)
def world(
    source: Side,
    destination: Side,
    storage: Storage,
    announcements: Announcements,
    events: Events,
    executions: Executions,
    migration_bucket: BucketPermissions,
    plugins: Plugins,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A source with two indices of 2,000 bytes to move, and what must not be moved."""
    executions.fake.executions = {
        EXECUTION: FakeExecution(children=[DOMAIN_EXECUTION, ROLLER]),
        DOMAIN_EXECUTION: FakeExecution("SUCCEEDED"),
        ROLLER: FakeExecution(),
    }
    source.cluster.indices = {
        "logs-1": FakeIndex(documents=15, aliases={"logs": {}}),
        "orders": FakeIndex(documents=5),
        "logs-test-1": FakeIndex(),
        ".kibana_1": FakeIndex(),
    }
    source.cluster.artifacts.kept = {
        "_ingest/pipeline": {"stamp": {"processors": []}},
        "_template": {"logs": {"index_patterns": ["logs-*"]}},
    }
    destination.cluster.indices = {".kibana_1": FakeIndex(), "theirs": FakeIndex()}
    monkeypatch.setattr(clients, "source", lambda _: source.client)
    monkeypatch.setattr(clients, "destination", lambda _: destination.client)
    monkeypatch.setattr(clients, "records", storage.records_of)
    monkeypatch.setattr(clients, "table", lambda: storage.table)
    monkeypatch.setattr(clients, "step_functions", lambda: executions.client)
    monkeypatch.setattr(clients, "secrets_of_users", lambda: None)
    monkeypatch.setattr(clients, "topic", lambda: announcements.topic)
    monkeypatch.setattr(clients, "bus", lambda: events.bus)
    monkeypatch.setenv("ROLL_BACK_STATE_MACHINE_ARN", f"{STATES}:stateMachine:snapferry-roll-back")
    monkeypatch.setenv("SECRET_NAME_PREFIX", "snapferry/")
    monkeypatch.setattr(clients, "bucket", lambda _: migration_bucket)
    of_plugins = {
        "source": lambda _: plugins.source.client(ACCESS_ROLE_ARN),
        "source_administrator": lambda _: plugins.source.client("admin"),
        "destination": lambda _: plugins.destination.client("mover"),
        "destination_administrator": lambda _: plugins.destination.client("admin"),
        "destination_caller": lambda _: "mover",
    }
    for name in ("plan_domain", "grant_rights"):
        monkeypatch.setattr(
            importlib.import_module(name), "clients", SimpleNamespace(**vars(clients) | of_plugins)
        )
    for name in ("source_administrator", "destination_administrator"):
        monkeypatch.setattr(clients, name, of_plugins[name])


# In the order of the state machines. `...` stands for a time, or a number of permissions.
ANSWERS: dict[str, Any] = {
    "check_input": {"jobs": [event("list_indices")["job"]], "domains_at_once": 4},
    "plan_domain": {"restore": 2, "skip": 0, "reject": 0},
    "write_plan": {
        "plan": f"migrations/{MIGRATION}/plan.json",
        "page": f"migrations/{MIGRATION}/plan.html",
        "restore": 2,
        "skip": 0,
        "reject": 0,
    },
    "begin_migration": {"migration_id": MIGRATION},
    "let_source_write": {"way": "policy"},
    "grant_rights": {"granted_at_source": ..., "granted_at_destination": ...},
    "register_source_repository": {"repository": f"snapferry-{MIGRATION}-logs"},
    "register_destination_repository": {"repository": f"snapferry-{MIGRATION}-logs"},
    "prove_bucket_access": {"way": "policy"},
    "list_indices": {"indices": 2, "primary_store_bytes": 2_000, "for_snapshot": 2},
    "start_snapshot": {"snapshot": SNAPSHOT},
    "check_snapshot": {
        "phase": "snapshot",
        "ended": True,
        "elapsed_seconds": 0,
        "bytes_done": 2_000,
        "bytes_total": 2_000,
        "bytes_reused": 0,
        "files_done": 20,
        "files_total": 20,
        "shards_done": 2,
        "shards_total": 2,
        "round": 1,
        "bytes_per_second": 0,
        "remaining_seconds": None,
        "wait_seconds": 2,
    },
    "let_destination_read": {"way": "policy"},
    "lift_restore_limits": {"refused": []},
    "start_restore": {"started_at": ...},
    "check_restore": {
        "phase": "restore",
        "ended": True,
        "elapsed_seconds": ...,
        "bytes_done": 2_000,
        "bytes_total": 2_000,
        "bytes_reused": 0,
        "files_done": 20,
        "files_total": 20,
        "shards_done": 2,
        "shards_total": 2,
        "round": 1,
        "bytes_per_second": ...,
        "remaining_seconds": ...,
        "wait_seconds": ...,
    },
    "give_back_restore_limits": {"given_back": 5, "foreign": [], "failed": []},
    "copy_artifacts": {"created": 2, "same": 0, "conflicts": 0, "impossible": 0},
    "weigh_another_round": {"pays": ...},
    "begin_catch_up": {"caught_up": 0, "by_snapshot": 2, "slices": 1},
    "catch_up": {"ended": True},
    "look_for_new_indices": {"new": 0},
    "check_window": {"wait_seconds": 0},
    "announce_gate": None,
    "freeze_source": {
        "frozen": 0,
        "stopped_at": ...,
        "predicted_write_stop_seconds": ...,
        "predicted_interval_seconds": [..., ...],
    },
    "catch_up_last": {
        "indices": 2,
        "primary_store_bytes": 2_000,
        "caught_up": 0,
        "by_snapshot": 2,
        "documents": None,
    },
    "verify_copy": {"documents": 20},
    "hand_over_indices": {"domain": "logs"},
    "move_aliases": {"aliases": 1, "moved_at": ...},
    "look_for_late_indices": {"late": 0},
    "verify_documents": {"ended": True, "documents": 0},
    "release_source": {"released": 2},
    "delete_snapshots": {"deleted": 1},
    "begin_roll_back": {"needed": True, "reason": "the migration may have changed something"},
    "stop_executions": {"stopped": 0},
    "check_functions": {"at_work": False, "wait_seconds": 1},
    "give_back_changes": {"done": 15, "waiting": 0, "failed": [], "foreign": [], "kept": []},
    "end_migration": {"migration_id": MIGRATION},
    "report_leftovers": None,
    "write_report": {"status": "SUCCEEDED", "report": f"migrations/{MIGRATION}/report.json"},
    "sweep_leases": {"rolled_back": []},
}
# Where the second answer isn't the first again.
SECOND_ANSWERS: dict[str, Any] = {
    "release_source": {"released": 0},
    "give_back_restore_limits": {"given_back": 0, "foreign": [], "failed": []},
    "give_back_changes": {"done": 0, "waiting": 0, "failed": [], "foreign": [], "kept": []},
}


def agrees(answer: Any, expected: Any) -> bool:
    if expected is ...:
        return isinstance(answer, int | float)
    if isinstance(expected, dict):
        return answer.keys() == expected.keys() and all(
            agrees(answer[name], value) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return len(answer) == len(expected) and all(map(agrees, answer, expected))
    return bool(answer == expected)


def test_every_handler_has_an_answer_here() -> None:
    assert set(ANSWERS) - set(STEPS) == HANDLERS - {
        *("cut_over", "expire_snapshots", "verify_rehearsal", "verify_restore")
    }
    assert set(STEPS) - set(ANSWERS) == {"return_source_to_service", "unblock_source"}


def test_every_handler_has_its_lines_say_whose_they_are() -> None:
    texts = {name: (ROOT / f"functions/{name}.py").read_text() for name in HANDLERS}

    assert [name for name, text in texts.items() if "@logged\ndef handler(" not in text] == []


def test_an_error_is_logged_with_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(log.logger.registered_handler, "stream", written)

    # Nothing is changed for a migration that hasn't begun.
    for name in ("release_source", "let_source_write", "give_back_changes"):
        with pytest.raises(MigrationEnded):
            handle(name)
    handle("sweep_leases")
    with pytest.raises(InvalidInput):
        handle("check_input", input=[])

    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    whose = [(line["migration_id"], line.get("domain"), line["function_name"]) for line in lines]
    assert whose == [
        (MIGRATION, "logs", "release_source"),
        (MIGRATION, None, "let_source_write"),
        (MIGRATION, None, "give_back_changes"),
        (MIGRATION, None, "check_input"),
    ]
    assert {line["level"] for line in lines} == {"ERROR"}
    assert lines[0]["exception_name"] == "MigrationEnded"
    assert lines[0]["message"].startswith(f"the migration {MIGRATION} is unknown: ")
    assert "Traceback" in lines[0]["exception"]


def test_what_a_module_logs_says_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(log.logger.registered_handler, "stream", written)

    with pytest.raises(MigrationEnded):
        handle("release_source")
    logging.getLogger("snapferry.cutover").warning("a round has failed: %s", "no route")

    *_, line = map(json.loads, written.getvalue().splitlines())
    assert (line["level"], line["message"]) == ("WARNING", "a round has failed: no route")
    assert (line["migration_id"], line["domain"]) == (MIGRATION, "logs")


def test_an_execution_is_named_where_the_migration_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(log.logger.registered_handler, "stream", written)
    monkeypatch.setattr(clients, "step_functions", lambda: None)

    with pytest.raises(AttributeError):
        handle("stop_executions")

    [line] = map(json.loads, written.getvalue().splitlines())
    assert line["execution_arn"] == EXECUTION
    assert "migration_id" not in line


def test_the_golden_events_tell_cloudwatch_of_the_migration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "snapferry-1")
    for name in ANSWERS:
        handle(name)

    lines = told(capsys)

    assert {line["service"] for line in lines} == {"snapferry-1"}
    assert {line["migration_id"] for line in lines} == {MIGRATION}
    values: dict[str, float] = {}
    for line in lines:
        values |= {metric: line[metric] for metric in UNITS.keys() & line.keys()}
    assert values["SnapshotBytes"] == values["RestoreBytes"] == 2_000
    assert values["SnapshotBytesReused"] == values["RestoreBytesReused"] == 0
    assert values["RestoreBytesPerSecond"] > 0
    assert values["DomainsSucceeded"] == 1
    assert values["DomainsFailed"] == values["DifferencesFound"] == 0
    assert values["IncompleteRollBacks"] == 1
    assert values["WriteStop"] > 0
    # The snapshot takes no time, nothing is caught up, swept or skipped: see the tests of these.
    assert UNITS.keys() - values.keys() == {
        "SnapshotBytesPerSecond",
        "DocumentsCaughtUp",
        "OperationsBehind",
        "PredictedWriteStop",
        "SweptMigrations",
        "SnapshotsSkipped",
    }


def until(name: str) -> Iterator[str]:
    """The handlers that come before one of them."""
    return itertools.takewhile(lambda earlier: earlier != name, ANSWERS)


@pytest.mark.parametrize(
    ("interval", "beyond"), [([0, 0], True), ([0, 1_000], False), (None, None)]
)
def test_cloudwatch_is_told_whether_the_write_stop_was_as_predicted(
    storage: Storage,
    capsys: pytest.CaptureFixture[str],
    interval: list[int] | None,
    beyond: bool | None,
) -> None:
    for name in until("move_aliases"):
        handle(name)
    frozen = storage.items[MIGRATION, "step#logs#freeze_source"]
    frozen["answer"]["predicted_interval_seconds"] = interval
    storage.table.put_item(Item=frozen)
    capsys.readouterr()

    moved_at = handle("move_aliases")["moved_at"]

    [line] = told(capsys)
    assert line["WriteStop"] == pytest.approx(moved_at - float(frozen["answer"]["stopped_at"]))
    above_seconds = line.get("WriteStopBeyondPrediction")
    assert (above_seconds if above_seconds is None else above_seconds > 0) is beyond


@pytest.mark.parametrize("times", [1, 2], ids=["once", "each twice"])
def test_the_golden_events_move_the_indices(
    source: Side,
    destination: Side,
    storage: Storage,
    announcements: Announcements,
    executions: Executions,
    migration_bucket: BucketPermissions,
    plugins: Plugins,
    times: int,
) -> None:
    before = dict(source.cluster.indices)

    for name, expected in ANSWERS.items():
        assert agrees(handle(name), expected), name
        for _ in range(times - 1):
            assert agrees(handle(name), SECOND_ANSWERS.get(name, expected)), name

    assert source.cluster.indices == before
    assert set(destination.cluster.indices) == {"logs-1", "orders", "theirs", ".kibana_1"}
    assert destination.index("logs-1").aliases == {"logs": {}}
    assert source.cluster.repositories == destination.cluster.repositories == {}
    assert source.cluster.bucket == {"snapferry/logs": {}}
    # Of a gate, of what is left, and of the end.
    assert len(announcements.messages) == 3 * times
    assert Journal(storage.table, MIGRATION).open_changes() == []
    repository = f"repository#snapferry-{MIGRATION}-logs"
    changes = {name: item for name, item in storage.items.items() if "kind" in item}
    assert set(storage.items) - set(changes) == {
        (MIGRATION, "migration"),
        (MIGRATION, "last_change"),
        (MIGRATION, "progress#logs"),
        (MIGRATION, "catch_up#logs#0"),
        (MIGRATION, "catch_up#logs#all"),
        (MIGRATION, "stop#logs"),
        *((MIGRATION, f"step#logs#{step}") for step in STEPS if step in ANSWERS),
        (MIGRATION, "plan"),
        (MIGRATION, "gate#logs#stop_writes"),
        (MIGRATION, "handed_over#logs"),
    }
    assert {
        (MIGRATION, f"change#source/logs#{repository}"),
        (MIGRATION, f"change#{DESTINATION}#{repository}"),
        (MIGRATION, f"change#source/logs#running_snapshot#snapferry-{MIGRATION}-logs/{SNAPSHOT}"),
    } <= set(changes)
    journalled = Journal(storage.table, MIGRATION).changes()
    copied = {"copied_ingest_pipeline", "copied_legacy_template"}
    assert {change.state for change in journalled} == {"given_back", "handed_over"}
    assert {change.place.kind for change in journalled if change.state == "handed_over"} == copied
    assert Counter((change.place.side, change.place.kind) for change in journalled) == {
        ("bucket", "policy_statement"): 3,
        (DESTINATION, "copied_ingest_pipeline"): 1,
        (DESTINATION, "copied_legacy_template"): 1,
        (DESTINATION, "repository"): 1,
        (DESTINATION, "restore_limit"): 5,
        (DESTINATION, "role"): 1,
        (DESTINATION, "role_mapping"): 2,
        ("source/logs", "probe_snapshot"): 1,
        ("source/logs", "repository"): 1,
        ("source/logs", "role"): 1,
        ("source/logs", "role_mapping"): 2,
        ("source/logs", "running_snapshot"): 1,
        ("source/logs", "write_block"): 2,
    }
    assert destination.cluster.settings["persistent"] == {}
    with pytest.raises(NotFound):
        migration_bucket.s3.get_bucket_policy(Bucket=migration_bucket.name)
    for plugin in (plugins.source, plugins.destination):
        assert set(plugin.roles) == {"manage_snapshots"}
        assert plugin.mappings == {}
    mark = Fence(storage.table, MIGRATION).mark()
    assert mark is not None
    assert (mark.state, mark.roller_arn) == ("ended", ROLLER)
    assert list(leases.held(storage.table)) == []
    assert executions.fake.executions[EXECUTION].status == "RUNNING"
    report = storage.records_of(MIGRATION).read("report")
    [moved] = report["domains"][0]["rounds"]
    assert moved.keys() == {
        *("round", "final", "indices", "primary_store_bytes", "snapshot", "restore")
    }
    # The golden events know one round, which is the last one, too.
    assert moved["final"]
    assert [verdict["index"] for verdict in report["domains"][0]["verification"]] == [
        "logs-1",
        "orders",
    ]


def test_a_second_round_copies_what_changed(source: Side, destination: Side) -> None:
    for name in until("announce_gate"):
        handle(name)
    source.cluster.indices["logs-2"] = FakeIndex(documents=1)
    source.index("orders").documents = 6
    source.index("orders").primary_bytes = 1_500

    second = f"snapferry-{MIGRATION}-logs-2"
    assert handle("list_indices", round=2)["indices"] == 3
    assert handle("start_snapshot", round=2) == {"snapshot": second}
    taken = handle("check_snapshot", round=2, snapshot=second)
    assert (taken["bytes_total"], taken["bytes_reused"]) == (1_500, 2_000)
    handle("start_restore", round=2)
    restored = handle("check_restore", round=2)
    assert (restored["bytes_total"], restored["bytes_reused"]) == (1_500, 2_000)
    assert handle("verify_copy", round=2) == {"documents": 22}
    assert handle("delete_snapshots", rounds=2) == {"deleted": 2}
    assert destination.index("orders").documents == 6
    assert source.cluster.bucket == {"snapferry/logs": {}}


def test_a_rehearsal_leaves_nothing(source: Side, destination: Side) -> None:
    destination.cluster.indices["orders"] = FakeIndex(documents=99)
    before = dict(destination.cluster.indices)
    job = event("list_indices")["job"] | {"mode": "rehearse"}

    for name in until("weigh_another_round"):
        changes = {"jobs": [job]} if "jobs" in event(name) else {"job": job}
        handle(name, **({} if name == "check_input" else changes))

    assert handle("verify_rehearsal", job=job) == {"documents": 20}
    copied = set(destination.cluster.indices) - set(before)
    assert {name.partition("-")[0] for name in copied} == {"rehearsal"}
    assert len(copied) == 2
    for name in ("begin_roll_back", "give_back_changes", "end_migration"):
        handle(name)
    assert destination.cluster.indices == before
    assert source.cluster.indices["logs-1"].documents == 15


def test_a_snapshot_of_a_series_leaves_no_older_one(source: Side) -> None:
    series = {"name": "nightly", "retention": {"count": 1, "age_days": None}}
    job = event("list_indices")["job"] | {"mode": "snapshot_only", "series": series}
    names: list[str] = []

    for began_at in ("20261123t020000z", "20261124t020000z"):
        for name in until("let_destination_read"):
            today = {"job": job | {"began_at": began_at}, "snapshot": names[-1] if names else ""}
            if name == "start_snapshot":
                names.append(handle(name, job=today["job"])["snapshot"])
                continue
            handle(name, **{key: today[key] for key in today.keys() & event(name).keys()})
    deleted = [handle("expire_snapshots", job=today["job"])["deleted"] for _ in range(2)]

    assert names == ["snapferry-nightly-20261123t020000z", "snapferry-nightly-20261124t020000z"]
    # A repetition says again what was done.
    assert deleted == [1, 1]
    assert set(source.cluster.bucket["snapferry/logs"]) == {names[1]}


def test_a_restore_alone_reads_a_snapshot_and_asks_nothing_of_the_source(
    source: Side, destination: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in until("let_destination_read"):
        handle(name)
    for name in ("begin_roll_back", "give_back_changes", "end_migration"):
        handle(name)
    taken = source.cluster.bucket["snapferry/logs"]
    assert set(taken) == {SNAPSHOT}
    for client in ("source", "source_administrator"):
        monkeypatch.delattr(clients, client)
    golden = event("list_indices")["job"]
    job = golden | {"migration_id": "tuesday", "mode": "restore_only"}
    asked_before = len(source.cluster.requests)

    def take(name: str, **changes: Any) -> Any:
        own = {"jobs": [job]} if "jobs" in event(name) else {"job": job}
        return handle(name, **own, **changes)

    take("begin_migration", execution_arn=EXECUTION.replace(MIGRATION, "tuesday"))
    take("let_source_write")
    assert take("grant_rights")["granted_at_source"] == 0
    assert take("register_source_repository") == {"repository": None}
    take("register_destination_repository")
    assert take("prove_bucket_access") == {"way": "policy"}
    assert take("plan_domain") == {"restore": 2, "skip": 0, "reject": 0}
    assert "error" not in take("write_plan")
    assert take("list_indices") == {
        "indices": 2,
        "primary_store_bytes": 2_000,
        "for_snapshot": 2,
    }
    for _ in range(2):
        take("start_restore")
        take("check_restore")
    for _ in range(2):
        assert take("verify_restore") == {"snapshot": SNAPSHOT, "documents": 20}
    assert len(source.cluster.requests) == asked_before
    assert destination.index("logs-1").aliases == {"logs": {}}
    assert destination.index("theirs").documents == 10


def test_bad_input_reaches_no_cluster(source: Side, destination: Side) -> None:
    with pytest.raises(InvalidInput):
        handle("check_input", input={"domains": []})

    assert source.cluster.requests == destination.cluster.requests == []


def test_an_index_in_the_way_is_found_before_anything_is_changed(
    source: Side, destination: Side
) -> None:
    destination.cluster.indices["orders"] = FakeIndex()

    with pytest.raises(Conflict, match="orders"):
        handle("list_indices")

    assert not source.cluster.sent("(PUT|POST|DELETE) .*")
    assert not destination.cluster.sent("(PUT|POST|DELETE) .*")


def test_what_a_verification_found_is_stored_even_when_it_fails(
    destination: Side, storage: Storage
) -> None:
    for name in until("announce_gate"):
        handle(name)
    destination.index("orders").documents = 4

    with pytest.raises(VerificationFailed, match="orders: 4 documents instead of 5"):
        handle("verify_copy")

    verdicts = storage.records_of(MIGRATION).read("logs/verification")
    assert [verdict["faults"] for verdict in verdicts] == [[], ["4 documents instead of 5"]]


def test_a_failure_gives_everything_back_and_the_next_migration_goes_on(
    source: Side, destination: Side, storage: Storage, executions: Executions
) -> None:
    for name in until("verify_copy"):
        handle(name)
    executions.fake.executions[EXECUTION].status = "ABORTED"
    executions.fake.executions[DOMAIN_EXECUTION].status = "RUNNING"

    handle("begin_roll_back")
    assert handle("stop_executions", started_by=None) == {"stopped": 1}
    handle("give_back_changes")
    handle("end_migration")

    assert executions.fake.executions[DOMAIN_EXECUTION].error == "RolledBack"
    assert source.cluster.repositories == destination.cluster.repositories == {}
    again = json.loads(json.dumps(event("list_indices")["job"]).replace(MIGRATION, "tuesday"))
    second = "snapferry-tuesday-logs-1"
    handle("begin_migration", jobs=[again], execution_arn=EXECUTION.replace(MIGRATION, "tuesday"))
    handle("register_source_repository", job=again)
    handle("register_destination_repository", job=again)
    assert handle("list_indices", job=again)["indices"] == 2
    handle("start_snapshot", job=again)
    assert handle("check_snapshot", job=again, snapshot=second)["bytes_reused"] == 2_000
    handle("start_restore", job=again)
    assert handle("check_restore", job=again)["bytes_reused"] == 2_000
    assert [lease.migration_id for lease in leases.held(storage.table)] == ["tuesday"] * 3


# What changes nothing, or only what is the stack's own.
READ_ONLY = {
    "announce_gate",
    "begin_migration",
    "check_input",
    "check_restore",
    "check_snapshot",
    "list_indices",
    "plan_domain",
    "verify_documents",
    "verify_rehearsal",
    "write_plan",
    "write_report",
}
# What a roll-back does itself, and what begins one.
OF_ROLL_BACK = {
    "begin_roll_back",
    "check_functions",
    "end_migration",
    "give_back_changes",
    "report_leftovers",
    "stop_executions",
    "sweep_leases",
}
# "Catch up" looks for itself before each round, of which there are none here.
CHANGES = sorted((HANDLERS - {"cut_over", "catch_up"} - READ_ONLY - OF_ROLL_BACK) | set(STEPS))


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_is_changed_for_a_migration_that_is_rolled_back(
    source: Side, destination: Side, name: str
) -> None:
    for earlier in itertools.takewhile(lambda earlier: earlier != name, until("begin_roll_back")):
        handle(earlier)
    handle("begin_roll_back")
    for side in (source, destination):
        side.cluster.requests.clear()

    with pytest.raises(MigrationEnded, match="rolling back"):
        handle(name)

    assert not source.cluster.sent("(PUT|POST|DELETE) .*")
    assert not destination.cluster.sent("(PUT|POST|DELETE) .*")
    assert handle("check_functions") == ANSWERS["check_functions"]


def test_nothing_is_caught_up_for_a_migration_that_is_rolled_back(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FakeTailCluster({"orders": FakeTailIndex(shards(1, documents=5))})
    destination = FakeTailCluster({})
    client = source.client("source")
    monkeypatch.setattr(clients, "source", lambda _: client)
    monkeypatch.setattr(clients, "destination", lambda _: destination.client("destination"))
    records = storage.records_of(MIGRATION)
    job = DomainJob.model_validate(event("catch_up")["job"])
    handle("begin_migration")
    listing.keep(records, "logs", 1, [*indices.list_all(client).values()])
    cutover.keep_base(client, records, job, 1, ["orders"])
    destination.tails["orders"] = source.tails["orders"].restored("restored")
    assert handle("begin_catch_up")["caught_up"] == 1
    source.tails["orders"].shards[0].index("0-new")
    handle("begin_roll_back")

    with pytest.raises(MigrationEnded, match="rolling back"):
        handle("catch_up")

    assert not destination.sent("POST .*/_bulk")
    assert handle("check_functions") == ANSWERS["check_functions"]


def test_changes_are_given_back_only_while_rolling_back(source: Side) -> None:
    for name in until("begin_roll_back"):
        handle(name)

    with pytest.raises(MigrationEnded, match="running"):
        handle("give_back_changes")

    assert source.cluster.repositories
