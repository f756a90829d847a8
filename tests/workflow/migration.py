"""One migration as a test sees it: its input, its handlers, and what they were asked."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from snapferry import report, request
from snapferry.errors import AclRefused, BucketDenied, SnapshotInProgress
from snapferry.events import Bus
from snapferry.progress import Progress
from snapferry.records import Records
from tests.unit.conftest import Announcements
from tests.unit.fakes import FakeEvents, FakeS3, FakeTable
from tests.workflow.fake_handlers import FakeHandler, Payload, in_turn
from tests.workflow.state_machines import Execution, StateMachines

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client


def in_the_way_of_the_bucket(snapshot: str) -> pytest.MarkDecorator:
    """What a state waits for that uses the bucket, as `in_the_way`, and how many `times`.

    Args:
        snapshot: why a running one is in the way.
    """
    closed = "the bucket isn't open everywhere yet"
    return pytest.mark.parametrize(
        ("in_the_way", "times"),
        [(SnapshotInProgress(snapshot), 10), (AclRefused(closed), 8), (BucketDenied(closed), 8)],
    )


def request_document(*names: str, **changes: Any) -> dict[str, Any]:
    """The input of a migration of the domains with these names."""
    return {
        "domains": [
            {
                "host": f"search-{name}.eu-west-1.es.amazonaws.com",
                "region": "eu-west-1",
                "access_role_arn": "arn:aws:iam::111111111111:role/SnapferryDomainAccess",
                "snapshot_role_arn": "arn:aws:iam::111111111111:role/SnapferrySnapshot",
                "canonical_id": hashlib.sha256(name.encode()).hexdigest(),
                "name": name,
            }
            for name in names
        ],
        "bucket": {"name": "company-migration", "region": "eu-west-1"},
        "destination": {
            "endpoint": "search.example.com:9200",
            "secret_arn": "arn:aws:secretsmanager:eu-west-1:222222222222:secret:snapferry/a",
        },
    } | changes


# A migration that goes through all of its states.
EVERYWHERE: dict[str, Any] = {
    "bucket": {
        "name": "company-migration",
        "region": "eu-west-1",
        "access": {"role_arn": "arn:aws:iam::222222222222:role/Snapferry", "way": "acl"},
    },
    "snapshots_afterwards": "delete",
    "artifacts": {"include": ["index_policies"]},
}
# A snapshot of a series that nobody has to approve.
NIGHTLY: dict[str, Any] = {
    "mode": "snapshot_only",
    "cutover": {"gates": []},
    "series": {"name": "nightly", "retention": {"count": 7}},
}
# What "Freeze source" and "Catch up" return.
FROZEN = {
    "frozen": 1,
    "stopped_at": 1_800_000_000.25,
    "predicted_write_stop_seconds": 2.5,
    "predicted_interval_seconds": [1.5, 4],
}
CAUGHT_UP = {"ended": True}
# What "Copy artifacts" returns.
COPIED = {"created": 3, "same": 1, "conflicts": 0, "impossible": 0}
# What "Write plan" returns.
WRITTEN = {"plan": "m/plan.json", "page": "m/plan.html", "restore": 2, "skip": 0, "reject": 0}
# The handlers of the plan of one domain that somebody approves.
PLAN = ["plan_domain", "write_plan", "announce_gate"]
# The handlers of a domain's preparation, and those of a round.
PREPARATION = [
    "grant_rights",
    "register_source_repository",
    "register_destination_repository",
    "prove_bucket_access",
]
SNAPSHOT = ["start_snapshot", "check_snapshot"]
RESTORE = ["lift_restore_limits", "start_restore", "check_restore", "give_back_restore_limits"]
BULK = ["list_indices", *SNAPSHOT, *RESTORE, "weigh_another_round"]
# Those of a last round in which everything goes by a snapshot, up to the verification.
LAST_BULK = ["catch_up_last", *SNAPSHOT, *RESTORE]
# The handlers of a roll-back that finds everything at hand.
ROLL_BACK = [
    "begin_roll_back",
    "stop_executions",
    "check_functions",
    "give_back_changes",
    "end_migration",
]


def listed(number: int, for_snapshot: int) -> dict[str, Any]:
    """What "List indices" returns."""
    return {"indices": number, "primary_store_bytes": 1000 * number, "for_snapshot": for_snapshot}


def caught_up_last(caught_up: int, by_snapshot: int) -> dict[str, Any]:
    """What "Catch up last" returns."""
    return {
        "indices": caught_up + by_snapshot,
        "primary_store_bytes": 1000 * (caught_up + by_snapshot),
        "caught_up": caught_up,
        "by_snapshot": by_snapshot,
        "documents": None if by_snapshot else 20,
    }


def given_back(
    *failed: str, waiting: int = 0, foreign: Sequence[str] = (), kept: Sequence[str] = ()
) -> dict[str, Any]:
    """What "Give back changes" returns."""
    return {"done": 3, "waiting": waiting, "failed": list(failed), "foreign": list(foreign)} | {
        "kept": list(kept)
    }


@dataclass
class Migration:
    """One migration.

    Attributes:
        migration_id: the name of its execution.
        handlers: by name; a test replaces those that it is about.
        calls: name and payload of each call of a handler, in that order.
        events: what was told on the bus.
        announcements: what people were told.
    """

    state_machines: StateMachines
    migration_id: str
    handlers: dict[str, FakeHandler] = field(init=False)
    calls: list[tuple[str, Payload]] = field(default_factory=list)
    events: FakeEvents = field(default_factory=FakeEvents)
    announcements: Announcements = field(default_factory=Announcements)
    _s3: FakeS3 = field(default_factory=FakeS3)

    def __post_init__(self) -> None:
        self.handlers = {
            "check_input": _check_input,
            "plan_domain": in_turn({"restore": 2, "skip": 0, "reject": 0}),
            "write_plan": _write_plan,
            "begin_migration": in_turn({"migration_id": self.migration_id}),
            "let_source_write": in_turn({"way": "policy"}),
            "let_destination_read": in_turn({"way": "acl"}),
            "grant_rights": in_turn({"granted_at_source": 0, "granted_at_destination": 0}),
            "prove_bucket_access": in_turn({"way": "policy"}),
            "lift_restore_limits": in_turn({"refused": []}),
            "give_back_restore_limits": in_turn({"given_back": 4, "foreign": [], "failed": []}),
            "list_indices": in_turn(listed(2, for_snapshot=2)),
            "register_source_repository": in_turn({"repository": "snapferry"}),
            "register_destination_repository": in_turn({"repository": "snapferry"}),
            "start_snapshot": in_turn({"snapshot": "snapferry-1"}),
            "check_snapshot": in_turn(self.look("snapshot", ended=True)),
            "start_restore": in_turn({"started_at": 1_800_000_000.25}),
            "check_restore": in_turn(self.look("restore", ended=True)),
            "copy_artifacts": in_turn(COPIED),
            "weigh_another_round": in_turn({"pays": False}),
            "begin_catch_up": in_turn({"caught_up": 1, "by_snapshot": 1, "slices": 1}),
            "catch_up": in_turn(CAUGHT_UP),
            "announce_gate": self.approve,
            "look_for_new_indices": in_turn({"new": 0}),
            "check_window": in_turn({"wait_seconds": 0}),
            "freeze_source": in_turn(FROZEN),
            "catch_up_last": in_turn(caught_up_last(1, by_snapshot=1)),
            "return_source_to_service": in_turn({"domain": "logs"}),
            "unblock_source": in_turn({"domain": "logs"}),
            "release_source": in_turn({"released": 1}),
            "verify_copy": in_turn({"documents": 20}),
            "verify_rehearsal": in_turn({"documents": 20}),
            "verify_restore": in_turn({"snapshot": "snapferry-nightly-1", "documents": 20}),
            "verify_documents": in_turn({"ended": True, "documents": 20}),
            "hand_over_indices": in_turn({"domain": "logs"}),
            "move_aliases": in_turn({"aliases": 1, "moved_at": 1_800_000_002.05}),
            "look_for_late_indices": in_turn({"late": 0}),
            "delete_snapshots": in_turn({"deleted": 2}),
            "expire_snapshots": in_turn({"deleted": 1}),
            "begin_roll_back": in_turn({"needed": True, "reason": "it changed something"}),
            "stop_executions": in_turn({"stopped": 0}),
            "check_functions": in_turn({"at_work": False, "wait_seconds": 1}),
            "give_back_changes": in_turn(given_back()),
            "end_migration": in_turn({"migration_id": self.migration_id}),
            "report_leftovers": in_turn(None),
            "write_report": self._write_report,
        }

    def run(self, state_machine: str, *domains: str, **changes: Any) -> Execution:
        """Runs one of the state machines to its end.

        Args:
            state_machine: its name.
            domains: the names of the domains.
            changes: fields of the request.
        """
        document = request_document(*(domains or ("logs",)), **changes)
        execution_input = {
            "migrate": document,
            "migrate_domain": {"job": self.job(**changes)},
            "snapshot": {"job": self.job(**changes), "round": 2, "hold_seconds": 5},
            "restore": {"job": self.job(**changes), "round": 2, "hold_seconds": 5},
            "catch_up": {"job": self.job(**changes), "until": "lag fits", "slices": 1},
            "roll_back": {
                "name": self.migration_id,
                "executionArn": f"{self.state_machines.arns['migrate']}:{self.migration_id}",
            },
        }[state_machine]
        return self.state_machines.run(state_machine, execution_input, self.migration_id)

    def job(self, **changes: Any) -> dict[str, Any]:
        """The job of the domain `logs`, as "Check input" makes it."""
        [job], _ = request.parse(request_document("logs", **changes), self.migration_id)
        return job.model_dump(mode="json")

    def called(self, *handlers: str) -> list[Payload]:
        """The payloads of the calls of these handlers, in that order."""
        return [payload for handler, payload in self.calls if handler in handlers]

    def look(self, phase: str, *, ended: bool, **changes: Any) -> dict[str, Any]:
        """What "Check snapshot" and "Check restore" return."""
        progress = Progress(
            phase=phase,
            ended=ended,
            elapsed_seconds=12.5,
            bytes_done=3000 if ended else 1500,
            bytes_total=3000,
            bytes_reused=1096,
            files_done=30 if ended else 15,
            files_total=30,
            shards_done=2 if ended else 1,
            shards_total=2,
        )
        records = _records(FakeS3(), self.migration_id)
        return progress.report(records, _bus(FakeEvents()), "logs", 1) | changes

    @property
    def records(self) -> Records:
        """What the product remembers of the migration."""
        return _records(self._s3, self.migration_id)

    def answer(self, handler: str, payload: Payload) -> Any:
        """Answers a call of a handler; a step of the cut-over counts as a handler of its name."""
        handler = payload.get("step", handler)
        self.calls.append((handler, payload))
        return self.handlers[handler](payload)

    def approve(self, payload: Payload) -> None:
        self.state_machines.client.send_task_success(
            taskToken=payload["token"], output=json.dumps({"approved": True})
        )

    def _write_report(self, payload: Payload) -> Any:
        return report.write(
            self.records,
            _bus(self.events),
            self.announcements.topic,
            payload["domains"],
            payload["failure"],
            payload["given_back"],
            payload["started_at"],
        )


def _bus(events: FakeEvents) -> Bus:
    return Bus(cast("EventBridgeClient", events), "snapferry")


def _records(s3: FakeS3, migration_id: str) -> Records:
    return Records(
        s3=cast("S3Client", s3),
        bucket="records",
        table=cast("Table", FakeTable()),
        migration_id=migration_id,
    )


def _write_plan(payload: Payload) -> Any:
    failed = [outcome for outcome in payload["outcomes"] if outcome["status"] == "FAILED"]
    return WRITTEN | {name: failed[0][name] for name in ("error", "cause") if failed}


def _check_input(payload: Payload) -> Any:
    jobs, domains_at_once = request.parse(
        payload["input"],
        payload["migration_id"],
        datetime.fromisoformat(payload["started_at"]),
    )
    return {
        "jobs": [job.model_dump(mode="json") for job in jobs],
        "domains_at_once": domains_at_once,
    }
