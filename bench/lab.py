"""Where contenders are measured: two clusters, a base for all, a write stop for each."""

import contextlib
import itertools
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.workload import Churn, Client, Workload, write
from snapferry import (
    access,
    clients,
    cutover,
    indices,
    repositories,
    request,
    restore_limits,
    snapshots,
)
from snapferry.indices import Index
from snapferry.journal import Journal
from snapferry.records import Records
from snapferry.request import DomainJob
from snapferry_sandbox import network
from tests.sandbox.migrations import Sandbox, granted

_PATIENCE_SECONDS = 900
_CLIENT_WRITES_SECONDS = 2
_LAST = "last"
# Nobody answers at once, and rounds go on beside the gate: some answers come in the midst of one.
GATE_ANSWERED_AFTER_SECONDS = (5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0)
"""Of each write stop that is measured; at each size the same."""
ROUND = 1
"""The number of the base's snapshot."""


@dataclass(frozen=True)
class Measured:
    """What a contender took.

    Attributes:
        write_stop_seconds: from the last write that the source has accepted to the first that the
            destination has, as the client saw it, without the waiting of gates.
        total_seconds: of everything that is done, from the first snapshot on.
    """

    write_stop_seconds: float
    total_seconds: float


@dataclass
class Base:
    """A snapshot, and what the domain functions need to go on from it.

    Attributes:
        job: whose repository it lies in, on both sides.
        records: of the job.
        journal: of the job.
        selected: the indices in it.
        size_bytes: what it takes.
        snapshot_seconds: how long it took.
    """

    job: DomainJob
    records: Records
    journal: Journal
    selected: list[Index]
    size_bytes: int
    snapshot_seconds: float

    @property
    def snapshot(self) -> str:
        """Its name."""
        return self.job.snapshot(ROUND)


@contextlib.contextmanager
def taken_base(sandbox: Sandbox, names: Sequence[str]) -> Iterator[Base]:
    """Take a snapshot by a migration's own means, in a path of its own; give them back.

    Args:
        sandbox: with a deployed stack; its account is this process's.
        names: the indices.
    """
    migration_id = f"bench-{uuid.uuid4().hex[:12]}"
    [job], _ = request.parse(
        sandbox.request(*names, bucket__base_path=f"snapferry/{migration_id}"), migration_id
    )
    source, destination = clients.source(job.domain), clients.destination(job.destination)
    with granted(job) as (journal, records):
        access.let_source_write(journal, clients.bucket(job.bucket), [job], job.way)
        repositories.register_source(journal, source, job)
        repositories.register_destination(journal, destination, job)
        selected = indices.select(indices.list_all(source).values(), job.domain.indices)
        started_at = time.monotonic()
        cutover.keep_base(source, records, job, ROUND, list(names))
        snapshot = snapshots.start(journal, source, job, ROUND, names)
        taken = snapshots.check(source, job, snapshot, _PATIENCE_SECONDS)
        assert taken.ended
        snapshot_seconds = time.monotonic() - started_at
        yield Base(job, records, journal, selected, taken.bytes_total, snapshot_seconds)


