"""Catching up slices of a domain's indices, in rounds: while clients write, and last."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

from opensearchpy import OpenSearch

from snapferry import catchup, listing, metrics, prediction, progress, rounds
from snapferry.catchup import Round
from snapferry.cutover import write_stop
from snapferry.cutover.stop_mark import LOOK_EVERY_SECONDS, StopMark
from snapferry.errors import Conflict, MigrationEnded, SnapferryError, Unavailable
from snapferry.fence import Fence
from snapferry.journal import Journal
from snapferry.prediction import SliceTally, Tally
from snapferry.records import Records
from snapferry.request import DomainJob
from snapferry.ways import Ways

logger = logging.getLogger(__name__)

type Until = Literal["lag fits", "writes stop", "last"]

# What a round may take: beside a gate little, because the writes may stop at any moment.
_LONGEST_ROUND_SECONDS = {"lag fits": 600, "writes stop": 15}
# When a call leaves the rest to the next one: a round that begins then, and a request that fails
# after it, still come to their end in the time that a function has.
_LEAVE_AFTER_SECONDS = {"lag fits": 150, "writes stop": 750}
_LAST_ROUND_SECONDS = 600
_LOOK_FOR_ABORT_EVERY_SECONDS = 1.0
# Between rounds beside a gate, which are in the way of clients, and of a write stop.
_SHORTEST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 4.0
_PAUSE_AFTER_FAILURE_SECONDS = 5.0


class _Aborted:
    """Whether the migration is rolled back by now, for those who ask often.

    Args:
        fence: of the migration; the caller has looked at it just now.
    """

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self._looked_at = time.monotonic()
        self._is_aborted = False

    def __call__(self) -> bool:
        if time.monotonic() - self._looked_at >= _LOOK_FOR_ABORT_EVERY_SECONDS:
            self._looked_at = time.monotonic()
            mark = self._fence.mark()
            self._is_aborted = mark is not None and mark.state != "running"
        return self._is_aborted


def catch_up(
    journal: Journal,
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    job: DomainJob,
    until: Until,
    number: int,
    entered_at: str,
    effect: Callable[[], AbstractContextManager[None]],
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Brings a slice of the destination up to the source: in rounds while clients write, or last.

    Args:
        journal: of the migration.
        source: the domain.
        destination: where the indices were restored.
        records: of the migration.
        job: the domain's.
        until: the lag is so small that the write stop is as short as wanted, or as it gets; or the
            source is frozen; or, once it is, in a last round, of one slice of several.
        number: of the slice; those of other slices run beside this one.
        entered_at: when the state was entered, as ISO 8601.
        effect: inside of it the destination may be changed; it raises where that is over.
        sleep: waits.

    Returns:
        Whether it has `ended`.

    Raises:
        SnapferryError: where a round has failed, and before the gate goes on failing. Beside the
            gate it is followed by others.
    """
    domain = job.domain.name
    began_at = time.time()
    ways, tally = Ways.of(records, domain), Tally.of(records, domain)
    if until == "last":
        with effect():
            run_last_round(journal, source, destination, records, domain, ways, tally, number)
        write_stop.note_step(records, domain, write_stop.SLICES, entered_at, began_at)
        return {"ended": True}
    caught_up = ways.slices[number]
    stop_mark = StopMark(records, domain)
    leave_at = time.monotonic() + _LEAVE_AFTER_SECONDS[until]
    if until == "writes stop" and tally:
        # Of a function that was called before, as those of the write stop will have been.
        tally.slices[number].call_seconds = round(
            max(0.0, time.time() - write_stop.epoch(entered_at)), 3
        )
    ended = stop_mark.look()
    while caught_up.caught_up and tally and not ended and time.monotonic() < leave_at:
        measured = tally.slices[number]
        try:
            with effect():
                done = catchup.run_round(
                    source,
                    destination,
                    records,
                    domain,
                    caught_up.caught_up,
                    _LONGEST_ROUND_SECONDS[until],
                    is_stopped=stop_mark.is_set,
                )
        except Conflict as error:
            # As a rule one that Step Functions has given up. The next call takes over from it.
            logger.warning("another call has taken over: %s", error)
            return {"ended": False}
        except MigrationEnded:
            raise
        except SnapferryError as error:
            if ended := stop_mark.look():
                # It was to stop. If that isn't why it failed, the last round fails, too.
                continue
            # While people are asked it may pass; if it doesn't, the last round fails. Before, a
            # node that restarts is waited for.
            may_pass = isinstance(error, Unavailable)
            next_at = time.monotonic() + 2 * _PAUSE_AFTER_FAILURE_SECONDS
            if until == "lag fits" and not (may_pass and next_at < leave_at):
                raise
            level = logging.WARNING if may_pass else logging.ERROR
            logger.log(level, "a round has failed, another one follows: %s", error)
            progress.show(records, domain, f"catching up: {until}", ended=False, failing=str(error))
            ended = _is_stopped_within(stop_mark, _PAUSE_AFTER_FAILURE_SECONDS, sleep)
            continue
        if unfit := {index.index: index.unfit for index in done.indices if index.unfit}:
            caught_up.leave_out(unfit)
            ways.keep_slice(records, domain, number)
            expect_snapshot(records, domain, ways, number, measured)
        measured.add(until, done)
        measured.keep(records, domain, number)
        if until == "lag fits":
            ended = tally.is_enough(job, number)
        _show(records, domain, until, done, ended=ended)
        if until == "writes stop":
            ended = _is_stopped_within(stop_mark, _pause_seconds(measured, done), sleep)
    return {"ended": ended or not caught_up.caught_up}


