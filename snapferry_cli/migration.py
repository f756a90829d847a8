"""A migration as its execution and the table of the stack show it, and the answers to its gates."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from json import dumps, loads
from typing import TYPE_CHECKING, Any

from snapferry import catchup, gates, progress, table
from snapferry.errors import Conflict, NotFound
from snapferry.fence import Fence, Mark
from snapferry.journal import Journal

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_stepfunctions import SFNClient


# How long one that was started may not be seen.
_UNSEEN_SECONDS = 10
_LOOK_EVERY_SECONDS = 1


def describe(step_functions: "SFNClient", execution_arn: str, *, just_started: bool) -> Any:
    """What Step Functions says of an execution.

    Source: https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html

    Args:
        step_functions: the client.
        execution_arn: of the execution.
        just_started: by this command: what isn't seen is looked for again, for some seconds.

    Raises:
        ExecutionDoesNotExist: of the client.
    """
    for _ in range(0, _UNSEEN_SECONDS if just_started else 0, _LOOK_EVERY_SECONDS):
        with contextlib.suppress(step_functions.exceptions.ExecutionDoesNotExist):
            return step_functions.describe_execution(executionArn=execution_arn)
        time.sleep(_LOOK_EVERY_SECONDS)
    return step_functions.describe_execution(executionArn=execution_arn)


@dataclass(frozen=True)
class Gate:
    """A point at which a person has to say that the migration may go on.

    Attributes:
        name: which gate, such as `stop_writes`.
        domain: whose.
        prompt: what the person is to do.
        token: answers it; never shown.
        announced_at: in seconds of the epoch, as the other times.
        deadline: when its time runs out.
        state: `open` or `answered`.
        answered_by: ARN of who answered; None before, or where it was answered without this tool.
        answered_at: when.
    """

    name: str
    domain: str
    prompt: str
    token: str = field(repr=False)
    announced_at: float
    deadline: float
    state: str
    answered_by: str | None
    answered_at: float | None

    @property
    def is_open(self) -> bool:
        """Whether it waits for an answer."""
        return self.state == "open" and time.time() < self.deadline

    def as_json(self) -> dict[str, Any]:
        """What programs get to know of it."""
        return {
            "gate": self.name,
            "domain": self.domain,
            "prompt": self.prompt,
            "announced_at": timestamp(self.announced_at),
            "deadline": timestamp(self.deadline),
            "state": self.state,
            "answered_by": self.answered_by,
            "answered_at": self.answered_at and timestamp(self.answered_at),
        }


@dataclass(frozen=True)
class Look:
    """How far a migration is.

    Attributes:
        migration_id: whose.
        status: `RUNNING`, `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`.
        state: `running`, `rolling_back` or `ended`; None before it has changed anything.
        started_at: in seconds of the epoch.
        ended_at: likewise; None while it runs.
        domains: of each how far it is, as `snapferry.progress` shows it.
        open_gates: what waits for an answer.
        output: what it ended with; None unless it succeeded.
        error: why it failed.
        cause: likewise, in words.
    """

    migration_id: str
    status: str
    state: str | None
    started_at: float
    ended_at: float | None
    domains: list[dict[str, Any]]
    open_gates: list[Gate]
    output: Any
    error: str | None
    cause: str | None

    def as_json(self) -> dict[str, Any]:
        """What programs get to know."""
        return {
            "migration_id": self.migration_id,
            "status": self.status,
            "state": self.state,
            "started_at": timestamp(self.started_at),
            "ended_at": self.ended_at and timestamp(self.ended_at),
            "domains": self.domains,
            "gates": [gate.as_json() for gate in self.open_gates],
            "output": self.output,
            "error": self.error,
            "cause": self.cause,
        }


@dataclass(frozen=True)
class Changes:
    """What a migration has changed in the outside world, each in words.

    Attributes:
        given_back: as it was before.
        foreign: changed by someone else meanwhile, or given up by people, and left.
        kept: left, because clients may have moved.
        handed_over: the clients' at the destination, for good.
        open: not given back yet.
        write_blocks: how many of those that are open let the source take no writes.
        kept_write_blocks: how many of those that are kept do so.
    """

    given_back: list[str]
    foreign: list[str]
    kept: list[str]
    handed_over: list[str]
    open: list[str]
    write_blocks: int
    kept_write_blocks: int


@dataclass(frozen=True)
class Migration:
    """A migration that was started.

    Attributes:
        migration_id: the name of its execution.
        execution_arn: of that execution.
        step_functions: a client.
        items: the table of the stack.
        just_started: by this command, so that it is there though it may not be seen yet.
    """

    migration_id: str
    execution_arn: str
    step_functions: "SFNClient"
    items: "Table"
    just_started: bool = False

    def look(self) -> Look:
        """How far it is.

        Raises:
            NotFound: there is no such migration.
        """
        execution = self._execution()
        mark = self.mark()
        running = execution["status"] == "RUNNING"
        return Look(
            migration_id=self.migration_id,
            status=execution["status"],
            state=mark.state if mark else None,
            started_at=execution["startDate"].timestamp(),
            ended_at=None if running else execution["stopDate"].timestamp(),
            domains=[
                {"domain": item.pop("record").partition("#")[2], **item}
                for item in self._query(progress.RECORDS)
            ],
            # Those of an execution that has ended can't be answered any more.
            open_gates=[gate for gate in self.gates() if gate.is_open] if running else [],
            output=loads(execution.get("output", "null")),
            error=execution.get("error"),
            cause=execution.get("cause"),
        )

    def status(self) -> str:
        """`RUNNING`, `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`.

        Raises:
            NotFound: there is no such migration.
        """
        return str(self._execution()["status"])

    def _execution(self) -> Any:
        try:
            return describe(self.step_functions, self.execution_arn, just_started=self.just_started)
        except self.step_functions.exceptions.ExecutionDoesNotExist:
            raise NotFound(
                f"there is no migration {self.migration_id!r}. What to do: check the id, --stack, "
                "--region and --profile; Step Functions forgets executions 90 days after their end."
            ) from None

    def mark(self) -> Mark | None:
        """Its mark in the table; None before it has changed anything."""
        return Fence(self.items, self.migration_id).mark()

    def gates(self) -> list[Gate]:
        """The gates that were announced so far, in the order in which they were."""
        announced = [
            Gate(
                name=item["gate"],
                domain=item["domain"],
                prompt=item["prompt"],
                token=item["token"],
                announced_at=item["announced_at"],
                deadline=item["deadline"],
                state=item["gate_state"],
                answered_by=item.get("answered_by"),
                answered_at=item.get("answered_at"),
            )
            for item in self._query(gates.RECORDS)
        ]
        return sorted(announced, key=lambda gate: gate.announced_at)

    def approve(self, gate: Gate, by: str) -> None:
        """Lets the migration go on.

        Args:
            gate: one that is open.
            by: ARN of who says so.

        Raises:
            Conflict: it isn't open any more.
        """
        now = time.time()
        output = dumps({"approved": True, "by": by, "at": timestamp(now)})
        self._answer(
            gate,
            by,
            now,
            lambda: self.step_functions.send_task_success(taskToken=gate.token, output=output),
        )

    def reject(self, gate: Gate, by: str, reason: str) -> None:
        """Lets the migration fail, and be rolled back.

        Args:
            gate: one that is open.
            by: ARN of who says so.
            reason: becomes part of the cause.

        Raises:
            Conflict: it isn't open any more.
        """
        self._answer(
            gate,
            by,
            time.time(),
            lambda: self.step_functions.send_task_failure(
                taskToken=gate.token, error="GateRejected", cause=f"rejected by {by}: {reason}"
            ),
        )

    def _answer(self, gate: Gate, by: str, at: float, send: Callable[[], object]) -> None:
        exceptions = self.step_functions.exceptions
        try:
            send()
        except (exceptions.TaskTimedOut, exceptions.TaskDoesNotExist):
            raise Conflict(
                f"the gate {gate.name} of {gate.domain} isn't open any more: it was answered, its "
                f"time ran out, or the migration has ended. What to do: see how far it is with "
                f"`snapferry watch {self.migration_id}`."
            ) from None
        with contextlib.suppress(self.items.meta.client.exceptions.ConditionalCheckFailedException):
            self.items.update_item(
                Key={
                    "migration_id": self.migration_id,
                    "record": gates.record(gate.domain, gate.name),
                },
                UpdateExpression="SET #state = :answered, answered_by = :by, answered_at = :at",
                # Not if it was announced anew meanwhile: then that one is open.
                ConditionExpression="#state = :open AND #token = :token",
                ExpressionAttributeNames={"#state": "gate_state", "#token": "token"},
                ExpressionAttributeValues={
                    ":answered": "answered",
                    ":by": by,
                    ":at": int(at),
                    ":open": "open",
                    ":token": gate.token,
                },
            )

    def changes(self) -> Changes:
        """What it has changed, and what became of that; see `snapferry.journal`."""
        changes = Changes([], [], [], [], [], 0, 0)
        write_blocks: Counter[str] = Counter()
        for change in Journal(self.items, self.migration_id).changes():
            if change.place.kind == catchup.WRITE_BLOCK:
                write_blocks[change.state] += 1
            match change.state:
                case "given_back":
                    changes.given_back.append(str(change.place))
                case "foreign" | "given_up":
                    changes.foreign.append(change.note)
                case "kept":
                    changes.kept.append(change.note)
                case "handed_over":
                    changes.handed_over.append(str(change.place))
                case _:
                    changes.open.append(str(change.place))
        return replace(
            changes, write_blocks=write_blocks["open"], kept_write_blocks=write_blocks["kept"]
        )

    def sides(self) -> list[str]:
        """Where it has changed something."""
        changes = Journal(self.items, self.migration_id).changes()
        return sorted({change.place.side for change in changes})

    def _query(self, prefix: str) -> Iterator[dict[str, Any]]:
        """The items whose record begins so, as plain JSON."""
        for item in table.query(self.items, self.migration_id, prefix):
            del item["migration_id"]
            yield loads(dumps(item, default=_number))


def timestamp(seconds: float) -> str:
    """A time as people and programs read it: ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _number(value: Decimal) -> int | float:
    """A number of DynamoDB as JSON has it."""
    return int(value) if value == value.to_integral_value() else float(value)