@dataclass
class Lab:
    """One pair of clusters, with a churn on top of a base.

    Attributes:
        sandbox: both clusters and the deployed stack.
        workload: what is in them.
        churn: what is written after the base was taken.
        appended: how many documents the churn appends.
        base: what all contenders begin with; its snapshot was taken with unlimited network.
        bulk_seconds: how long a restore of everything takes; None before one was measured.
        client: who writes.
        seconds_until_answer: of the gates before the next write stops.
        has_churned: whether the churn was written.
    """

    sandbox: Sandbox
    workload: Workload
    churn: Churn
    appended: int
    base: Base
    bulk_seconds: float | None
    client: Client = field(init=False)
    seconds_until_answer: Iterator[float] = field(
        init=False, default_factory=lambda: itertools.cycle(GATE_ANSWERED_AFTER_SECONDS)
    )
    has_churned: bool = False

    def __post_init__(self) -> None:
        self.client = Client(self.workload, self.churn)

    def write_churn(self) -> None:
        """Have the churn written to the source, unless it is already."""
        if not self.has_churned:
            write(self.sandbox.source, self.workload.churn(self.churn, self.appended))
        self.has_churned = True

    def write_until_stop(
        self, meanwhile: Callable[[], None] = lambda: time.sleep(_CLIENT_WRITES_SECONDS)
    ) -> None:
        """Have the client write to the source for a while; with the last of it writes stop."""
        self.write_churn()
        self.client.start(self.sandbox.source)
        try:
            meanwhile()
        finally:
            self.client.stop()

    @contextlib.contextmanager
    def tuned(self) -> Iterator[None]:
        """The destination's limits of recoveries are lifted, as a migration does."""
        refused = restore_limits.lift(self.base.journal, self.sandbox.destination, self.base.job)
        assert not refused
        try:
            yield
        finally:
            restore_limits.give_back(self.base.journal, self.sandbox.destination, self.base.job)

    def take_snapshot(self) -> str:
        """Take an incremental snapshot, in the base's repository."""
        answer = self.sandbox.source.snapshot.create(
            repository=self.base.job.repository,
            snapshot=_LAST,
            body={"indices": ",".join(self.workload.indices), "include_global_state": False},
            params={"wait_for_completion": "true", "request_timeout": _PATIENCE_SECONDS},
        )
        assert answer["snapshot"]["state"] == "SUCCESS", answer
        return _LAST

    def restore(self, snapshot: str) -> float:
        """Restore the indices, and their aliases with them; return the seconds that it took."""
        started_at = time.monotonic()
        # The cluster has read the list of snapshots before; a look at this one renews it.
        where: dict[str, Any] = {"repository": self.base.job.repository, "snapshot": snapshot}
        self.sandbox.destination.snapshot.get(**where)
        answer = self.sandbox.destination.snapshot.restore(
            **where,
            body={"indices": ",".join(self.workload.indices), "include_global_state": False},
            params={"wait_for_completion": "true", "request_timeout": _PATIENCE_SECONDS},
        )
        assert not answer["snapshot"]["shards"]["failed"], answer
        return time.monotonic() - started_at

    def restore_base(self) -> float:
        """Restore the base; return the seconds that it takes with limited network.

        Where a restore of everything was measured already, there is no limit this time.
        """
        if self.bulk_seconds is None:
            self.bulk_seconds = self.restore(self.base.snapshot)
        else:
            with network.lifted():
                self.restore(self.base.snapshot)
        return self.bulk_seconds

    def resume(self, seconds_before: float = 0) -> Measured:
        """Have the client write to the destination, which ends the write stop.

        Args:
            seconds_before: what was done before it.
        """
        resumed_at = self.workload.first_write(self.sandbox.destination)
        write_stop_seconds = resumed_at - self.client.last_accepted_at
        self.compare()
        return Measured(write_stop_seconds, seconds_before + write_stop_seconds)

    def compare(self) -> None:
        """Compare what is on both sides; the destination has the client's first write besides."""
        expected = indices.count(self.sandbox.source, self.workload.indices)
        expected[self.workload.indices[0]] += 1
        found = indices.count(self.sandbox.destination, self.workload.indices)
        assert found == expected, (found, expected)

    def clean(self) -> None:
        """Make both sides as they were before a contender."""
        self.sandbox.destination.indices.delete(
            index=",".join(self.workload.indices), params={"ignore_unavailable": "true"}
        )
        self.sandbox.source.indices.put_settings(
            index=",".join(self.workload.indices), body={"index.blocks.write": None}
        )
        repository = self.base.job.repository
        if self.sandbox.source.snapshot.get(
            repository=repository, snapshot=_LAST, ignore_unavailable=True
        )["snapshots"]:
            self.sandbox.source.snapshot.delete(repository=repository, snapshot=_LAST)
