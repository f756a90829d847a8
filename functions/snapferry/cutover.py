"""The cut-over: which indices are caught up, how long writes will stop, and the stop itself.

Catching up goes on from the last restore until the writes have stopped, so that what is left then
is the writing of the last seconds. An index that can't be caught up is copied by a last snapshot.
"""

import contextlib
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, Self

from opensearchpy import OpenSearch

from snapferry import catchup, indices, listing, restores, table, verification
from snapferry.engines import Engine
from snapferry.errors import AccessDenied, RequestRefused, Unavailable
from snapferry.journal import Journal, side_of
from snapferry.ownership import Ownership
from snapferry.records import Records
from snapferry.request import DomainJob

type Until = Literal["lag fits", "writes stop"]

# What a round may take: beside a gate little, because the writes may stop at any moment.
_LONGEST_ROUND_SECONDS = {"lag fits": 600, "writes stop": 15}
# When a call leaves the rest to the next one. A gate may wait for 30 days, and the history of an
# execution takes the events of 3,500 calls.
_LEAVE_AFTER_SECONDS = {"lag fits": 200, "writes stop": 780}
_LAST_ROUND_SECONDS = 600
_LONGEST_FREEZE_SECONDS = 30
_CHECKPOINT_SECONDS = 60
_LOOK_EVERY_SECONDS = 0.25
_SHORTEST_PAUSE_SECONDS = 1.0
# The calls that follow each other while writes are stopped: freeze, list, last round, verify, hand
# over, move aliases.
_CALLS_WITHOUT_WRITES = 6


@dataclass
class Ways:
    """By which way each index comes to its end.

    Attributes:
        round_number: of the snapshot that catching up began with.
        caught_up: the names of the indices that are caught up.
        by_snapshot: why the others need a last snapshot, by name.
    """

    round_number: int
    caught_up: list[str] = field(default_factory=list)
    by_snapshot: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Records, domain: str) -> Self:
        """Those of a domain; none where catching up hasn't begun."""
        return cls(**records.read(_name(domain), default={"round_number": 0}))

    def keep(self, records: Records, domain: str) -> None:
        """Stores them."""
        records.write(_name(domain), asdict(self))

    def leave_out(self, unfit: dict[str, str]) -> None:
        """Has indices go by a snapshot after all."""
        self.by_snapshot |= unfit
        self.caught_up = [name for name in self.caught_up if name not in unfit]


@dataclass
class Tally:
    """What catching up did so far, and what follows from it.

    Attributes:
        calls_seconds: what the calls of the write stop take besides its round, as measured.
        rounds: of each what it did; those beside a gate are one.
        predicted_write_stop_seconds: None as long as nothing was measured.
    """

    calls_seconds: float
    rounds: list[dict[str, Any]] = field(default_factory=list)
    predicted_write_stop_seconds: float | None = None

    @classmethod
    def of(cls, records: Records, domain: str) -> Self | None:
        """That of a domain; None where catching up hasn't begun."""
        item = table.get(records.table, records.migration_id, _record(domain))
        return None if item is None else cls(**json.loads(item["tally"]))

    def keep(self, records: Records, domain: str) -> None:
        """Stores it."""
        # As text: numbers stay what they are.
        records.put(_record(domain), tally=json.dumps(asdict(self)))

    def add(self, phase: str, done: catchup.Round) -> None:
        """Counts a round, and predicts the write stop anew."""
        lag = sum(index.lag for index in done.indices)
        this: dict[str, Any] = {
            "phase": phase,
            "rounds": 1,
            "documents": sum(index.documents for index in done.indices),
            "bytes": sum(index.document_bytes for index in done.indices),
            "deletes": sum(index.deletes for index in done.indices),
            "seconds": round(done.seconds, 3),
            "lag": lag,
        }
        if phase == "writes stop" and self.rounds[-1:] and self.rounds[-1]["phase"] == phase:
            before = self.rounds.pop()
            for name in ("rounds", "documents", "bytes", "deletes", "seconds"):
                this[name] += before[name]
        self.rounds.append(this)
        self.predicted_write_stop_seconds = self._predicted(lag)

    def _predicted(self, lag: int) -> float:
        """The calls, a round that finds nothing, and the time for each operation that is left."""
        shortest: float = min(each["seconds"] / each["rounds"] for each in self.rounds)
        documents: int = sum(each["documents"] for each in self.rounds)
        seconds: float = sum(each["seconds"] for each in self.rounds)
        copying = lag * seconds / documents if documents else 0
        return round(self.calls_seconds + shortest + copying, 1)

    def is_enough(self, job: DomainJob) -> bool:
        """Whether the write stop would be short enough, or doesn't become shorter."""
        lags = [each["lag"] for each in self.rounds[-2:]]
        return (
            (self.predicted_write_stop_seconds or 0) <= job.cutover.write_stop_seconds
            or (len(lags) == 2 and lags[1] >= lags[0])
            or len(self.rounds) >= job.cutover.catch_up_rounds
        )


