"""How far each shard has been caught up: an item of the table for each index.

It is written after each page, so that a call which dies loses no more than that.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from snapferry import table
from snapferry.catchup.primaries import Lineage, Primary
from snapferry.errors import Conflict
from snapferry.records import Records

MOST_SHARDS = 500
"""With more of them, the marks of an index don't fit into the 400 KB of an item."""
_SYNC_POINTS_PER_INDEX = 1024
_SYNC_POINTS_PER_SHARD = 32


@dataclass(frozen=True)
class SyncPoint:
    """How far both sides were when they had the same.

    What was copied of the source's operations up to the one lies in the destination's up to the
    other. So between two of these points both sides have the same number of documents, unless some
    were deleted at the source.

    Attributes:
        source: a sequence number of the source.
        destination: one of the destination.
    """

    source: int
    destination: int


@dataclass(frozen=True)
class ShardMarks:
    """How far one shard is.

    Attributes:
        source: the primary whose sequence numbers these are.
        destination: the primary of the copy.
        mark: operations up to this are copied.
        sealed_mark: as far as no failover can take back what was seen.
        sync_points: from the base on, up to which both sides have the same numbers.
        deletions: of the source when deletes were looked for last; None where they have to be.
    """

    source: Lineage
    destination: Lineage
    mark: int
    sealed_mark: int
    sync_points: tuple[SyncPoint, ...]
    deletions: int | None

    @classmethod
    def at_base(cls, base: Primary, destination: Primary) -> Self:
        """The marks of a shard that was just restored.

        Args:
            base: the source's primary before the snapshot was requested.
            destination: the restored one.
        """
        checkpoint = base.global_checkpoint
        return cls(
            source=base.lineage,
            destination=destination.lineage,
            mark=checkpoint,
            sealed_mark=checkpoint,
            sync_points=(SyncPoint(checkpoint, checkpoint),),
            deletions=base.deletions,
        )

    @property
    def base(self) -> int:
        """Operations up to this have the same numbers on both sides."""
        return self.sync_points[0].source

    def back_to(self, mark: int) -> Self:
        """Has everything after `mark` copied once more, and all deletes looked for."""
        points = tuple(point for point in self.sync_points if point.source <= mark)
        return replace(self, mark=mark, sealed_mark=mark, sync_points=points, deletions=None)

    def moved_to(self, mark: int, destination_seq_no: int, shards: int) -> Self:
        """Moves the mark on.

        Args:
            mark: everything up to this is copied.
            destination_seq_no: the last operation of the destination.
            shards: how many the index has.
        """
        base, *others = self.sync_points
        if others and others[-1].destination == destination_seq_no:
            others.pop()
        if len(others) >= max(1, min(_SYNC_POINTS_PER_SHARD, _SYNC_POINTS_PER_INDEX // shards)):
            others = others[1::2]
        points = (base, *others, SyncPoint(mark, destination_seq_no))
        return replace(self, mark=mark, sync_points=points)


@dataclass(frozen=True)
class IndexMarks:
    """How far an index is.

    Attributes:
        index: its name, on both sides.
        index_uuid: of the index at the source.
        destination_uuid: of its copy.
        writer: the call that may move the marks.
        shards: by number.
    """

    index: str
    index_uuid: str
    destination_uuid: str
    writer: str
    shards: tuple[ShardMarks, ...]

    def with_shard(self, number: int, marks: ShardMarks) -> Self:
        """Replaces those of one shard."""
        return replace(self, shards=(*self.shards[:number], marks, *self.shards[number + 1 :]))


def load(records: Records, domain: str, names: Iterable[str]) -> list[IndexMarks]:
    """The marks of those indices that have some, in the order of their names."""
    return [_index_marks(item) for item in _items(records, domain, names)]


def reached(records: Records, domain: str, names: Iterable[str]) -> dict[str, list[int]]:
    """The mark of each shard of those indices that have some, by their names."""
    return {
        item["index"]: [shard["mark"] for shard in json.loads(item["shards"])]
        for item in _items(records, domain, names)
    }


def _items(records: Records, domain: str, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    wanted = set(names)
    if wanted:
        first, last = (_record(domain, name) for name in (min(wanted), max(wanted)))
        for item in table.between(records.table, records.migration_id, first, last):
            if item["index"] in wanted:
                yield item


def begin(records: Records, domain: str, marks: Iterable[IndexMarks]) -> None:
    """Stores the first marks of indices after a restore."""
    records.put_all({_record(domain, index.index): _attributes(index) for index in marks})


def claim(records: Records, domain: str, marks: IndexMarks) -> IndexMarks:
    """Makes this call the only one that can move the marks.

    Raises:
        Conflict: where another call has been quicker.
    """
    claimed = replace(marks, writer=uuid.uuid4().hex)
    _put(records, domain, claimed, present_writer=marks.writer)
    return claimed


def save(records: Records, domain: str, marks: IndexMarks) -> None:
    """Stores marks that were moved.

    Raises:
        Conflict: where another call has claimed them.
    """
    _put(records, domain, marks, present_writer=marks.writer)


def _put(records: Records, domain: str, marks: IndexMarks, present_writer: str) -> None:
    item = {
        "migration_id": records.migration_id,
        "record": _record(domain, marks.index),
        **_attributes(marks),
    }
    if not table.put_if(records.table, item, "#writer = :writer", writer=present_writer):
        raise Conflict(f"another call catches {marks.index} up")


def _index_marks(item: Mapping[str, Any]) -> IndexMarks:
    return IndexMarks(
        index=item["index"],
        index_uuid=item["index_uuid"],
        destination_uuid=item["destination_uuid"],
        writer=item["writer"],
        shards=tuple(
            ShardMarks(
                source=Lineage(**shard["source"]),
                destination=Lineage(**shard["destination"]),
                mark=shard["mark"],
                sealed_mark=shard["sealed_mark"],
                sync_points=tuple(SyncPoint(**point) for point in shard["sync_points"]),
                deletions=shard["deletions"],
            )
            for shard in json.loads(item["shards"])
        ),
    )


def _attributes(marks: IndexMarks) -> dict[str, Any]:
    attributes = asdict(marks)
    # As text, which the client reads at once, and not attribute by attribute of each shard.
    return attributes | {"shards": json.dumps(attributes["shards"])}


def _record(domain: str, name: str) -> str:
    return f"marks#{domain}#{name}"
