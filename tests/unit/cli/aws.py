"""AWS as the command line meets it, behind the network.

The real boto3 talks to it, so that requests, answers and errors are the real ones. DynamoDB is
moto's; CloudFormation, STS and Step Functions are small ones of our own.
"""

import io
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from urllib3 import HTTPResponse

from snapferry import report
from snapferry.fence import Fence
from snapferry.journal import Journal
from snapferry.records import Records
from snapferry.verdicts import Verdict
from tests.unit.conftest import Announcements, Events

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client

STATES = "arn:aws:states:eu-west-1:222222222222"
MIGRATE = f"{STATES}:stateMachine:migrate"
ROLL_BACK = f"{STATES}:stateMachine:roll-back"
CALLER = "arn:aws:sts::222222222222:assumed-role/Operator/anna"
OUTPUTS = {
    "MigrateStateMachineArn": MIGRATE,
    "RollBackStateMachineArn": ROLL_BACK,
    "TableName": "snapferry",
    "RecordsBucketName": "records",
}


# As `snapferry.plan.write` stores it.
PLAN: dict[str, Any] = {
    "migration_id": "m-1",
    "restore": 1,
    "skip": 0,
    "reject": 1,
    "primary_store_bytes": 2_000_000,
    "copy_seconds": 10,
    "write_stop_seconds": 5,
    "changes": ["repository snapferry-m-1-logs (destination/search.example.com:9200)"],
    "notes": ["the limits of recoveries stay"],
    "domains": [
        {
            "domain": "logs",
            "version": "OpenSearch 2.19.4",
            "destination_version": "OpenSearch 3.6.0",
            "indices": [
                Verdict("orders", "restore", primary_store_bytes=2_000_000).record(),
                Verdict("old", "reject", "it is too old", "reindex it").record(),
            ],
        }
    ],
    "failed": [],
}


@dataclass(frozen=True)
class Request:
    """What was asked of AWS: a service, one of its operations, and its arguments."""

    service: str
    operation: str
    arguments: dict[str, Any]


@dataclass
class Refusal(Exception):  # noqa: N818
    """An error that AWS answers with."""

    code: str
    message: str = ""

    def as_json(self) -> dict[str, str]:
        return {"__type": self.code, "message": self.message}

    def as_xml(self) -> str:
        return (
            f"<ErrorResponse><Error><Code>{self.code}</Code>"
            f"<Message>{self.message}</Message></Error></ErrorResponse>"
        )


