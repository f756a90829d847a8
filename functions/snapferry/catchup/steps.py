"""The steps of a round: copies what was written since the last one, then what was deleted."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

from snapferry.catchup import deletes, mappings, marks, primaries
from snapferry.catchup.deletes import Comparison, Stopped
from snapferry.catchup.marks import ShardMarks
from snapferry.catchup.primaries import Primary
from snapferry.catchup.side import Side, Unfit, refresh
from snapferry.catchup.tail import Tail
from snapferry.catchup.upserts import ShardCopy
from snapferry.catchup.visibility import hidden_documents
from snapferry.errors import Unavailable
from snapferry.records import Records

_LOOK_EVERY_SECONDS = 0.05


@dataclass(frozen=True)
class Steps:
    """The steps of a round.

    Attributes:
        source: the source.
        destination: the destination.
        records: where the marks are.
        domain: whose marks.
        pool: runs what is done for each shard or index.
        second_pool: runs what these ask the other side; nothing in it waits for either pool.
        leave_at: when to stop copying, by the monotonic clock.
        is_stopped: whether to stop after the step that runs, as well.
    """

    source: Side
    destination: Side
    records: Records
    domain: str
    pool: Executor
    second_pool: Executor
    leave_at: float
    is_stopped: Callable[[], bool]

    def run(self, tails: Sequence[Tail]) -> None:
        """Takes all steps for some indices, as far as the time allows."""
        for tail in tails:
            tail.result.sealed = tail.is_idle
        tails = [tail for tail in tails if not tail.is_idle]
        if not tails:
            return
        names = [tail.name for tail in tails]
        # The checkpoints were read before, so everything up to them is searchable after this.
        refreshed = self.second_pool.submit(refresh, self.source.client, names)
        at_source = self.second_pool.submit(mappings.read, self.source, names)
        at_destination = self.second_pool.submit(mappings.read, self.destination, names)
        self._each(((tail, None) for tail in tails), self._claim)
        self._wait_for_earlier_writers({tail.writer.opaque_id for tail in tails})
        self._bring_mappings(tails, at_source.result(), at_destination.result())
        refreshed.result()
        self._each(
            [
                (tail, number)
                for tail in tails
                for number, shard, primary in tail.shards
                if shard.mark < primary.global_checkpoint and not tail.result.unfit
            ],
            self._copy,
        )
        for tail in tails:
            tail.result.lag = tail.lag(tail.source)
        tails = [tail for tail in tails if tail.is_copied and not tail.result.unfit]
        while tails and not self.is_stopped():
            self._find_deletes([tail for tail in tails if tail.has_deletes])
            # What isn't sealed is looked at again.
            if self.is_stopped():
                return
            self._seal([tail for tail in tails if tail.is_compared and not tail.result.unfit])
            sealed = [tail for tail in tails if tail.result.sealed]
            surplus = {tail.name: tail.with_surplus for tail in sealed if tail.with_surplus}
            hidden = hidden_documents(self.source, surplus, at_source.result())
            self._each([(tail, hidden.get(tail.name, 0)) for tail in sealed], self._finish)
            tails = [
                tail
                for tail in sealed
                # Where nothing was deleted, it would be the same once more.
                if tail.has_more and tail.with_surplus and not tail.result.unfit
            ]
            if self._has_to_leave():
                return

    def _each[A](self, items: Iterable[tuple[Tail, A]], call: Callable[[Tail, A], None]) -> None:
        """Calls for all at once; an index that proves unfit leaves the others alone."""

        def attempt(item: tuple[Tail, A]) -> None:
            tail, argument = item
            try:
                call(tail, argument)
            except Unfit as error:
                tail.result.unfit = str(error)
                tail.result.sealed = False

        for _ in self.pool.map(attempt, items):
            pass

    def _has_to_leave(self) -> bool:
        return time.monotonic() >= self.leave_at or self.is_stopped()

    def _claim(self, tail: Tail, _: None) -> None:
        tail.marks = marks.claim(self.records, self.domain, tail.marks)

    def _wait_for_earlier_writers(self, opaque_ids: set[str]) -> None:
        """Waits until nothing is left of what a call that was given up had sent.

        Source: https://docs.opensearch.org/latest/api-reference/tasks/
        """
        while True:
            answer = self.destination.client.tasks.list(
                params={"actions": "indices:data/write/*", "group_by": "none"}
            )
            if "node_failures" in answer:
                raise Unavailable(f"the destination can't list its tasks: {answer}")
            running = {task.get("headers", {}).get("X-Opaque-Id") for task in answer["tasks"]}
            if not running & opaque_ids:
                return
            if self._has_to_leave():
                raise Unavailable("writes of an earlier attempt still run at the destination")
            self.destination.sleep(_LOOK_EVERY_SECONDS)

    def _bring_mappings(
        self,
        tails: Sequence[Tail],
        at_source: Mapping[str, dict[str, Any]],
        at_destination: Mapping[str, dict[str, Any]],
    ) -> None:
        self._each(
            ((tail, None) for tail in tails),
            lambda tail, _: mappings.bring(
                self.destination, tail.name, at_source[tail.name], at_destination[tail.name]
            ),
        )

    def _copy(self, tail: Tail, number: int) -> None:
        if self.is_stopped():
            return
        copy = ShardCopy(
            source=self.source,
            writer=tail.writer,
            shard=number,
            shards=len(tail.source),
            up_to=tail.source[number].global_checkpoint,
            destination_seq_no=tail.destination[number].max_seq_no,
            has_to_leave=self._has_to_leave,
        )
        documents, document_bytes = copy.run(
            tail.marks.shards[number],
            tail.page_size,
            lambda shard: self._keep(tail, {number: shard}),
        )
        with tail.lock:
            tail.result.documents += documents
            tail.result.document_bytes += document_bytes

    def _keep(self, tail: Tail, shards: Mapping[int, ShardMarks]) -> None:
        with tail.lock:
            for number, shard in shards.items():
                tail.marks = tail.marks.with_shard(number, shard)
            marks.save(self.records, self.domain, tail.marks)

    def _find_deletes(self, tails: Sequence[Tail]) -> None:
        for tail in tails:
            tail.surplus, tail.has_more = {}, False
        refresh(self.destination.client, [tail.name for tail in tails])

        def find(tail: Tail, number: int) -> None:
            found = sum(len(each) for one in tails for each in list(one.surplus.values()))
            if found > deletes.MOST_AT_ONCE:
                tail.surplus[number], tail.has_more = [], True
            else:
                self._find_differences(tail, number)

        self._each([(tail, number) for tail in tails for number in tail.has_deletes], find)

    def _find_differences(self, tail: Tail, number: int) -> None:
        comparison = Comparison(
            self.source, self.destination, tail.name, self.second_pool, self.is_stopped
        )
        try:
            differences = comparison.differences(number, tail.marks.shards[number])
        except Stopped:
            return
        tail.surplus[number] = differences.surplus
        if not differences.complete:
            tail.has_more = True
        if differences.lacking:
            _, conflicts = tail.writer.put(differences.lacking)
            tail.writer.replace(conflicts)

    def _seal(self, tails: Sequence[Tail]) -> None:
        """Waits until all that searches have shown is on every copy; a failover can't undo it.

        Where another copy has become the primary since the round began, its searches may have
        shown what is no more, or not what there is: then the round counts as not done.
        """
        names = [tail.name for tail in tails]
        shown = present = primaries.look(self.source.client, names) if names else {}
        while not _all_durable(shown, present) and not self._has_to_leave():
            self.source.sleep(_LOOK_EVERY_SECONDS)
            present = primaries.look(self.source.client, names)
        for tail in tails:
            name = tail.name
            moved = {
                number: shard.back_to(shard.sealed_mark)
                for (number, shard, then), now in zip(
                    tail.shards, present.get(name, []), strict=False
                )
                if now.lineage != then.lineage
            }
            if moved:
                self._keep(tail, moved)
            tail.result.lag = tail.lag(present.get(name, []))
            # It may have been deleted meanwhile.
            tail.result.sealed = (
                name in shown
                and not moved
                and _all_durable({name: shown[name]}, {name: present.get(name, [])})
            )

    def _finish(self, tail: Tail, hidden: int | None) -> None:
        """Deletes at the destination what was found that the source lacks.

        If that was all of it, the marks are sealed.

        Args:
            tail: of the index.
            hidden: how many of the source's documents no search shows, see `hidden_documents`.
        """
        if tail.with_surplus:
            if hidden is None:
                # While so much is written; once writes have stopped, at the latest, it is known.
                tail.result.sealed = False
                return
            if hidden:
                raise Unfit(
                    f"the source has {hidden} documents more than it shows: document-level "
                    "security must not apply to the role that reads it"
                )
            # Nobody else has taken over, or this raises.
            self._keep(tail, {})
            surplus = [
                document for number in tail.with_surplus for document in tail.surplus[number]
            ]
            tail.writer.delete(surplus)
            tail.result.deletes += len(surplus)
        if tail.has_more:
            tail.result.sealed = False
            return
        self._keep(
            tail,
            {
                number: replace(shard, sealed_mark=shard.mark, deletions=primary.deletions)
                for number, shard, primary in tail.shards
            },
        )


def _all_durable(
    shown: Mapping[str, Sequence[Primary]], present: Mapping[str, Sequence[Primary]]
) -> bool:
    return all(
        len(present.get(name, [])) == len(before)
        and all(
            now.global_checkpoint >= then.max_seq_no
            for then, now in zip(before, present[name], strict=True)
        )
        for name, before in shown.items()
    )