def run_last_round(
    journal: Journal,
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    domain: str,
    ways: Ways,
    tally: Tally | None,
    number: int,
) -> None:
    """Runs the last round of a slice, unless that has been done."""
    measured = tally.slices[number] if tally else SliceTally()
    caught_up = ways.slices[number]
    if not caught_up.caught_up or measured.proven_round == ways.round_number:
        return
    try:
        done = catchup.run_last_round(
            source,
            destination,
            records,
            domain,
            caught_up.caught_up,
            _LAST_ROUND_SECONDS,
            # The roll-back waits for it, and the source for the roll-back.
            is_stopped=_Aborted(Fence(records.table, records.migration_id)),
        )
    except Conflict as error:
        raise Unavailable(f"{error}: the next attempt takes over from it") from error
    measured.add("last", done)
    if unfit := {index.index: index.unfit for index in done.indices if index.unfit}:
        catchup.let_go(journal, source, domain, unfit)
        caught_up.leave_out(unfit)
        ways.keep_slice(records, domain, number)
    if not done.is_sealed:
        measured.keep(records, domain, number)
        raise Unavailable("the last round of catching up needs more time")
    catchup.give_back(destination, records, domain, caught_up.caught_up, ways.round_number)
    measured.proven_round = ways.round_number
    measured.keep(records, domain, number)
    _show(records, domain, "last", done, ended=True)


def expect_snapshot(
    records: Records, domain: str, ways: Ways, number: int, measured: SliceTally
) -> None:
    """Counts the indices of a slice that need a last snapshot, by the bytes that they have."""
    sizes = {
        index.name: index.primary_store_bytes
        for index in listing.selected(records, domain, ways.round_number)
    }
    by_snapshot = ways.slices[number].by_snapshot
    needed = sum(sizes.get(name, 0) for name in by_snapshot)
    measured.by_snapshot = len(by_snapshot)
    measured.snapshot_seconds = prediction.last_copy_seconds(
        rounds.copied(records, domain), needed / max(1, sum(sizes.values()))
    )


def _show(records: Records, domain: str, phase: str, done: Round, *, ended: bool) -> None:
    """Shows a round that was counted, with those of other slices: to people, and to CloudWatch."""
    tally = Tally.of(records, domain)
    if tally is None:
        return
    last = [each.rounds[-1] for each in tally.slices if each.rounds]
    predicted_seconds = tally.prediction().seconds
    lag = sum(each["lag"] for each in last)
    progress.show(
        records,
        domain,
        f"catching up: {phase}",
        ended=ended,
        documents=sum(each["documents"] for each in last),
        deletes=sum(each["deletes"] for each in last),
        seconds=max(each["seconds"] for each in last),
        lag=lag,
        predicted_write_stop_seconds=predicted_seconds,
    )
    metrics.emit(
        {
            "DocumentsCaughtUp": sum(index.documents + index.deletes for index in done.indices),
            "OperationsBehind": lag,
            "PredictedWriteStop": predicted_seconds,
        },
        migration_id=records.migration_id,
        domain=domain,
    )


def _pause_seconds(measured: SliceTally, done: Round) -> float:
    """How long to leave the clusters to others: at least for as long as the round took."""
    useful = min(measured.seconds_until_next_round(done), _LONGEST_PAUSE_SECONDS)
    return max(useful, done.seconds, _SHORTEST_PAUSE_SECONDS)


def _is_stopped_within(stop_mark: StopMark, seconds: float, sleep: Callable[[float], None]) -> bool:
    """Waits so long, or until writes are to be stopped."""
    for _ in range(round(seconds / LOOK_EVERY_SECONDS)):
        if stop_mark.look():
            return True
        sleep(LOOK_EVERY_SECONDS)
    return stop_mark.look()