def keep_base(
    source: OpenSearch, records: Records, job: DomainJob, round_number: int, names: list[str]
) -> None:
    """Notes what the last snapshot before catching up surely holds; other rounds need no note.

    Without it an index goes by a last snapshot.

    Args:
        source: the domain.
        records: of the migration.
        job: whose snapshot.
        round_number: of the snapshot that is about to be started.
        names: the indices in it.
    """
    if not job.cutover.catch_up or round_number != job.cutover.rounds:
        return
    if Engine.of(source).is_too_old:
        return
    # Some services don't let everybody look.
    with contextlib.suppress(AccessDenied, RequestRefused):
        catchup.keep_base(
            source, records, job.domain.name, names, round_number, _CHECKPOINT_SECONDS
        )


def begin(
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    job: DomainJob,
    round_number: int,
    entered_at: str,
) -> dict[str, int]:
    """Finds out which indices can be caught up, and makes them ready for it.

    Args:
        source: the domain.
        destination: where the round was restored.
        records: of the migration.
        job: the domain's.
        round_number: of the last restore.
        entered_at: when the state was entered, as ISO 8601: what is passed since then is what a
            call of a function costs besides its work.

    Returns:
        How many are to be `caught_up`, and how many go `by_snapshot`.
    """
    call_seconds = max(0.0, time.time() - datetime.fromisoformat(entered_at).timestamp())
    domain = job.domain.name
    selected = listing.selected(records, domain, round_number)
    ways = Ways(round_number, [index.name for index in selected])
    ways.leave_out(catchup.qualify(source, destination, selected))
    if ways.caught_up:
        ways.leave_out(
            catchup.begin(source, destination, records, domain, ways.caught_up, round_number)
        )
    if ways.caught_up:
        catchup.tune(destination, records, domain, ways.caught_up, round_number)
    ways.keep(records, domain)
    began_at = time.monotonic()
    for cluster in (source, destination):
        indices.list_all(cluster)
        verification.count(cluster, [index.name for index in selected])
    calls_seconds = time.monotonic() - began_at + _CALLS_WITHOUT_WRITES * call_seconds
    Tally(round(calls_seconds, 3)).keep(records, domain)
    return {"caught_up": len(ways.caught_up), "by_snapshot": len(ways.by_snapshot)}


