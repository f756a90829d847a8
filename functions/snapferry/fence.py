"""Whether a migration may still change the outside world, and who is changing it right now.

A roll-back must not run beside a function that still changes things, and stopping an execution
doesn't end its functions. So each function notes that it is at work before it looks whether it may
be, and the roll-back marks the migration before it looks who is at work: whichever comes second
sees the first. A function that died stays noted until its time-out has passed.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from snapferry import table
from snapferry.errors import Conflict, MigrationEnded

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

type State = Literal["running", "rolling_back", "ended"]

_MARK = "migration"
_EFFECT = "effect#"


@dataclass(frozen=True)
class Mark:
    """How a migration is marked.

    Attributes:
        state: who may change something for it.
        execution_arn: of the migration.
        started_at: in seconds of the epoch.
        roller_arn: the execution that rolls it back; None before.
    """

    state: State
    execution_arn: str
    started_at: int
    roller_arn: str | None = None


@dataclass(frozen=True)
class Fence:
    """The mark of one migration, and the functions at work for it.

    Attributes:
        items: the table of the stack.
        migration_id: whose.
    """

    items: "Table"
    migration_id: str

    def open(self, execution_arn: str) -> None:
        """Marks the migration as running; the same execution may do so again.

        Raises:
            Conflict: another execution of this name has been there before.
        """
        opened = table.put_if(
            self.items,
            self._marked(Mark("running", execution_arn, int(time.time()))),
            "attribute_not_exists(#record) OR (#state = :running AND #execution_arn = :own)",
            running="running",
            own=execution_arn,
        )
        if not opened:
            raise Conflict(
                f"there has been a migration {self.migration_id!r} before: start the execution "
                "with another name"
            )

    def never_open(self, execution_arn: str) -> bool:
        """Marks a migration that was never opened as ended, lest a late function opens it.

        Returns:
            Whether it was never opened.
        """
        now = int(time.time())
        return table.put_if(
            self.items,
            self._marked(Mark("ended", execution_arn, now), ended_at=now),
            "attribute_not_exists(#record)",
        )

    def mark(self) -> Mark | None:
        """The mark as it is now; None where the migration never got so far."""
        item = table.get(self.items, self.migration_id, _MARK)
        if item is None:
            return None
        return Mark(
            state=item["state"],
            execution_arn=item["execution_arn"],
            started_at=int(item["started_at"]),
            roller_arn=item.get("roller_arn"),
        )

    def close(self, roller_arn: str, ended_roller_arn: str | None = None) -> bool:
        """Marks the migration as rolling back: nobody else may change anything from here on.

        Args:
            roller_arn: the execution that rolls back.
            ended_roller_arn: one that ended before it was done, which this one takes over from.

        Returns:
            Whether this execution is the one that rolls back; another may have come first.
        """
        mark = self.mark()
        return mark is not None and table.put_if(
            self.items,
            self._marked(replace(mark, state="rolling_back", roller_arn=roller_arn)),
            "#state = :running OR (#state = :rolling_back AND #roller_arn IN (:own, :ended))",
            running="running",
            rolling_back="rolling_back",
            own=roller_arn,
            ended=ended_roller_arn or roller_arn,
        )

    def end(self) -> None:
        """Marks a migration that was rolled back as ended, for good."""
        mark = self.mark()
        if mark is not None:
            ended = replace(mark, state="ended")
            self.items.put_item(Item=self._marked(ended, ended_at=int(time.time())))

    @contextmanager
    def effect(
        self, request_id: str, remaining_milliseconds: int, during: State = "running"
    ) -> Iterator[None]:
        """Notes that a function is at work while it changes something.

        Args:
            request_id: of the function's invocation.
            remaining_milliseconds: after which Lambda ends it.
            during: the state of the migration in which it may.

        Raises:
            MigrationEnded: the migration is in another state.
        """
        key = self._key(f"{_EFFECT}{request_id}")
        ends_at = int(time.time() + remaining_milliseconds / 1000) + 1
        self.items.put_item(Item={**key, "ends_at": ends_at})
        try:
            mark = self.mark()
            if mark is None or mark.state != during:
                state = mark.state.replace("_", " ") if mark else "unknown"
                raise MigrationEnded(
                    f"the migration {self.migration_id} is {state}: nothing is changed for it any "
                    "more. What to do: start a new migration; it goes on with what was copied."
                )
            yield
        finally:
            self.items.delete_item(Key=key)

    def seconds_until_quiet(self) -> int:
        """After how many seconds at the most no function is at work any more; 0 if none is now."""
        ends_at = [
            int(item["ends_at"]) for item in table.query(self.items, self.migration_id, _EFFECT)
        ]
        return max(0, max(ends_at, default=0) - int(time.time()))

    def _marked(self, mark: Mark, **more: int) -> dict[str, Any]:
        """The item of a mark, without what there isn't yet."""
        there = {name: value for name, value in asdict(mark).items() if value is not None}
        return {**self._key(_MARK), **there, **more}

    def _key(self, record: str) -> dict[str, str]:
        return {"migration_id": self.migration_id, "record": record}
