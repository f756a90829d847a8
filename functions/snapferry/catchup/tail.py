"""An index in a round."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from snapferry.catchup.documents import Document, PageSize
from snapferry.catchup.marks import IndexMarks, ShardMarks
from snapferry.catchup.primaries import Primary
from snapferry.catchup.writer import Writer


@dataclass
class IndexRound:
    """What a round did to one index.

    Attributes:
        index: its name.
        documents: copied.
        document_bytes: of those.
        deletes: documents deleted at the destination.
        lag: operations of the source that are still to be copied, as of the end of the round.
        sealed: whether all up to the marks is at the destination for good, deletes included.
        unfit: why the index needs a snapshot, as it can't be caught up any more; or empty.
    """

    index: str
    documents: int = 0
    document_bytes: int = 0
    deletes: int = 0
    lag: int = 0
    sealed: bool = False
    unfit: str = ""


@dataclass
class Tail:
    """An index in a round.

    Attributes:
        marks: as they are stored.
        source: its primaries at the beginning of the round.
        destination: likewise.
        writer: of the destination.
        result: what was done so far.
        surplus: documents to be deleted at the destination, by the shards that were compared.
        has_more: whether there are more of them than were found at once.
        page_size: of its shards.
        lock: for its marks and its result, which its shards share.
    """

    marks: IndexMarks
    source: list[Primary]
    destination: list[Primary]
    writer: Writer
    result: IndexRound
    surplus: dict[int, list[Document]] = field(default_factory=dict)
    has_more: bool = False
    page_size: PageSize = field(default_factory=PageSize)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """Of the index."""
        return self.marks.index

    @property
    def shards(self) -> list[tuple[int, ShardMarks, Primary]]:
        """Number, marks and primary of each shard."""
        return [
            (primary.shard, shard, primary)
            for shard, primary in zip(self.marks.shards, self.source, strict=True)
        ]

    def lag(self, source: Sequence[Primary]) -> int:
        """How many operations these primaries have after the marks."""
        return sum(
            max(0, primary.max_seq_no - self.marks.shards[primary.shard].mark) for primary in source
        )

    @property
    def has_deletes(self) -> list[int]:
        """The shards in which something may have been deleted since the last time."""
        return [
            number for number, shard, primary in self.shards if shard.deletions != primary.deletions
        ]

    @property
    def with_surplus(self) -> list[int]:
        """The shards in which something is to be deleted at the destination."""
        return [number for number, surplus in self.surplus.items() if surplus]

    @property
    def is_copied(self) -> bool:
        """Whether all that was durable at the beginning of the round is copied."""
        return all(shard.mark >= primary.global_checkpoint for _, shard, primary in self.shards)

    @property
    def is_compared(self) -> bool:
        """Whether deletes were looked for wherever there may be some."""
        return self.surplus.keys() >= set(self.has_deletes)

    @property
    def is_idle(self) -> bool:
        """Whether nothing has happened at the source since the last round."""
        return not self.has_deletes and all(
            shard.sealed_mark >= primary.max_seq_no for _, shard, primary in self.shards
        )