@dataclass
class FakeAws:
    """An account with a deployed stack.

    Attributes:
        items: the table of the stack.
        s3: a client for the stack's bucket of records.
        outputs: of the stack.
        executions: of all state machines, by ARN.
        open_tokens: of tasks that wait.
        answers: what was sent for tokens, in order.
        requests: all that were made.
        refusals: what comes of operations in place of answers, by their names.
        unknown_looks: at each execution that is started so many don't see it yet.
        events: what happens while a command waits, one for each of its waits.
        waited_seconds: by all waits so far.
    """

    items: "Table"
    s3: "S3Client"
    outputs: dict[str, str] = field(default_factory=lambda: dict(OUTPUTS))
    executions: dict[str, dict[str, Any]] = field(default_factory=dict)
    open_tokens: set[str] = field(default_factory=set)
    answers: list[dict[str, Any]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    refusals: dict[str, Exception] = field(default_factory=dict)
    unknown_looks: float = 0
    events: deque[Callable[[], object]] = field(default_factory=deque)
    waited_seconds: float = 0.0
    _unseen: dict[str, float] = field(default_factory=dict)

    # A migration

    def begin(self, migration_id: str = "m-1", *, marked: bool = True) -> str:
        """Has a migration run; returns its execution's ARN."""
        arn = f"{STATES}:execution:migrate:{migration_id}"
        self.executions[arn] = {"status": "RUNNING", "startDate": time.time()}
        if marked:
            Fence(self.items, migration_id).open(arn)
        return arn

    def end(self, arn: str, status: str = "SUCCEEDED", **attributes: Any) -> None:
        """Has an execution end."""
        self.executions[arn] |= {"status": status, "stopDate": time.time(), **attributes}

    def copy(self, **changes: Any) -> None:
        """Has the migration m-1 show its progress."""
        look = {
            "phase": "snapshot",
            "ended": False,
            "elapsed_seconds": 5.5,
            "bytes_done": 5_000_000,
            "bytes_total": 20_000_000,
            "bytes_reused": 0,
            "files_done": 3,
            "files_total": 30,
            "shards_done": 1,
            "shards_total": 5,
            "round": 1,
            "bytes_per_second": 1_000_000,
            "remaining_seconds": 15,
        }
        self._records().put("progress#logs", **(look | changes))

    def plan(self, **changes: Any) -> None:
        """Has the migration m-1 planned."""
        self._records().write("plan", PLAN | changes)

    def report(
        self, *domains: dict[str, Any], failure: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Has the migration m-1 write its report; returns it."""
        report.write(
            self._records(),
            Events().bus,
            Announcements().topic,
            domains,
            failure,
            {},
            "2026-11-23T20:00:00Z",
        )
        written: dict[str, Any] = self._records().read("report")
        return written

    def announce(
        self, gate: str = "stop_writes", domain: str = "logs", seconds: float = 3600
    ) -> str:
        """Has the migration m-1 wait at a gate; returns the token that answers it."""
        token = f"token of {gate} of {domain} at {time.time()}"
        self.open_tokens.add(token)
        self._records().put(
            f"gate#{domain}#{gate}",
            gate=gate,
            domain=domain,
            prompt=f"Do what {gate} asks for.",
            token=token,
            announced_at=time.time(),
            deadline=int(time.time() + seconds),
            gate_state="open",
        )
        return token

    def gate(self, gate: str = "stop_writes", domain: str = "logs") -> dict[str, Any]:
        """The item of a gate of the migration m-1."""
        key = {"migration_id": "m-1", "record": f"gate#{domain}#{gate}"}
        return self.items.get_item(Key=key, ConsistentRead=True)["Item"]

    @property
    def journal(self) -> Journal:
        """The journal of the migration m-1."""
        return Journal(self.items, "m-1")

    @property
    def fence(self) -> Fence:
        """The mark of the migration m-1."""
        return Fence(self.items, "m-1")

    def _records(self) -> Records:
        return Records(self.s3, "records", self.items, "m-1")

    # Its answers

    def wait(self, seconds: float) -> None:
        """In place of `time.sleep`."""
        self.waited_seconds += seconds
        assert self.events, "the command waits for something that never happens"
        self.events.popleft()()

    def sent(self, operation: str) -> list[dict[str, Any]]:
        """The arguments of each request for an operation."""
        return [made.arguments for made in self.requests if made.operation == operation]

    def answer(self, request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse | None:
        """A handler of `before-send`: None sends the request on, to moto."""
        service, operation = event_name.split(".")[1:]
        if service == "s3":
            path = urlsplit(str(request.url)).path.lstrip("/")
            self.requests.append(Request(service, operation, {"object": path}))
            return None
        text = request.body.decode() if isinstance(request.body, bytes) else str(request.body)
        speaks_json = service in ("sfn", "dynamodb")
        self.requests.append(
            Request(
                service,
                operation,
                json.loads(text)
                if speaks_json
                else {name: values[0] for name, values in parse_qs(text).items()},
            )
        )
        status = 200
        content: Any
        try:
            if operation in self.refusals:
                raise self.refusals[operation]
            if service == "dynamodb":
                return None
            content = getattr(self, f"_{operation}")(self.requests[-1].arguments)
        except Refusal as refusal:
            status = 400
            content = refusal.as_json() if speaks_json else refusal.as_xml()
        raw = HTTPResponse(
            body=io.BytesIO((json.dumps(content) if speaks_json else content).encode()),
            preload_content=False,
        )
        return AWSResponse(request.url, status, HTTPHeaders(), raw)

    def _DescribeStacks(self, arguments: dict[str, Any]) -> str:  # noqa: N802
        name = arguments["StackName"]
        if name != "snapferry":
            raise Refusal("ValidationError", f"Stack with id {name} does not exist")
        members = "".join(
            f"<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>"
            for key, value in self.outputs.items()
        )
        return (
            "<DescribeStacksResponse><DescribeStacksResult><Stacks><member>"
            f"<StackName>{name}</StackName><Outputs>{members}</Outputs>"
            "</member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
        )

    def _GetCallerIdentity(self, _: dict[str, Any]) -> str:  # noqa: N802
        return (
            "<GetCallerIdentityResponse><GetCallerIdentityResult>"
            f"<Arn>{CALLER}</Arn>"
            "</GetCallerIdentityResult></GetCallerIdentityResponse>"
        )

    def _StartExecution(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name = arguments.get("name", f"made-{len(self.executions)}")
        arn = f"{arguments['stateMachineArn'].replace('stateMachine', 'execution')}:{name}"
        if arn in self.executions:
            raise Refusal("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
        self.executions[arn] = {"status": "RUNNING", "startDate": time.time()}
        self._unseen[arn] = self.unknown_looks
        return {"executionArn": arn, "startDate": time.time()}

    def _DescribeExecution(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        arn = arguments["executionArn"]
        unseen = self._unseen.get(arn, 0)
        self._unseen[arn] = max(0, unseen - 1)
        if arn not in self.executions or unseen:
            raise Refusal("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        return {"executionArn": arn, **self.executions[arn]}

    def _StopExecution(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.end(
            arguments["executionArn"],
            "ABORTED",
            error=arguments["error"],
            cause=arguments["cause"],
        )
        return {"stopDate": time.time()}

    def _SendTaskSuccess(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if arguments["taskToken"] not in self.open_tokens:
            raise Refusal("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
        self.open_tokens.remove(arguments["taskToken"])
        self.answers.append(arguments)
        return {}

    _SendTaskFailure = _SendTaskSuccess
