"""The cut-over: which indices are caught up, how long writes will stop, and the stop itself.

Catching up goes on from the last restore until the writes have stopped, so that what is left then
is the writing of the last seconds. An index that can't be caught up is copied by a last snapshot.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from opensearchpy import OpenSearch

from snapferry import (
    aliases,
    artifacts,
    catchup,
    index_policies,
    indices,
    listing,
    metrics,
    prediction,
    progress,
    restores,
    rounds,
    snapshots,
    table,
    verification,
)
from snapferry.catchup import Round
from snapferry.engines import Engine
from snapferry.errors import (
    AccessDenied,
    NotFound,
    OutsideWindow,
    RequestRefused,
    SnapferryError,
    SnapshotInProgress,
    SourceChanged,
    Unavailable,
    VerificationFailed,
)
from snapferry.fence import Fence
from snapferry.indices import Index
from snapferry.journal import Journal, Place, domain_of, side_of
from snapferry.ownership import Ownership
from snapferry.prediction import SliceTally, Tally
from snapferry.records import Records
from snapferry.request import DomainJob
from snapferry.ways import Ways

logger = logging.getLogger(__name__)

type Until = Literal["lag fits", "writes stop", "last"]
type Step = Literal[
    "weigh_another_round",
    "begin_catch_up",
    "look_for_new_indices",
    "check_window",
    "freeze_source",
    "catch_up_last",
    "verify_copy",
    "hand_over_indices",
    "move_aliases",
    "look_for_late_indices",
    "return_source_to_service",
    "unblock_source",
]

# What a round may take: beside a gate little, because the writes may stop at any moment.
_LONGEST_ROUND_SECONDS = {"lag fits": 600, "writes stop": 15}
# When a call leaves the rest to the next one.
_LEAVE_AFTER_SECONDS = {"lag fits": 200, "writes stop": 780}
_LAST_ROUND_SECONDS = 600
_LONGEST_FREEZE_SECONDS = 30
_CHECKPOINT_SECONDS = 60
_LOOK_EVERY_SECONDS = 0.2
_LOOK_FOR_ABORT_EVERY_SECONDS = 1.0
_SHORTEST_PAUSE_SECONDS = 1.0
_PAUSE_AFTER_FAILURE_SECONDS = 5.0
# Where the source changes again and again, it isn't asked for ever.
_MOST_WRITE_STOPS = 3
# Of slices, where there are several.
_SLICES = "catch_up_slices"
# The steps that follow each other while writes are stopped, each of them a call.
_WRITE_STOP = ("freeze_source", _SLICES, "catch_up_last", "hand_over_indices", "move_aliases")


class StopMark:
    """Says that writes are to be stopped now, so that the round which runs beside that ends.

    Args:
        records: where it is.
        domain: whose writes.
    """

    def __init__(self, records: Records, domain: str) -> None:
        self._records = records
        self._name = f"stop#{domain}"
        self._looked_at = 0.0
        self._is_set = False

    def set(self) -> None:
        """From here on no round begins beside the write stop."""
        self._records.put(self._name)

    def clear(self) -> None:
        """Writes go on: rounds may begin beside the next write stop."""
        table.delete(self._records.table, self._records.migration_id, self._name)

    def look(self) -> bool:
        """Whether it is set."""
        item = table.get(self._records.table, self._records.migration_id, self._name)
        self._is_set = item is not None
        # Only now: others who ask meanwhile look for themselves, and don't take the old answer.
        self._looked_at = time.monotonic()
        return self._is_set

    def is_set(self) -> bool:
        """Whether it was a moment ago, for those who ask often."""
        if time.monotonic() - self._looked_at >= _LOOK_EVERY_SECONDS:
            return self.look()
        return self._is_set


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
            self._is_aborted = mark is not None and mark["state"] != "running"
        return self._is_aborted


@dataclass(frozen=True)
class CutOver:
    """The cut-over of one domain. Each of its steps may be repeated.

    Attributes:
        journal: of the migration.
        source: the domain.
        destination: where the indices were restored.
        records: of the migration.
        job: the domain's.
        round_number: of the last restore; once writes have stopped, of the round that follows.
    """

    journal: Journal
    source: OpenSearch
    destination: OpenSearch
    records: Records
    job: DomainJob
    round_number: int

    def take(self, step: Step, entered_at: str) -> dict[str, Any]:
        """Takes one of the steps, and notes how long it took.

        Args:
            step: the name of its method.
            entered_at: when its state was entered, as ISO 8601.
        """
        began = time.time()
        steps: Mapping[Step, Callable[[], dict[str, Any]]] = {
            "weigh_another_round": self.weigh_another_round,
            "begin_catch_up": self.begin_catch_up,
            "look_for_new_indices": self.look_for_new_indices,
            "check_window": self.check_window,
            "freeze_source": self.freeze_source,
            "catch_up_last": self.catch_up_last,
            "verify_copy": self.verify_copy,
            "hand_over_indices": self.hand_over_indices,
            "move_aliases": self.move_aliases,
            "look_for_late_indices": self.look_for_late_indices,
            "return_source_to_service": self.return_source_to_service,
            "unblock_source": self.unblock_source,
        }
        try:
            answer = steps[step]()
        except SourceChanged as error:
            self._give_write_stop_up(str(error))
            raise
        _note_step(self.records, self._domain, step, entered_at, began, answer=answer)
        return answer

    @property
    def _domain(self) -> str:
        return self.job.domain.name

    def _give_write_stop_up(self, reason: str) -> None:
        """Notes why people have to be asked anew.

        Raises:
            VerificationFailed: where they were often enough.
        """
        given_up = _given_up(self.records, self._domain) | {str(self.round_number): reason}
        self.records.write(_given_up_name(self._domain), given_up)
        if len(given_up) >= _MOST_WRITE_STOPS:
            raise VerificationFailed(
                f"{reason}, as something was at each of {len(given_up)} write stops. What to do: "
                "stop all clients that write to the source, also those that make new indices, then "
                "start the migration again."
            )

    def weigh_another_round(self) -> dict[str, Any]:
        """Says whether another round of snapshots is worth its time, while clients write.

        Returns:
            Whether it `pays`.
        """
        copied = rounds.copied(self.records, self._domain)
        written = catchup.written_since(self.source, self.records, self._domain, self.round_number)
        if written is None:
            return {"pays": prediction.last_round_will_be_shorter(copied)}
        return {"pays": prediction.round_is_quicker_than_catching_up(copied, *written)}

    def begin_catch_up(self) -> dict[str, Any]:
        """Finds out which indices can be caught up, and makes them ready for it.

        Those that are caught up since an earlier round go on from there.

        Returns:
            How many are to be `caught_up`, in how many `slices`, and how many go `by_snapshot`.
        """
        selected = listing.selected(self.records, self._domain, self.round_number)
        names = [index.name for index in selected]
        already = set(Ways.of(self.records, self._domain).caught_up)
        restored = [index for index in selected if index.name not in already]
        unfit = catchup.qualify(self.source, self.destination, restored)
        copies = self.destination, self.records, self._domain
        fit = [index.name for index in restored if index.name not in unfit]
        unfit |= catchup.begin(self.source, *copies, fit, self.round_number)
        ways = Ways.deal(
            self.round_number,
            [index for index in selected if index.name not in unfit],
            self.job.cutover.shards_per_function,
        )
        ways.leave_out(unfit)
        began_at = time.monotonic()
        catchup.tune(*copies, ways.caught_up, self.round_number)
        tuning_seconds = time.monotonic() - began_at
        catchup.note_blocks(self.journal, self.source, self._domain, ways.caught_up)
        ways.keep(self.records, self._domain)
        began_at = time.monotonic()
        for cluster in (self.source, self.destination):
            indices.list_all(cluster)
            indices.count(cluster, names)
        checks_seconds = time.monotonic() - began_at
        # The block, the settings of before and the aliases are changes of the same kind.
        steps_seconds = round(checks_seconds + 3 * tuning_seconds, 3)
        tally = Tally.of(self.records, self._domain) or Tally(
            steps_seconds, earlier=prediction.earlier_write_stops(self.records)
        )
        tally.steps_seconds = steps_seconds
        tally.begin(len(ways.slices))
        self._expect_snapshots(ways, tally)
        return {
            "caught_up": len(ways.caught_up),
            "by_snapshot": len(ways.by_snapshot),
            "slices": len(ways.slices),
        }

    def _expect_snapshots(self, ways: Ways, tally: Tally) -> None:
        for number, each in enumerate(tally.slices):
            _expect_snapshot(self.records, self._domain, ways, number, each)
        tally.keep(self.records, self._domain)

    def look_for_new_indices(self) -> dict[str, Any]:
        """Looks whether indices were made since the round listed them, before people are asked.

        After as many rounds for new ones as writes may be stopped, it is left to the write stop.
        The mappings of the others are brought, whether something was written to them or not.

        Returns:
            How many are `new`.
        """
        present = self._present()
        self._bring_mappings({index.name for index in present})
        if self.round_number - self.job.cutover.rounds >= _MOST_WRITE_STOPS:
            return {"new": 0}
        return {"new": len(self._leave_out_new(present))}

    def _bring_mappings(self, present: Set[str]) -> None:
        ways = Ways.of(self.records, self._domain)
        names = [name for name in ways.caught_up if name in present]
        if unfit := catchup.bring_mappings(self.source, self.destination, names):
            ways.leave_out(unfit)
            ways.keep(self.records, self._domain)
            if tally := Tally.of(self.records, self._domain):
                self._expect_snapshots(ways, tally)

    def _present(self) -> list[Index]:
        """What the source has now of what is to be moved."""
        with ThreadPoolExecutor(1) as pool:
            # Clients may be waiting.
            left_out = pool.submit(listing.left_out, self.records, self._domain)
            present = indices.list_all(self.source).values()
        return [
            index
            for index in indices.matching(present, self.job.domain.indices)
            if index.name not in left_out.result()
        ]

    def _leave_out_new(self, present: Sequence[Index]) -> list[str]:
        """The indices that aren't those of the last round; what was made anew begins once more."""
        ways = Ways.of(self.records, self._domain)
        listed = {
            (index.name, index.uuid)
            for index in listing.selected(self.records, self._domain, ways.round_number)
        }
        new = [index.name for index in present if (index.name, index.uuid) not in listed]
        if new:
            ways.leave_out(dict.fromkeys(new, "it was made after catching up had begun"))
            ways.keep(self.records, self._domain)
        return new

    def check_window(self) -> dict[str, Any]:
        """Says how long it takes until writes may be stopped, as `wait_seconds`; 0 if they may.

        Where a last snapshot is needed, no other one may be in its way.
        """
        wait_seconds = self._seconds_until_window() or self._seconds_until_free()
        if not wait_seconds:
            # Rather than while clients wait, unless they are closed by then.
            catchup.connect(self.source, self.destination)
        return {"wait_seconds": wait_seconds}

    def _seconds_until_window(self) -> int:
        window = self.job.cutover.window
        return window.wait_seconds(datetime.now(UTC)) if window else 0

    def _seconds_until_free(self) -> int:
        tally = Tally.of(self.records, self._domain)
        if tally and not tally.by_snapshot:
            return 0
        needed_seconds = tally.snapshot_seconds if tally else 0.0
        # Some services don't let everybody look; then the last snapshot waits for the other one.
        with contextlib.suppress(AccessDenied, NotFound, RequestRefused):
            return snapshots.seconds_until_free(self.source, needed_seconds, time.time())
        return 0

    def freeze_source(self) -> dict[str, Any]:
        """Stops the writes to the indices that are caught up, and the round that runs beside that.

        Those that go by a last snapshot aren't blocked: the block would come along with them.

        Returns:
            How many are `frozen`, when that began as `stopped_at`, in seconds of the epoch, and
            `predicted_write_stop_seconds` with `predicted_interval_seconds`, its lower and its
            upper bound; None where nothing was measured.

        Raises:
            OutsideWindow: where the gate was answered too late.
            SnapshotInProgress: where a last snapshot would have to wait; try again later.
        """
        stop_mark = StopMark(self.records, self._domain)
        # Once writes have been stopped, a repetition goes on: clients would wait for the next time.
        if not (is_repeated := stop_mark.look()):
            if self._seconds_until_window():
                raise OutsideWindow("the gate was answered after the time in which writes may stop")
            if self._seconds_until_free():
                raise SnapshotInProgress("another snapshot runs at the source, or is due")
        stopped_at = time.time()
        if not is_repeated:
            catchup.leave_blocks(self.journal, self.source, self._domain)
        stop_mark.set()
        tally = Tally.of(self.records, self._domain)
        with ThreadPoolExecutor(2) as pool:
            # Clients are waiting.
            suspended = pool.submit(self._suspend_policies)
            # Those of before may have been closed while people were asked.
            pool.submit(catchup.connect, self.source, self.destination)
            frozen = catchup.freeze(
                self.journal,
                self.source,
                self._domain,
                Ways.of(self.records, self._domain).caught_up,
                _LONGEST_FREEZE_SECONDS,
            )
            suspended.result()
        predicted = None
        if tally:
            predicted = tally.prediction()
            tally.stop_writes(self.records, self._domain)
        return {
            "frozen": len(frozen),
            "stopped_at": stopped_at,
            "predicted_write_stop_seconds": predicted.seconds if predicted else None,
            "predicted_interval_seconds": predicted.interval if predicted else None,
        }

    def _suspend_policies(self) -> None:
        names = [index.name for index in self._present()]
        index_policies.suspend(self.journal, self.source, self._domain, names)

    def catch_up_last(self) -> dict[str, Any]:
        """Lists the indices anew, and runs the last round of those that are frozen.

        Slices that have run it before, as `catch_up` does, are passed by.

        Returns:
            How much there is to move as `indices` and `primary_store_bytes`, how many are
            `caught_up`, and how many are left to go `by_snapshot`; where none is, the copy is
            verified, and has so many `documents`.

        Raises:
            SourceChanged: where an index is new, or one that is frozen was written to.
            Unavailable: where the last round didn't come to its end; call again.
            VerificationFailed: where both sides differ afterwards.
        """
        sides = self.source, self.destination
        listed = listing.make(*sides, self.records, self.job, self.round_number)
        if self.job.cutover.catch_up and (new := self._leave_out_new(listed.selected)):
            raise SourceChanged(f"{indices.some(new)}: made at the source since its last round")
        ways = Ways.of(self.records, self._domain)
        if ways.forget_all_but({index.name for index in listed.selected}):
            ways.keep(self.records, self._domain)
        tally = Tally.of(self.records, self._domain)
        for number in range(len(ways.slices)):
            _run_last_round(self.journal, *sides, self.records, self._domain, ways, tally, number)
        restores.remove_outdated(self.destination, listed.owned, self.job, listed.selected)
        size = listed.size()
        left = len(listed.selected) - len(ways.caught_up)
        documents = None
        if left:
            # One that became unfit beside the gate may be blocked: a snapshot would hold the block.
            names = {index.name for index in listed.selected}
            catchup.let_go(self.journal, self.source, self._domain, names - set(ways.caught_up))
            rounds.note(self.records, self._domain, self.round_number, final=True, **size)
        else:
            documents = verification.prove(
                *sides, self.records, self.job, listed.selected, ways.caught_up
            )
        return size | {
            "caught_up": len(ways.caught_up),
            "by_snapshot": left,
            "documents": documents,
        }

    def verify_copy(self) -> dict[str, Any]:
        """Verifies what came by a last snapshot, and everything else with it.

        Returns:
            The number of `documents`, equal on both sides.

        Raises:
            SourceChanged: where something was written to the source after it was copied.
            VerificationFailed: where a fault was found.
        """
        selected = self._unchanged()
        documents = verification.prove(
            self.source,
            self.destination,
            self.records,
            self.job,
            selected,
            Ways.of(self.records, self._domain).caught_up,
        )
        return {"documents": documents}

    def hand_over_indices(self) -> dict[str, Any]:
        """Leaves the indices at the destination to the clients; from here on is no way back.

        No migration restores over them, and no roll-back lets the source take writes again.

        Returns:
            `domain`, its name.

        Raises:
            SourceChanged: where something was written to the source after it was copied.
        """
        self._unchanged()
        Ownership(self.records, self.job).hand_over()
        artifacts.hand_over(self.journal, self.job)
        self.journal.keep(side_of(self._domain), {catchup.WRITE_BLOCK})
        return {"domain": self._domain}

    def _unchanged(self) -> list[Index]:
        """The indices, if all are as they were copied; what wasn't blocked before is now.

        Those that went by the last snapshot weren't.

        Raises:
            SourceChanged: where something was written to the source meanwhile.
        """
        selected = listing.selected(self.records, self._domain, self.round_number)
        self._freeze_rest([index.name for index in selected])
        if written := self._written_since(selected):
            raise SourceChanged(
                f"{indices.some(written)}: made, deleted or written to at the source after writes "
                "had been stopped"
            )
        return selected

    def _freeze_rest(self, names: Sequence[str]) -> None:
        # A service that blocks nothing still shows what was written.
        with contextlib.suppress(AccessDenied, RequestRefused):
            catchup.freeze(
                self.journal,
                self.source,
                self._domain,
                catchup.taking_writes(self.source, names),
                _LONGEST_FREEZE_SECONDS,
            )

    def _written_since(self, selected: Sequence[Index]) -> set[str]:
        """The indices that aren't any more as they were copied; of those that are new, all."""
        with ThreadPoolExecutor(1) as pool:
            # Clients are waiting.
            present = pool.submit(self._present)
            written = catchup.written_to(
                self.source,
                self.records,
                self._domain,
                Ways.of(self.records, self._domain).caught_up,
                self.round_number,
            )
            identities = [
                {(index.name, index.uuid) for index in each}
                for each in (selected, present.result())
            ]
        return {name for name, _ in identities[0] ^ identities[1]} | set(written)

    def move_aliases(self) -> dict[str, Any]:
        """Gives the indices at the destination the aliases that they have at the source now.

        Returns:
            How many `aliases` there are, and when they were `moved_at`, in seconds of the epoch.
        """
        selected = listing.selected(self.records, self._domain, self.round_number)
        moved = aliases.move(self.source, self.destination, [index.name for index in selected])
        moved_at = time.time()
        index_policies.resume(self.journal, self.source, self._domain)
        self._tell_write_stop(moved_at)
        return {"aliases": len(moved), "moved_at": moved_at}

    def _tell_write_stop(self, moved_at: float) -> None:
        frozen = table.get(
            self.records.table, self.records.migration_id, _step(self._domain, "freeze_source")
        )
        if frozen is None:
            return
        stopped = frozen["answer"]
        seconds = moved_at - float(stopped["stopped_at"])
        values: dict[str, float] = {"WriteStop": seconds}
        if interval := stopped["predicted_interval_seconds"]:
            values["WriteStopBeyondPrediction"] = max(0.0, seconds - float(interval[1]))
        metrics.emit(values, migration_id=self.records.migration_id, domain=self._domain)

    def look_for_late_indices(self) -> dict[str, Any]:
        """Looks whether indices were made and filled at the source since they were handed over.

        Nothing moves them: people are told of each once, and the report names them all.

        Returns:
            How many are `late` and weren't told of before.
        """
        moved = {
            (index.name, index.uuid)
            for index in listing.selected(self.records, self._domain, self.round_number)
        }
        made = [index for index in self._present() if (index.name, index.uuid) not in moved]
        # A policy rolls over what it finds, so that empty ones are no sign of a client.
        documents = indices.count(self.source, [index.name for index in made if index.open])
        late = {index.name for index in made if documents.get(index.name) != 0}
        told = set(_late(self.records, self._domain))
        self.records.write(_late_name(self._domain), sorted(told | late))
        return {"late": len(late - told)}

    def return_source_to_service(self) -> dict[str, Any]:
        """Lets the source take writes again, since what is new or changed needs another round.

        Returns:
            `domain`, its name.
        """
        self._let_source_go()
        ways = Ways.of(self.records, self._domain)
        catchup.give_back(
            self.destination, self.records, self._domain, ways.caught_up, ways.round_number
        )
        for step in _WRITE_STOP:
            table.delete(self.records.table, self.records.migration_id, _step(self._domain, step))
        StopMark(self.records, self._domain).clear()
        return {"domain": self._domain}

    def unblock_source(self) -> dict[str, Any]:
        """Lets the source take writes again for good, unless its indices were handed over.

        Returns:
            `domain`, its name.
        """
        self._let_source_go()
        # Blocks that are there later are somebody else's.
        self.journal.forget(side_of(self._domain), {catchup.WRITE_BLOCK})
        return {"domain": self._domain}

    def _let_source_go(self) -> None:
        if StopMark(self.records, self._domain).look():
            catchup.let_go(self.journal, self.source, self._domain)
        index_policies.resume(self.journal, self.source, self._domain)


