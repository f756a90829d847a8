"""The steps of a cut-over: each is a state, and a call of one function."""

import contextlib
import functools
import time
from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
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
    restores,
    rounds,
    snapshots,
    verification,
)
from snapferry.cutover import write_stop
from snapferry.cutover.slices import expect_snapshot, run_last_round
from snapferry.cutover.stop_mark import StopMark
from snapferry.errors import (
    AccessDenied,
    NotFound,
    OutsideWindow,
    RequestRefused,
    SnapferryError,
    SnapshotInProgress,
    SourceChanged,
    VerificationFailed,
)
from snapferry.indices import Index
from snapferry.journal import Journal, Place, domain_of, side_of
from snapferry.ownership import Ownership
from snapferry.prediction import Tally
from snapferry.records import Records
from snapferry.request import DomainJob
from snapferry.ways import Ways

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

_LONGEST_FREEZE_SECONDS = 30
# Days of looking fit into an execution's history.
_REPLICAS_SECONDS = 300
# Where the source changes again and again, it isn't asked for ever.
_MOST_WRITE_STOPS = 3


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

        Returns:
            What the step does.

        Raises:
            SourceChanged: where the write stop is given up, which is noted.
            VerificationFailed: where it was given up for the last time.
        """
        began = time.time()
        method: Callable[[], dict[str, Any]] = getattr(self, step)
        try:
            answer = method()
        except SourceChanged as error:
            self._give_write_stop_up(str(error))
            raise
        write_stop.note_step(self.records, self._domain, step, entered_at, began, answer=answer)
        return answer

    @property
    def _domain(self) -> str:
        return self.job.domain.name

    def _give_write_stop_up(self, reason: str) -> None:
        """Notes why people have to be asked anew.

        Raises:
            VerificationFailed: where they were often enough.
        """
        given_up = write_stop.give_up(self.records, self._domain, self.round_number, reason)
        if given_up >= _MOST_WRITE_STOPS:
            raise VerificationFailed(
                f"{reason}, as something was at each of {given_up} write stops. What to do: "
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

    @indices.may_go()
    def begin_catch_up(self) -> dict[str, Any]:
        """Finds out which indices can be caught up, and makes them ready for it.

        Those that are caught up since an earlier round go on from there.

        Returns:
            How many are to be `caught_up`, in how many `slices`, and how many go `by_snapshot`.
        """
        # To restore them may have taken days.
        present = {index.name for index in self._present()}
        selected = [
            index
            for index in listing.selected(self.records, self._domain, self.round_number)
            if index.name in present
        ]
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
        # The block, the settings of before and the aliases are changes of the same kind.
        steps_seconds = round(self._seconds_of_checks(names) + 3 * tuning_seconds, 3)
        tally = Tally.of(self.records, self._domain) or Tally.first(self.records, steps_seconds)
        tally.steps_seconds = steps_seconds
        tally.begin(len(ways.slices))
        self._expect_snapshots(ways, tally)
        return {
            "caught_up": len(ways.caught_up),
            "by_snapshot": len(ways.by_snapshot),
            "slices": len(ways.slices),
        }

    def _seconds_of_checks(self, names: Sequence[str]) -> float:
        """How long the checks of the write stop take, by doing the same now."""
        began_at = time.monotonic()
        for cluster in (self.source, self.destination):
            indices.list_all(cluster)
            indices.count(cluster, names)
        return time.monotonic() - began_at

    def _expect_snapshots(self, ways: Ways, tally: Tally) -> None:
        for number, each in enumerate(tally.slices):
            expect_snapshot(self.records, self._domain, ways, number, each)
        tally.keep(self.records, self._domain)

    @indices.may_go()
    def look_for_new_indices(self) -> dict[str, Any]:
        """Looks whether indices were made since the round listed them, before people are asked.

        After as many rounds for new ones as writes may be stopped, it is left to the write stop.
        The mappings of the others are brought, whether something was written to them or not, and
        what was changed of their settings.

        Returns:
            How many are `new`.
        """
        present = self._present()
        self._bring_definitions({index.name for index in present})
        if self.round_number - self.job.cutover.rounds >= _MOST_WRITE_STOPS:
            return {"new": 0}
        return {"new": len(self._leave_out_new(present))}

    def _bring_definitions(self, present: Set[str]) -> None:
        ways = Ways.of(self.records, self._domain)
        names = [name for name in ways.caught_up if name in present]
        sides = self.source, self.destination
        if unfit := catchup.bring_settings(
            *sides, self.records, self._domain, names, ways.round_number
        ) | catchup.bring_mappings(*sides, names):
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

        Where a last snapshot is needed, no other one may be in its way. And the write stop waits
        for the replicas that the destination still builds, so those come first.
        """
        wait_seconds = (
            self._seconds_until_window()
            or self._seconds_until_free()
            or self._seconds_until_replicated()
        )
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
        needed_seconds = (
            tally.snapshot_seconds
            if tally
            else prediction.last_copy_seconds(rounds.copied(self.records, self._domain), 1)
        )
        # An index of which the destination takes a snapshot can't be closed to be restored over.
        for cluster, needed in ((self.source, needed_seconds), (self.destination, 0.0)):
            # Some services don't let everybody look; then ours waits for the other one.
            with contextlib.suppress(AccessDenied, NotFound, RequestRefused):
                if seconds := snapshots.seconds_until_free(cluster, needed, time.time()):
                    return seconds
        return 0

    def _seconds_until_replicated(self) -> int:
        selected = listing.selected(self.records, self._domain, self.round_number)
        names = [index.name for index in selected]
        built = verification.replicas_are_built(self.destination, names)
        return 0 if built else _REPLICAS_SECONDS

    def freeze_source(self) -> dict[str, Any]:
        """Stops the writes to the indices that are caught up, and the round that runs beside that.

        Those that go by a last snapshot aren't blocked: the block would come along with them.

        Returns:
            How many are `frozen`, when that was first tried as `stopped_at`, in seconds of the
            epoch, and `predicted_write_stop_seconds` with `predicted_interval_seconds`, its lower
            and its upper bound; None where nothing was measured.

        Raises:
            OutsideWindow: where the gate was answered too late.
            SnapshotInProgress: where a last snapshot would have to wait; try again later.
        """
        stop_mark = StopMark(self.records, self._domain)
        # Once writes have been stopped, a repetition goes on: clients would wait for the next time.
        if not stop_mark.look():
            if self._seconds_until_window():
                raise OutsideWindow("the gate was answered after the time in which writes may stop")
            if self._seconds_until_free():
                raise SnapshotInProgress("another snapshot runs on either side, or is due")
            catchup.leave_blocks(self.journal, self.source, self._domain)
            stop_mark.set()
        tally = Tally.of(self.records, self._domain)
        caught_up = Ways.of(self.records, self._domain).caught_up
        with ThreadPoolExecutor(3) as pool:
            # Clients are waiting.
            suspended = pool.submit(self._suspend_policies)
            # Those of before may have been closed while people were asked.
            pool.submit(catchup.connect, self.source, self.destination)
            # Little is left of it for the last round, which would have to wait for it.
            pool.submit(catchup.refresh, self.source, caught_up)
            frozen = self._freeze(caught_up)
            suspended.result()
        predicted = None
        if tally:
            predicted = tally.prediction()
            tally.stop_writes(self.records, self._domain)
        return {
            "frozen": len(frozen),
            "stopped_at": stop_mark.set_at,
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
            run_last_round(self.journal, *sides, self.records, self._domain, ways, tally, number)
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
            documents = self._prove(listed.selected, ways)
        return size | {
            "caught_up": len(ways.caught_up),
            "by_snapshot": left,
            "documents": documents,
        }

    def _prove(self, selected: Sequence[Index], ways: Ways) -> int:
        """Verifies the copy; what was defined late of indices that are caught up is brought."""
        prove = functools.partial(
            verification.prove,
            self.source,
            self.destination,
            self.records,
            self.job,
            selected,
            ways.caught_up,
        )
        try:
            return prove()
        except VerificationFailed:
            # While people were asked, a mapping or a setting may have changed without a document.
            self._bring_definitions({index.name for index in selected})
            self._give_settings_back(ways)
            return prove()

    def _give_settings_back(self, ways: Ways) -> None:
        catchup.give_back(
            self.destination, self.records, self._domain, ways.caught_up, ways.round_number
        )

    def verify_copy(self) -> dict[str, Any]:
        """Verifies what came by a last snapshot, and everything else with it.

        Returns:
            The number of `documents`, equal on both sides.

        Raises:
            SourceChanged: where something was written to the source after it was copied.
            VerificationFailed: where a fault was found.
        """
        selected = self._unchanged()
        return {"documents": self._prove(selected, Ways.of(self.records, self._domain))}

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
        rest = catchup.taking_writes(self.source, names)
        try:
            self._freeze(rest)
        except (AccessDenied, RequestRefused):
            # One that refuses doesn't leave the others taking writes. A service that blocks
            # nothing still shows what was written.
            for name in rest:
                with contextlib.suppress(AccessDenied, RequestRefused):
                    self._freeze([name])

    def _freeze(self, names: Sequence[str]) -> list[str]:
        return catchup.freeze(
            self.journal, self.source, self._domain, names, _LONGEST_FREEZE_SECONDS
        )

    def _written_since(self, selected: Sequence[Index]) -> set[str]:
        """The indices that aren't any more as they were copied; of those that are new, all."""
        with ThreadPoolExecutor(1) as pool:
            # Clients are waiting.
            present = pool.submit(self._present)
            written = self._written_to()
            identities = [
                {(index.name, index.uuid) for index in each}
                for each in (selected, present.result())
            ]
        return {name for name, _ in identities[0] ^ identities[1]} | written

    def _written_to(self) -> set[str]:
        return set(
            catchup.written_to(
                self.source,
                self.records,
                self._domain,
                Ways.of(self.records, self._domain).caught_up,
                self.round_number,
            )
        )

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
        stopped = write_stop.frozen(self.records, self._domain)
        if stopped is None:
            return
        seconds = moved_at - float(stopped["stopped_at"])
        values: dict[str, float] = {"WriteStop": seconds}
        if interval := stopped["predicted_interval_seconds"]:
            values["WriteStopBeyondPrediction"] = max(0.0, seconds - float(interval[1]))
        metrics.emit(values, migration_id=self.records.migration_id, domain=self._domain)

    def look_for_late_indices(self) -> dict[str, Any]:
        """Looks whether clients have written to the source since its indices were handed over.

        To one that was moved, where somebody has taken its block off, or to one that they made.
        Nothing moves that: people are told of each once, and the report names them all.

        Returns:
            How many are `late` and weren't told of before.
        """
        moved = {
            (index.name, index.uuid)
            for index in listing.selected(self.records, self._domain, self.round_number)
        }
        present = self._present()
        made = [index for index in present if (index.name, index.uuid) not in moved]
        # A policy rolls over what it finds, so that empty ones are no sign of a client.
        documents = indices.count(self.source, [index.name for index in made if index.open])
        late = {index.name for index in made if documents.get(index.name) != 0}
        late |= self._written_to() & {index.name for index in present}
        return {"late": write_stop.note_late(self.records, self._domain, late)}

    def return_source_to_service(self) -> dict[str, Any]:
        """Lets the source take writes again, since what is new or changed needs another round.

        Returns:
            `domain`, its name.
        """
        self._let_source_go()
        self._give_settings_back(Ways.of(self.records, self._domain))
        write_stop.forget_steps(self.records, self._domain)
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
