"""Migrations on the deployed stack, as somebody would run them who answers every gate at once."""

import contextlib
import importlib.util
import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from urllib.request import urlopen

import boto3
from opensearchpy import OpenSearch
from opensearchpy.helpers import bulk

from snapferry import clients, leases, roll_back, security
from snapferry.fence import Fence
from snapferry.journal import Journal
from snapferry.records import Records
from snapferry.request import DomainJob
from snapferry_sandbox.demo.execution import histories
from snapferry_sandbox.faults import Faults
from snapferry_sandbox.world import RUN, World

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LOOK_EVERY_SECONDS = 0.2
_LONGEST_MIGRATION_SECONDS = 400
_LONGEST_ROLL_BACK_SECONDS = 120
_LONGEST_UPDATE_SECONDS = 60
_LONGEST_WAIT_SECONDS = 60
# Longer than what any function does with a few small indices.
_SHORT_TIME_OUT_SECONDS = 5
# Of one migration there are at most three: its own, that of the event, and that of somebody.
_LATEST_ROLL_BACKS = 6


FILTERED = {"_source": {"excludes": ["secret"]}}
"""Mappings of an index that can't be caught up."""

type Side = Literal["source", "destination"]


@dataclass(frozen=True)
class Started:
    """An execution of `migrate`, and the tokens of its gates that were answered."""

    migration_id: str
    execution_arn: str
    answered: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Outcome:
    """How an execution of the state machine `migrate` ended."""

    migration_id: str
    status: str
    output: Any
    error: str
    cause: str