def let_sources_go(
    journal: Journal, records: Records, connect: Callable[[Place], OpenSearch]
) -> None:
    """Lets sources take writes again, as far as they do so, whatever holds the rest back.

    Blocks of domains whose writes weren't stopped are forgotten: what is there isn't ours.

    Args:
        journal: of the migration, which says afterwards what is still to be given back.
        records: of the migration.
        connect: makes the client for a place.
    """
    blocked = journal.open_changes({catchup.WRITE_BLOCK})
    for side, place in {change.place.side: change.place for change in blocked}.items():
        if StopMark(records, domain_of(side)).look():
            with contextlib.suppress(SnapferryError):
                catchup.let_go(journal, connect(place), domain_of(side))
        else:
            journal.forget(side, {catchup.WRITE_BLOCK})


def keep_base(
    source: OpenSearch, records: Records, job: DomainJob, round_number: int, names: list[str]
) -> None:
    """Notes what a snapshot surely holds, if what was written afterwards matters.

    It does for a snapshot that catching up may begin with, without which an index goes by a last
    one; and for the last one, while writes are stopped.

    Args:
        source: the domain.
        records: of the migration.
        job: whose snapshot.
        round_number: of the snapshot that is about to be started.
        names: the indices in it.
    """
    is_last = StopMark(records, job.domain.name).look()
    if not (is_last or job.cutover.catch_up) or Engine.of(source).is_too_old:
        return
    # Some services don't let everybody look.
    with contextlib.suppress(AccessDenied, RequestRefused):
        if is_last:
            # The checkpoint of an index with asynchronous durability follows only then.
            for path in indices.paths(names):
                source.indices.flush(index=path)
            catchup.settle(source, names, _CHECKPOINT_SECONDS)
        catchup.keep_base(
            source, records, job.domain.name, names, round_number, _CHECKPOINT_SECONDS
        )


