"""Copies what was written at the source, in the order of its sequence numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from snapferry.catchup.documents import Document, PageSize, after, get, pages
from snapferry.catchup.marks import ShardMarks, SyncPoint
from snapferry.catchup.side import Side
from snapferry.catchup.writer import Writer

# All documents between two sync points are read where one of them was deleted. So a page is cut
# into so many pieces, none of them smaller.
_CUTS_PER_PAGE = 8
_SMALLEST_CUT = 64


@dataclass(frozen=True)
class ShardCopy:
    """The part of a round that one shard is.

    Attributes:
        source: the source.
        writer: of the index at the destination.
        shard: its number.
        shards: how many the index has.
        up_to: the source's checkpoint before it was refreshed: what is above isn't durable.
        destination_seq_no: the destination's last operation before the round.
        has_to_leave: whether to stop.
    """

    source: Side
    writer: Writer
    shard: int
    shards: int
    up_to: int
    destination_seq_no: int
    has_to_leave: Callable[[], bool]

    def run(
        self, marks: ShardMarks, size: PageSize, keep: Callable[[ShardMarks], None]
    ) -> tuple[int, int]:
        """Copies documents after the mark, at least a page of them.

        Args:
            marks: of the shard.
            size: of the pages; shards of an index share it.
            keep: stores the marks, after each page.

        Returns:
            How many documents were copied, and how many bytes they have.
        """
        documents = copied_bytes = 0
        index = self.writer.index
        last = self.destination_seq_no
        for page in pages(self.source, index, self.shard, after(marks.mark, self.up_to), size):
            is_last = page[-1].seq_no == self.up_to
            numbers, conflicts = self.writer.put(page, shown=is_last)
            last = max([last, *numbers.values()])
            points = [] if conflicts else _points(page, numbers)
            if conflicts:
                # Only what is durable; what was written again since then comes in a later round.
                present = get(self.source, index, self.shard, conflicts, with_source=True)
                anew = [item for item in present.values() if item.seq_no <= self.up_to]
                last = max(last, self.writer.replace(anew))
            documents += len(page)
            copied_bytes += sum(len(document.source) for document in page)
            for point in [*points, SyncPoint(page[-1].seq_no, last)]:
                marks = marks.moved_to(point.source, point.destination, self.shards)
            keep(marks)
            if self.has_to_leave():
                return documents, copied_bytes
        if marks.mark < self.up_to:
            keep(marks.moved_to(self.up_to, last, self.shards))
        return documents, copied_bytes


def _points(page: Sequence[Document], numbers: Mapping[str, int]) -> list[SyncPoint]:
    """The sync points inside a page, if the destination has written it in its order.

    It hasn't where it had no room for some of it at first. In an index that was made by shrinking
    another one, several documents may have one number at the source: no point parts them.

    Args:
        page: what was written.
        numbers: the sequence numbers that it got, by id.
    """
    written = [numbers[document.id] for document in page]
    if written != sorted(written):
        return []
    size = max(_SMALLEST_CUT, -(-len(page) // _CUTS_PER_PAGE))
    return [
        SyncPoint(page[end - 1].seq_no, written[end - 1])
        for end in range(size, len(page), size)
        if page[end - 1].seq_no < page[end].seq_no
    ]