class Sandbox:
    """A world with the deployed stack.

    Args:
        world: one that is up and deployed.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.source = world.sources[0].client()
        self.destination = world.destinations[0].client()
        self.session = boto3.Session(
            region_name=world.aws.region,
            aws_access_key_id=world.aws.accounts["destination"],
            aws_secret_access_key=world.s3.accounts["destination"].secret_key,
        )
        endpoint = world.aws.endpoint
        self.executions = self.session.client("stepfunctions", endpoint_url=endpoint)
        self._functions = self.session.client("lambda", endpoint_url=endpoint)
        self.table = self.session.resource("dynamodb", endpoint_url=endpoint).Table(
            world.deployment["table"]
        )
        self.faults = Faults(RUN / "localstack" / "faults")
        self._records = self.session.client("s3", endpoint_url=endpoint)

    def cluster(self, side: Side) -> OpenSearch:
        """A cluster, as its administrator."""
        return self.source if side == "source" else self.destination

    def dashboards(self, side: Side) -> OpenSearch:
        """Its Dashboards, likewise."""
        clusters = self.world.sources if side == "source" else self.world.destinations
        return self.world.dashboards_of(clusters[0])

    def client(self, service: str) -> Any:
        """A client of the account that runs the migrations."""
        return self.session.client(service, endpoint_url=self.world.aws.endpoint)  # type: ignore[call-overload]

    @property
    def function_environment(self) -> dict[str, str]:
        """What makes a process act as a function of the stack."""
        account = self.world.s3.accounts["destination"]
        return {
            "AWS_ACCESS_KEY_ID": account.access_key,
            "AWS_SECRET_ACCESS_KEY": account.secret_key,
            "AWS_DEFAULT_REGION": self.world.aws.region,
            "AWS_ENDPOINT_URL": self.world.aws.endpoint,
            "REQUESTS_CA_BUNDLE": str(self.world.ca_bundle_file),
            "RECORDS_BUCKET": self.world.deployment["records_bucket"],
            "TABLE_NAME": self.world.deployment["table"],
        }

    @cached_property
    def bucket(self) -> "S3Client":
        """The migration bucket, as its owner sees it."""
        return self.session.client("s3", endpoint_url=self.world.s3.endpoint)

    def request(self, *patterns: str, **changes: Any) -> dict[str, Any]:
        """The input that moves the indices of these patterns; `domain__x=1` changes a domain."""
        deployment = self.world.deployment
        document: dict[str, Any] = {
            "domains": [
                {
                    "host": urlsplit(self.world.sources[0].domain_endpoint).netloc,
                    "region": self.world.aws.region,
                    "access_role_arn": deployment["domain_access_role"],
                    "snapshot_role_arn": deployment["snapshot_role"],
                    "master_user": {"secret_arn": deployment["domain_master_secret"]},
                    "canonical_id": self.world.s3.accounts["source"].canonical_id,
                    "name": "source",
                    "indices": {"include": list(patterns)},
                }
            ],
            "bucket": {
                "name": self.world.s3.bucket,
                "region": self.world.aws.region,
                "access": dict(deployment["bucket_access"]),
            },
            "destination": dict(deployment["destinations"][0]),
        }
        for place, value in changes.items():
            *parents, name = place.split("__")
            part = document
            for parent in parents:
                part = part["domains"][0] if parent == "domain" else part.setdefault(parent, {})
            part[name] = value
        return document

    def migrate(
        self, document: Any, at_gate: Mapping[str, Callable[[], None]] | None = None
    ) -> Outcome:
        """Runs a migration to its end; whoever is asked at a gate says yes, after `at_gate`."""
        return self.end(self.start(document), at_gate)

    def start(self, document: Any, state_machine: str = "migrate") -> Started:
        """Starts a migration, or an execution of another state machine."""
        migration_id = f"test-{uuid.uuid4().hex[:12]}"
        execution = self.executions.start_execution(
            stateMachineArn=self.world.deployment["state_machines"][state_machine],
            name=migration_id,
            input=json.dumps(document),
        )
        return Started(migration_id, execution["executionArn"])

    def outcome(self, started: Started) -> Outcome | None:
        """How a migration ended; None while it runs."""
        state = self.executions.describe_execution(executionArn=started.execution_arn)
        if state["status"] == "RUNNING":
            return None
        return Outcome(
            migration_id=started.migration_id,
            status=state["status"],
            output=json.loads(state.get("output", "null")),
            error=state.get("error", ""),
            cause=state.get("cause", ""),
        )

    def end(
        self, started: Started, at_gate: Mapping[str, Callable[[], None]] | None = None
    ) -> Outcome:
        """Follows an execution to its end."""
        outcomes: list[Outcome] = []

        def ended() -> bool:
            outcomes.extend(filter(None, [self.outcome(started)]))
            return bool(outcomes)

        self.follow(started, ended, at_gate)
        return outcomes[0]

    def follow(
        self,
        started: Started,
        until: Callable[[], bool],
        at_gate: Mapping[str, Callable[[], None]] | None = None,
    ) -> None:
        """Says yes at every gate, after `at_gate`, until something has happened."""
        give_up_at = time.monotonic() + _LONGEST_MIGRATION_SECONDS
        while not until():
            if time.monotonic() > give_up_at:
                raise TimeoutError(
                    f"{started.migration_id} runs for more than {_LONGEST_MIGRATION_SECONDS} s"
                )
            for gate, token in self._gates(started.migration_id):
                if token not in started.answered:
                    (at_gate or {}).get(gate, lambda: None)()
                    # One whose announcement failed may be answered by nobody any more.
                    with contextlib.suppress(
                        self.executions.exceptions.InvalidToken,
                        self.executions.exceptions.TaskDoesNotExist,
                        self.executions.exceptions.TaskTimedOut,
                    ):
                        self.executions.send_task_success(
                            taskToken=token, output='{"approved": true}'
                        )
                    started.answered.add(token)
            time.sleep(_LOOK_EVERY_SECONDS)

    def abort(self, started: Started) -> None:
        """Stops a migration, as people do in the console."""
        self.executions.stop_execution(executionArn=started.execution_arn)

    def roll_back_of(self, started: Started) -> list[Any]:
        """What the roll-backs of a migration ended with, the last first, once all have ended."""
        give_up_at = time.monotonic() + _LONGEST_ROLL_BACK_SECONDS
        while time.monotonic() < give_up_at:
            found = [
                execution
                for execution in self._roll_backs()
                if json.loads(execution["input"])["name"] == started.migration_id
            ]
            if found and all(execution["status"] != "RUNNING" for execution in found):
                return [
                    json.loads(execution["output"])
                    for execution in found
                    if execution["status"] == "SUCCEEDED"
                ]
            time.sleep(_LOOK_EVERY_SECONDS)
        raise TimeoutError(
            f"{started.migration_id} isn't rolled back after {_LONGEST_ROLL_BACK_SECONDS} s"
        )

    def _roll_backs(self) -> Iterator[Any]:
        """The latest roll-backs, with their input."""
        answer = self.executions.list_executions(
            stateMachineArn=self.world.deployment["state_machines"]["roll_back"]
        )
        latest = sorted(answer["executions"], key=lambda one: one["startDate"], reverse=True)
        for execution in latest[:_LATEST_ROLL_BACKS]:
            yield self.executions.describe_execution(executionArn=execution["executionArn"])

    def run(self, state_machine: str, document: Any) -> Outcome:
        """Runs an execution of any state machine to its end."""
        return self.end(self.start(document, state_machine))

    @contextmanager
    def lost_events(self) -> Iterator[None]:
        """Nobody is told how migrations end."""
        events = self.client("events")
        [rule] = [
            rule["Name"]
            for rule in events.list_rules()["Rules"]
            if "RollBackStateMachine" in rule["Name"]
        ]
        # LocalStack follows a rule though it is disabled.
        targets = events.list_targets_by_rule(Rule=rule)["Targets"]
        events.remove_targets(Rule=rule, Ids=[target["Id"] for target in targets])
        try:
            yield
        finally:
            events.put_targets(Rule=rule, Targets=targets)

    def expire_leases(self) -> None:
        """Has all leases expired, as after an hour in which nobody renewed them."""
        for lease in leases.held(self.table):
            self.table.update_item(
                Key={"migration_id": "#leases", "record": f"lease#{lease.resource}"},
                UpdateExpression="SET expires_at = :now",
                ExpressionAttributeValues={":now": int(time.time()) - 1},
            )

    def sweep(self) -> Any:
        """Has the sweep of leases done; returns whose roll-back it has started."""
        answer = self._functions.invoke(FunctionName=self._function("sweep_leases"))
        return json.loads(answer["Payload"].read())["rolled_back"]

    def snapshots(self) -> set[str]:
        """The keys of what describes a snapshot in the migration bucket."""
        pages = self.bucket.get_paginator("list_objects_v2").paginate(Bucket=self.world.s3.bucket)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key for key in keys if "/snap-" in key}

    def running(self, state_machine: str) -> list[str]:
        """The ARNs of the executions of a state machine that run."""
        answer = self.executions.list_executions(
            stateMachineArn=self.world.deployment["state_machines"][state_machine],
            statusFilter="RUNNING",
        )
        return [execution["executionArn"] for execution in answer["executions"]]

    def failures_of(self, started: Started) -> int:
        """How many calls of functions have failed in an execution."""
        history = self.executions.get_execution_history(executionArn=started.execution_arn)
        return [event["type"] for event in history["events"]].count("TaskFailed")

    def has_entered(self, started: Started, state: str) -> bool:
        """Whether a migration, or an execution that it started, has come to a state."""
        return any(
            event.get("stateEnteredEventDetails", {}).get("name") == state
            for events in histories(self.executions, started.execution_arn)
            for event in events
        )

    def mark(self, started: Started) -> str | None:
        """Whether a migration is `running`, `rolling_back` or `ended`; None if nobody knows it."""
        mark = Fence(self.table, started.migration_id).mark()
        return mark.state if mark else None

    def open_gates(self, migration_id: str, gate: str) -> int:
        """At how many gates of a name a migration waits, or has waited."""
        return [name for name, _ in self._gates(migration_id)].count(gate)

    def _gates(self, migration_id: str) -> list[tuple[str, str]]:
        answer = self.table.query(
            KeyConditionExpression="migration_id = :id AND begins_with(#record, :gate)",
            ExpressionAttributeNames={"#record": "record"},
            ExpressionAttributeValues={":id": migration_id, ":gate": "gate#"},
        )
        return [(str(item["gate"]), str(item["token"])) for item in answer["Items"]]

    def record(self, migration_id: str, name: str) -> Any:
        """A record of a migration, such as `source/verification`."""
        answer = self._records.get_object(
            Bucket=self.world.deployment["records_bucket"],
            Key=f"migrations/{migration_id}/{name}.json",
        )
        return json.loads(answer["Body"].read())

    def recorded(self, migration_id: str) -> set[str]:
        """The names of the records that a migration has left."""
        prefix = f"migrations/{migration_id}/"
        answer = self._records.list_objects_v2(
            Bucket=self.world.deployment["records_bucket"], Prefix=prefix
        )
        return {item["Key"].removeprefix(prefix) for item in answer.get("Contents", [])}

    def repositories(self) -> dict[str, Any]:
        """The repositories of both clusters."""
        return {
            "source": self.source.snapshot.get_repository(),
            "destination": self.destination.snapshot.get_repository(),
        }

    def package(self, handler: str) -> bytes:
        """The zip that a function was deployed with."""
        answer = self._functions.get_function(FunctionName=self._function(handler))
        with urlopen(answer["Code"]["Location"]) as package:  # noqa: S310 - the sandbox's own
            content: bytes = package.read()
        return content

    @contextmanager
    def changed_code(self, handler: str, module: str, old: str, new: str) -> Iterator[None]:
        """Has a function run with one text of one of its modules changed."""
        function = self._function(handler)
        original = self.package(handler)
        # It would be taken in place of the module.
        bytecode = importlib.util.cache_from_source(module)
        altered = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(original)) as before,
            zipfile.ZipFile(altered, "w") as after,
        ):
            for name in before.namelist():
                if name == bytecode:
                    continue
                content = before.read(name)
                if name == module:
                    assert content.decode().count(old) == 1
                    content = content.decode().replace(old, new).encode()
                after.writestr(name, content)
        self._deploy_code(function, altered.getvalue())
        try:
            yield
        finally:
            self._deploy_code(function, original)

    @contextmanager
    def short_time_out(self, handler: str) -> Iterator[None]:
        """Has a function end after a few seconds."""
        name = self._function(handler)
        seconds = self._functions.get_function_configuration(FunctionName=name)["Timeout"]
        self._configure(name, _SHORT_TIME_OUT_SECONDS)
        try:
            yield
        finally:
            self._configure(name, seconds)

    def _configure(self, name: str, time_out_seconds: int) -> None:
        self._functions.update_function_configuration(FunctionName=name, Timeout=time_out_seconds)
        self._wait_for_update(name)

    def _function(self, handler: str) -> str:
        [name] = [
            function["FunctionName"]
            for page in self._functions.get_paginator("list_functions").paginate()
            for function in page["Functions"]
            if function["Handler"] == f"{handler}.handler"
        ]
        return name

    def _deploy_code(self, name: str, code: bytes) -> None:
        self._functions.update_function_code(FunctionName=name, ZipFile=code)
        self._wait_for_update(name)

    def _wait_for_update(self, name: str) -> None:
        self._functions.get_waiter("function_updated_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": _LONGEST_UPDATE_SECONDS}
        )


def fill(
    cluster: OpenSearch,
    index: str,
    documents: int,
    *,
    shards: int = 1,
    first: int = 0,
    aliases: Mapping[str, Any] | None = None,
    mappings: Mapping[str, Any] | None = None,
) -> None:
    """Makes an index, if it isn't there, and writes numbered documents into it."""
    if not cluster.indices.exists(index=index):
        cluster.indices.create(
            index=index,
            body={
                "settings": {"number_of_shards": shards, "number_of_replicas": 0},
                "mappings": {"properties": {"parts": {"type": "nested"}}, **(mappings or {})},
                "aliases": dict(aliases or {}),
            },
        )
    bulk(
        cluster,
        (
            {"_index": index, "_id": number, "number": number, "parts": [{"a": 1}, {"a": number}]}
            for number in range(first, first + documents)
        ),
        refresh=True,
    )


def wait_until(happened: Callable[[], bool]) -> None:
    """Waits for something that will happen soon."""
    give_up_at = time.monotonic() + _LONGEST_WAIT_SECONDS
    while not happened():
        assert time.monotonic() < give_up_at
        time.sleep(_LOOK_EVERY_SECONDS / 4)


@contextmanager
def granted(job: DomainJob) -> Iterator[tuple[Journal, Records]]:
    """What a migration is granted when it begins, and the rest of its journal, given back.

    Args:
        job: of one in the stack that this process acts as a function of.
    """
    journal, records = clients.journal(job.migration_id), clients.records(job.migration_id)
    records.write("jobs", [job.model_dump(mode="json")])
    source, destination = job.domain, job.destination
    try:
        security.grant_at_source(
            journal, clients.source(source), clients.source_administrator(source), job
        )
        security.grant_at_destination(
            journal,
            clients.destination(destination),
            clients.destination_administrator(destination),
            job,
            clients.destination_caller(destination),
        )
        yield journal, records
    finally:
        outcome = roll_back.give_back(journal, records, clients.sides(records), float("inf"))
        assert not outcome["failed"], outcome
