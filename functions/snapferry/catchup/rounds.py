"""Rounds of the tail: while clients write, and the last one."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.catchup import marks, primaries
from snapferry.catchup.base import kept_base
from snapferry.catchup.marks import IndexMarks, ShardMarks
from snapferry.catchup.primaries import Primary
from snapferry.catchup.side import Side, Unfit, refresh
from snapferry.catchup.steps import Steps
from snapferry.catchup.tail import IndexRound, Tail
from snapferry.catchup.writer import Writer
from snapferry.engines import Engine
from snapferry.errors import (
    SnapferryError,
    SourceChanged,
    Unavailable,
    VerificationFailed,
)
from snapferry.records import Records

# Enough for two processors, and fewer than the connections that a client keeps.
_REQUESTS_AT_ONCE = 8
_CONNECTION_SECONDS = 5
_LOOK_EVERY_SECONDS = 0.05


@dataclass(frozen=True)
class Round:
    """What a round did.

    Attributes:
        seconds: how long it took.
        indices: what it did to each index.
    """

    seconds: float
    indices: list[IndexRound]

    @property
    def is_sealed(self) -> bool:
        """Whether it came to its end for every index that isn't unfit."""
        return all(index.sealed for index in self.indices if not index.unfit)

    @property
    def lag(self) -> int:
        """How many operations were written meanwhile, and are left to the next one."""
        return sum(index.lag for index in self.indices)


def connect(*clusters: OpenSearch) -> None:
    """Opens the connections that a round uses, each of which takes longer than a request.

    Args:
        clusters: whose clients keep them for their next requests. One that doesn't answer is no
            failure here: it shows where something is wanted of it.
    """

    def open_one(cluster: OpenSearch) -> None:
        with contextlib.suppress(SnapferryError):
            cluster.info(params={"request_timeout": _CONNECTION_SECONDS})

    with ThreadPoolExecutor(_REQUESTS_AT_ONCE * len(clusters)) as pool:
        for cluster in clusters * _REQUESTS_AT_ONCE:
            pool.submit(open_one, cluster)


def begin(
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    domain: str,
    names: Sequence[str],
    round_number: int,
) -> dict[str, str]:
    """Makes the marks of indices whose snapshot was restored, all of its shards.

    Args:
        source: the domain.
        destination: where it was restored; nobody has written to the indices since.
        records: of the migration, with the base that `keep_base` stored.
        domain: the domain's name.
        names: the indices.
        round_number: of the snapshot.

    Returns:
        Why some can't be caught up, by their names.
    """
    base = kept_base(records, domain, round_number)
    engine = Engine.of(source)
    at_source, at_destination = (
        primaries.look(cluster, names) for cluster in (source, destination)
    )
    begun: list[IndexMarks] = []
    unfit = {}
    for name in names:
        here, there = at_source.get(name, []), at_destination.get(name, [])
        try:
            index_marks = _at_base(name, base.get(name, []), there)
            _adopt(index_marks, here, there, engine)
        except Unfit as error:
            unfit[name] = str(error)
        else:
            begun.append(index_marks)
    marks.begin(records, domain, begun)
    return unfit


def _at_base(name: str, base: Sequence[Primary], restored: Sequence[Primary]) -> IndexMarks:
    if not base:
        raise Unfit("nothing was noted of it before its snapshot was requested")
    if len(base) != len(restored):
        raise Unfit(f"it has {len(base)} shards at the source and {len(restored)} when restored")
    for before, after in zip(base, restored, strict=True):
        if after.max_seq_no < before.global_checkpoint:
            raise Unfit(f"shard {before.shard} wasn't restored from a snapshot taken afterwards")
    return IndexMarks(
        index=name,
        index_uuid=base[0].index_uuid,
        destination_uuid=restored[0].index_uuid,
        writer="",
        shards=tuple(map(ShardMarks.at_base, base, restored)),
    )