def _run_last_round(
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
    measured.add("last", done)
    if unfit := {index.index: index.unfit for index in done.indices if index.unfit}:
        catchup.let_go(journal, source, domain, unfit)
        caught_up.leave_out(unfit)
        ways.keep_slice(records, domain, number)
    if not all(index.sealed for index in done.indices if not index.unfit):
        measured.keep(records, domain, number)
        raise Unavailable("the last round of catching up needs more time")
    catchup.give_back(destination, records, domain, caught_up.caught_up, ways.round_number)
    measured.proven_round = ways.round_number
    measured.keep(records, domain, number)
    _show(records, domain, "last", done, ended=True)


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
        Whether it has `ended`, and `predicted_write_stop_seconds`.
    """
    domain = job.domain.name
    began_at = time.time()
    ways, tally = Ways.of(records, domain), Tally.of(records, domain)
    if until == "last":
        with effect():
            _run_last_round(journal, source, destination, records, domain, ways, tally, number)
        _note_step(records, domain, _SLICES, entered_at, began_at)
        return {"ended": True, "predicted_write_stop_seconds": None}
    caught_up = ways.slices[number]
    stop_mark = StopMark(records, domain)
    leave_at = time.monotonic() + _LEAVE_AFTER_SECONDS[until]
    if until == "writes stop" and tally:
        # Of a function that was called before, as those of the write stop will have been.
        tally.slices[number].call_seconds = round(max(0.0, time.time() - _epoch(entered_at)), 3)
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
        except (NotFound, Unavailable) as error:
            if until != "writes stop":
                raise
            # While people are asked it may pass; if it doesn't, the last round fails.
            logger.warning("a round beside the gate has failed: %s", error)
            ended = _is_stopped_within(stop_mark, _PAUSE_AFTER_FAILURE_SECONDS, sleep)
            continue
        if unfit := {index.index: index.unfit for index in done.indices if index.unfit}:
            caught_up.leave_out(unfit)
            ways.keep_slice(records, domain, number)
            _expect_snapshot(records, domain, ways, number, measured)
        measured.add(until, done)
        measured.keep(records, domain, number)
        if until == "lag fits":
            ended = tally.is_enough(job, number)
        tally = _show(records, domain, until, done, ended=ended)
        if until == "writes stop":
            ended = _is_stopped_within(stop_mark, done.seconds, sleep)
    return {
        "ended": ended or not caught_up.caught_up,
        "predicted_write_stop_seconds": tally.prediction().seconds if tally else None,
    }


def _show(records: Records, domain: str, phase: str, done: Round, *, ended: bool) -> Tally | None:
    """Shows a round that was counted, with those of other slices: to people, and to CloudWatch.

    Returns:
        What was measured by now.
    """
    tally = Tally.of(records, domain)
    if tally is None:
        return None
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
    return tally


def _is_stopped_within(stop_mark: StopMark, seconds: float, sleep: Callable[[float], None]) -> bool:
    """Waits for about as long as a round took, to leave the clusters to others as well."""
    for _ in range(round(max(seconds, _SHORTEST_PAUSE_SECONDS) / _LOOK_EVERY_SECONDS)):
        if stop_mark.look():
            return True
        sleep(_LOOK_EVERY_SECONDS)
    return stop_mark.look()


def forecast(records: Records, job: DomainJob) -> str:
    """What people are told of the write stop; empty where nothing was measured."""
    tally = Tally.of(records, job.domain.name)
    if tally is None:
        return ""
    predicted = tally.prediction()
    text = (
        f"From then on it takes about {predicted.seconds} s ({predicted.low_seconds} to "
        f"{predicted.high_seconds} s) until the destination takes writes."
    )
    if tally.by_snapshot:
        text += f" {tally.by_snapshot} indices need a last snapshot."
    wanted = job.cutover.write_stop_seconds
    if predicted.seconds > wanted:
        trend = (
            f"{job.cutover.catch_up_rounds} rounds of catching up weren't enough"
            if tally.converges
            else "it doesn't become shorter"
        )
        text += (
            f" That is longer than the {wanted} s that are wanted, and {trend}: most of it is "
            f"{predicted.reason}. Reject the gate if it is too long, or let clients write less."
        )
    return text


def asked_before(records: Records, domain: str) -> str:
    """What people are told who have stopped writes before, in vain; empty where they haven't."""
    given_up = _given_up(records, domain)
    if not given_up:
        return ""
    *_, reason = given_up.values()
    return (
        f"Writes were stopped before, and that was given up: {reason}. The source took writes "
        "again, and another round has copied it. Stop what makes or writes to indices there, too."
    )


def asked_for_late(records: Records, domain: str) -> str:
    """What people are told who have answered while clients wrote to the source; else empty."""
    late = _late(records, domain)
    if not late:
        return ""
    return (
        "Clients still write to the source: after the hand-over they have made there what nothing "
        f"moves, {indices.some(late)}. Stop them, and bring it over by a migration of its own. "
        "This is told once: the next answer counts."
    )


def learn(records: Records, domain: str) -> None:
    """Keeps how long a write stop that has ended was, for the predictions of later ones."""
    tally = Tally.of(records, domain)
    steps = write_stop_steps(records, domain)
    ended = {step["step"] for step in steps} >= set(_WRITE_STOP) - {_SLICES}
    if tally and tally.expected_at_stop_seconds and ended:
        seconds = sum(step["call_seconds"] + step["seconds"] for step in steps)
        prediction.learn(
            records, tally.expected_at_stop_seconds, seconds - steps[0]["call_seconds"]
        )


def _expect_snapshot(
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


def outcome(records: Records, domain: str) -> dict[str, Any]:
    """What the report says of the tail: the way of each index, the rounds, the prediction."""
    ways, tally = Ways.of(records, domain), Tally.of(records, domain)
    return {
        "caught_up": ways.caught_up,
        "by_snapshot": ways.by_snapshot,
        "rounds": tally.rounds if tally else [],
        "write_stop_steps": write_stop_steps(records, domain),
        "write_stops_given_up": list(_given_up(records, domain).values()),
        "late_indices": _late(records, domain),
    }


def write_stop_steps(records: Records, domain: str) -> list[dict[str, Any]]:
    """What the write stop was spent on, in its order.

    Returns:
        Of each `step` the `seconds` of its work and its `call_seconds`: what passed between the
        step before, or the answer of the gate, and its work.
    """
    steps = []
    before = None
    for step in _WRITE_STOP:
        if item := table.get(records.table, records.migration_id, _step(domain, step)):
            entered, began, ended = (
                float(item[name]) for name in ("entered_at", "began_at", "ended_at")
            )
            steps.append(
                {
                    "step": step,
                    "call_seconds": round(began - (before or entered), 3),
                    "seconds": round(ended - began, 3),
                }
            )
            before = ended
    return steps


def _epoch(moment: str) -> float:
    """A moment as ISO 8601, in seconds of the epoch."""
    return datetime.fromisoformat(moment).timestamp()


def _note_step(
    records: Records, domain: str, step: str, entered_at: str, began_at: float, **more: Any
) -> None:
    """Notes how long a step took."""
    times = {"entered_at": _epoch(entered_at), "began_at": began_at, "ended_at": time.time()}
    records.put(_step(domain, step), **times, **more)


def _step(domain: str, step: str) -> str:
    return f"step#{domain}#{step}"


def _given_up(records: Records, domain: str) -> dict[str, str]:
    """Why write stops were given up, by the number of the round that was to be the last."""
    return dict(records.read(_given_up_name(domain), default={}))


def _given_up_name(domain: str) -> str:
    return f"{domain}/write-stops-given-up"


def _late(records: Records, domain: str) -> list[str]:
    """Names of what clients have made at the source after the hand-over."""
    late: list[str] = records.read(_late_name(domain), default=[])
    return late


def _late_name(domain: str) -> str:
    return f"{domain}/late-indices"