def catch_up(
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    job: DomainJob,
    until: Until,
    effect: Callable[[], AbstractContextManager[None]],
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Brings the destination up to the source, in rounds, while clients write.

    Args:
        source: the domain.
        destination: where the indices were restored.
        records: of the migration.
        job: the domain's.
        until: the lag is so small that the write stop is as short as wanted, or as it gets; or the
            source is frozen.
        effect: inside of it the destination may be changed; it raises where that is over.
        sleep: waits.

    Returns:
        Whether it has `ended`, and `predicted_write_stop_seconds`.
    """
    domain = job.domain.name
    ways, tally = Ways.of(records, domain), Tally.of(records, domain)
    leave_at = time.monotonic() + _LEAVE_AFTER_SECONDS[until]
    ended = False
    while ways.caught_up and tally and not ended and time.monotonic() < leave_at:
        with effect():
            done = catchup.run_round(
                source, destination, records, domain, ways.caught_up, _LONGEST_ROUND_SECONDS[until]
            )
        if unfit := {index.index: index.unfit for index in done.indices if index.unfit}:
            ways.leave_out(unfit)
            ways.keep(records, domain)
        tally.add(until, done)
        tally.keep(records, domain)
        if until == "lag fits":
            ended = tally.is_enough(job)
        else:
            ended = _is_frozen_after(records, domain, done.seconds, sleep)
    return {
        "ended": ended or not ways.caught_up,
        "predicted_write_stop_seconds": tally.predicted_write_stop_seconds if tally else None,
    }


def _is_frozen_after(
    records: Records, domain: str, seconds: float, sleep: Callable[[float], None]
) -> bool:
    """Waits for about as long as a round took, to leave the clusters to others as well."""
    looks = round(max(seconds, _SHORTEST_PAUSE_SECONDS) / _LOOK_EVERY_SECONDS)
    for _ in range(looks):
        if table.get(records.table, records.migration_id, _frozen(domain)):
            return True
        sleep(_LOOK_EVERY_SECONDS)
    return False


def freeze(
    journal: Journal, source: OpenSearch, records: Records, job: DomainJob
) -> dict[str, Any]:
    """Stops the writes to the indices that are caught up.

    Those that go by a last snapshot aren't blocked: the block would come along with them.

    Returns:
        How many are `frozen`, when that began as `stopped_at`, in seconds of the epoch, and
        `predicted_write_stop_seconds`; None where nothing was measured.
    """
    stopped_at = time.time()
    names = Ways.of(records, job.domain.name).caught_up
    frozen = catchup.freeze(journal, source, job.domain.name, names, _LONGEST_FREEZE_SECONDS)
    records.put(_frozen(job.domain.name), frozen=len(frozen))
    return {
        "frozen": len(frozen),
        "stopped_at": stopped_at,
        "predicted_write_stop_seconds": predicted_write_stop_seconds(records, job.domain.name),
    }


def finish(
    journal: Journal,
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    job: DomainJob,
    round_number: int,
) -> dict[str, int]:
    """Runs the last round of the indices that are frozen, and says what is left for a snapshot.

    Args:
        journal: of the migration.
        source: the domain.
        destination: where the indices were restored.
        records: of the migration.
        job: the domain's.
        round_number: of the list of indices that was made after the freeze.

    Returns:
        How many are `caught_up`, and how many are left to go `by_snapshot`.

    Raises:
        Unavailable: where the last round didn't come to its end; call again.
        VerificationFailed: where both sides differ afterwards.
    """
    domain = job.domain.name
    selected = listing.selected(records, domain, round_number)
    ways, tally = Ways.of(records, domain), Tally.of(records, domain)
    gone = set(ways.caught_up) - {index.name for index in selected}
    ways.caught_up = [name for name in ways.caught_up if name not in gone]
    if ways.caught_up and tally:
        done = catchup.run_last_round(
            source, destination, records, domain, ways.caught_up, _LAST_ROUND_SECONDS
        )
        unfit = {index.index: index.unfit for index in done.indices if index.unfit}
        tally.add("last", done)
        tally.keep(records, domain)
        if not all(index.sealed for index in done.indices if not index.unfit):
            raise Unavailable("the last round of catching up needs more time")
        catchup.let_go(journal, source, domain, list(unfit))
        ways.leave_out(unfit)
        catchup.give_back(destination, records, domain, ways.caught_up, ways.round_number)
    if job.cutover.catch_up:
        began = {*ways.caught_up, *ways.by_snapshot}
        ways.by_snapshot |= {
            index.name: "it was made after catching up had begun"
            for index in selected
            if index.name not in began
        }
    ways.keep(records, domain)
    listing.keep_caught_up(records, domain, round_number, ways.caught_up)
    restores.remove_outdated(destination, Ownership(records, job), job, selected)
    return {
        "caught_up": len(ways.caught_up),
        "by_snapshot": len(selected) - len(ways.caught_up),
    }


def hand_over(journal: Journal, records: Records, job: DomainJob) -> None:
    """Leaves the indices at the destination to the clients; from here on there is no way back.

    No migration restores over them, and no roll-back lets the source take writes again.
    """
    Ownership(records, job).hand_over()
    journal.keep(side_of(job.domain.name), {catchup.WRITE_BLOCK})


def predicted_write_stop_seconds(records: Records, domain: str) -> float | None:
    """How long writes will stop if they stop now; None where nothing was measured."""
    tally = Tally.of(records, domain)
    return tally.predicted_write_stop_seconds if tally else None


def outcome(records: Records, domain: str) -> dict[str, Any]:
    """What the report says of the tail: the way of each index, the rounds, the prediction."""
    ways, tally = Ways.of(records, domain), Tally.of(records, domain)
    return {
        "caught_up": ways.caught_up,
        "by_snapshot": ways.by_snapshot,
        "rounds": tally.rounds if tally else [],
    }


def _name(domain: str) -> str:
    return f"{domain}/catch-up"


def _record(domain: str) -> str:
    return f"catch_up#{domain}"


def _frozen(domain: str) -> str:
    return f"frozen#{domain}"