@indices.may_go()
def run_round(
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    domain: str,
    names: Sequence[str],
    hold_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Round:
    """Brings indices at the destination up to the source, while clients may write to it.

    Args:
        source: the domain.
        destination: where they were restored; nobody else writes to them.
        records: of the migration, with the marks of `begin`.
        domain: the domain's name.
        names: the indices, which no other call takes at the same time.
        hold_seconds: about how long to go on; the next call continues where this one stops.
        sleep: waits.
        is_stopped: whether to leave the rest to the next call, after the page or step that runs.

    Returns:
        What was done. An index is done when it is sealed; its lag is the writing meanwhile.

    Raises:
        Unavailable: where a cluster has trouble that may pass; then call again.
        Conflict: where another call has taken over.
    """
    started_at = time.monotonic()
    results = _catch_up(
        source,
        destination,
        records,
        domain,
        names,
        lambda: primaries.look(source, names),
        started_at + hold_seconds,
        sleep,
        is_stopped,
    )
    return Round(time.monotonic() - started_at, results)


def _catch_up(
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    domain: str,
    names: Sequence[str],
    look_at_source: Callable[[], dict[str, list[Primary]]],
    leave_at: float,
    sleep: Callable[[float], None],
    is_stopped: Callable[[], bool],
) -> list[IndexRound]:
    """Copies what was written up to a look at the source's primaries, and looks for deletes."""

    def pause(seconds: float) -> None:
        """Waits for a busy cluster, unless others wait for the round to stop."""
        for _ in range(max(1, round(seconds / _LOOK_EVERY_SECONDS))):
            if is_stopped():
                raise Unavailable("the round was to stop while it waited for a busy cluster")
            sleep(_LOOK_EVERY_SECONDS)

    with (
        ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool,
        ThreadPoolExecutor(_REQUESTS_AT_ONCE) as second_pool,
    ):
        engines = [second_pool.submit(Engine.of, cluster) for cluster in (source, destination)]
        at_destination = second_pool.submit(primaries.look, destination, names)
        stored = second_pool.submit(marks.load, records, domain, names)
        source_primaries = look_at_source()
        destination_primaries = at_destination.result()
        loaded = {index_marks.index: index_marks for index_marks in stored.result()}
        source_side, destination_side = (
            Side(cluster, engine.result(), primaries.nodes(found), pause)
            for cluster, engine, found in zip(
                (source, destination),
                engines,
                (source_primaries, destination_primaries),
                strict=True,
            )
        )
        tails, results = [], []
        for name in names:
            result = IndexRound(name)
            results.append(result)
            here = source_primaries.get(name, [])
            there = destination_primaries.get(name, [])
            try:
                adopted = _adopt(loaded.get(name), here, there, source_side.engine)
            except Unfit as error:
                result.unfit = str(error)
                continue
            opaque_id = f"snapferry-{records.migration_id}-{adopted.destination_uuid}"
            tails.append(
                Tail(adopted, here, there, Writer(destination_side, name, opaque_id), result)
            )
        Steps(
            source_side,
            destination_side,
            records,
            domain,
            pool,
            second_pool,
            leave_at,
            is_stopped,
        ).run(tails)
    return results


@indices.may_go()
def run_last_round(
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    domain: str,
    names: Sequence[str],
    hold_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Round:
    """Runs the round after writes have stopped, and proves that both sides are equal.

    Args:
        source: the domain, frozen.
        destination: where the indices were restored; nobody else writes to them.
        records: of the migration, with the marks of `begin`.
        domain: the domain's name.
        names: the indices, which no other call takes at the same time.
        hold_seconds: about how long to go on; the next call continues where this one stops.
        sleep: waits.
        is_stopped: whether to leave the rest to the next call, after the page or step that runs.

    Returns:
        What was done. Only if every index is sealed that isn't unfit, it was the last one.

    Raises:
        Unavailable: where the copies of a shard aren't level yet, besides the reasons of a round.
        Conflict: where another call has taken over.
        SourceChanged: where something still writes to the source.
        VerificationFailed: where the numbers of documents differ.
    """
    started_at = time.monotonic()
    leave_at = started_at + hold_seconds

    def look_once_settled() -> dict[str, list[Primary]]:
        settled = settle(source, names, hold_seconds, sleep, is_stopped)
        if unsettled := _unsettled(settled):
            raise Unavailable(
                f"the copies of {indices.some(unsettled)} aren't level: their global checkpoint "
                "is below the last operation"
            )
        return settled

    results = _catch_up(
        source,
        destination,
        records,
        domain,
        names,
        look_once_settled,
        leave_at,
        sleep,
        is_stopped,
    )
    fit = [index for index in results if not index.unfit]
    if fit and all(index.sealed for index in fit):
        _prove_equal(source, destination, records, domain, [index.index for index in fit])
    return Round(time.monotonic() - started_at, results)


def settle(
    source: OpenSearch,
    names: Sequence[str],
    hold_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    is_stopped: Callable[[], bool] = lambda: False,
) -> dict[str, list[Primary]]:
    """Waits until every copy of some indices has all operations of its primary.

    Args:
        source: the domain.
        names: the indices.
        hold_seconds: how long to wait.
        sleep: waits between looks.
        is_stopped: whether to wait no longer.

    Returns:
        The primaries, where the time was too short as they are then.
    """
    leave_at = time.monotonic() + hold_seconds
    while _unsettled(found := primaries.look(source, names)):
        if time.monotonic() >= leave_at or is_stopped():
            break
        sleep(_LOOK_EVERY_SECONDS)
    return found


def written_to(
    source: OpenSearch,
    records: Records,
    domain: str,
    caught_up: Sequence[str],
    round_number: int,
) -> list[str]:
    """Finds the indices that were written to after they had been copied for the last time.

    Nothing that searches is needed for it: each operation has a number.

    Args:
        source: the domain.
        records: of the migration.
        domain: the domain's name.
        caught_up: the indices whose last operations the last round has copied.
        round_number: of the last snapshot, which has taken all others; those of which
            `keep_base` has stored no base can't be judged.

    Returns:
        Their names.
    """
    copied = marks.reached(records, domain, caught_up)
    for name, base in kept_base(records, domain, round_number).items():
        # The snapshot surely holds what is below the checkpoint, and no more.
        copied[name] = [primary.global_checkpoint for primary in base]
    told = primaries.last_operations(source, copied)
    suspected = [name for name, numbers in copied.items() if told.get(name) != numbers]
    found = primaries.look(source, suspected)
    return [
        name
        for name in suspected
        if [primary.max_seq_no for primary in found.get(name, [])] != copied[name]
    ]


def written_since(
    source: OpenSearch, records: Records, domain: str, round_number: int
) -> tuple[int, int] | None:
    """How much was written since a snapshot.

    Args:
        source: the domain.
        records: of the migration.
        domain: the domain's name.
        round_number: of the snapshot.

    Returns:
        The number of operations since its base, and that of all; None where no base was kept,
        since nothing is to be caught up, or nobody may look.
    """
    base = kept_base(records, domain, round_number)
    if not base:
        return None
    found = primaries.look(source, base)
    numbers = [
        (before.global_checkpoint, now.max_seq_no)
        for name, primaries_now in found.items()
        for before, now in zip(base[name], primaries_now, strict=False)
    ]
    return (
        sum(max(0, now - before) for before, now in numbers),
        sum(now + 1 for _, now in numbers),
    )


def _adopt(
    stored: IndexMarks | None,
    source: Sequence[Primary],
    destination: Sequence[Primary],
    engine: Engine,
) -> IndexMarks:
    """Makes the marks of an index those of its present primaries.

    Args:
        stored: its marks; None where it has none.
        source: its primaries.
        destination: those of its copy.
        engine: of the source.

    Returns:
        The marks, moved back as far as the primaries that they rest on have changed.

    Raises:
        Unfit: where they have lost their meaning.
    """
    if stored is None:
        raise Unfit("its catching up hasn't begun: no snapshot of it was restored")
    for primary_list, uuid, side in (
        (source, stored.index_uuid, "source"),
        (destination, stored.destination_uuid, "destination"),
    ):
        if len(primary_list) != len(stored.shards) or primary_list[0].index_uuid != uuid:
            raise Unfit(f"the {side} has another index of this name by now, or none that is open")
    shards = []
    for shard, here, there in zip(stored.shards, source, destination, strict=True):
        before, now = shard.source, here.lineage
        if here.global_checkpoint == primaries.UNKNOWN_CHECKPOINT:
            raise Unavailable(f"{stored.index}[{here.shard}]: its checkpoint isn't known yet")
        if now.history_uuid != before.history_uuid:
            raise Unfit(f"shard {here.shard} of the source has a new history")
        if now.term != before.term and not engine.keeps_checkpoint_at_failover:
            raise Unfit(f"shard {here.shard} of the source has failed over")
        adopted = shard
        if (now, there.lineage) != (before, shard.destination):
            adopted = replace(shard, source=now, destination=there.lineage)
        if now != before:
            adopted = adopted.back_to(shard.sealed_mark)
        if not there.lineage.continues(shard.destination):
            adopted = adopted.back_to(shard.base)
        shards.append(adopted)
    return replace(stored, shards=tuple(shards))


def _unsettled(found: Mapping[str, Sequence[Primary]]) -> list[str]:
    return [
        name
        for name, index_primaries in found.items()
        if any(primary.global_checkpoint != primary.max_seq_no for primary in index_primaries)
    ]


def _prove_equal(
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    domain: str,
    names: Sequence[str],
) -> None:
    """Compares numbers that no search is needed for, shard by shard."""

    def look(cluster: OpenSearch) -> dict[str, list[Primary]]:
        refresh(cluster, names)
        found = primaries.look(cluster, names)
        if gone := set(names) - found.keys():
            raise Unavailable(f"{indices.some(gone)}: deleted or closed during the round")
        return found

    with ThreadPoolExecutor(2) as pool:
        looks = pool.map(look, (source, destination))
        sealed = marks.load(records, domain, names)
        at_source, at_destination = looks
    faults = []
    written = set()
    for index_marks in sealed:
        for shard, here, there in zip(
            index_marks.shards,
            at_source[index_marks.index],
            at_destination[index_marks.index],
            strict=True,
        ):
            place = f"{index_marks.index}[{here.shard}]"
            if here.max_seq_no != shard.mark:
                written.add(index_marks.index)
            elif here.lucene_documents != there.lucene_documents:
                faults.append(
                    f"{place}: {there.lucene_documents} documents instead of "
                    f"{here.lucene_documents}, nested ones counted apart"
                )
    if written:
        raise SourceChanged(
            f"{indices.some(written)}: written to at the source after writes had been stopped"
        )
    if faults:
        raise VerificationFailed(
            f"{len(faults)} shards differ from the source: {'; '.join(faults[:10])}. What to do: "
            "make sure that nothing writes to the source nor to the destination, then migrate "
            "these indices by a last snapshot."
        )
