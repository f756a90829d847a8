"""Finds what was deleted at the source, which no search shows.

Between two fences both sides hold the same documents, and the destination those besides that were
deleted at the source. So counts say where to look. Up to the base both sides even have the same
sequence numbers, so that histograms of them narrow it down to a few documents.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import batched, pairwise
from typing import Any, NamedTuple

from snapferry.catchup import documents
from snapferry.catchup.documents import Document, after
from snapferry.catchup.marks import Fence, ShardMarks
from snapferry.catchup.side import Side
from snapferry.engines import total_hits

_BEGIN, _END = -1, 2**63 - 1
# Many more take longer to send and to read than another request does.
_BUCKETS = 1024
# Fewer sequence numbers than these are listed rather than cut once more.
_NARROW = 256
# A query has at most 1,024 clauses.
_RANGES_AT_ONCE = 500
_SUM = {"sum": {"sum": {"field": "_seq_no"}}}

type Range = tuple[int, int]
"""Operations after the one sequence number and up to the other."""


@dataclass(frozen=True)
class Cut:
    """What lies between two fences of a shard.

    Attributes:
        shard: its number.
        start: behind it.
        end: up to it.
        has_same_numbers: whether both sides number its operations alike.
    """

    shard: int
    start: Fence
    end: Fence
    has_same_numbers: bool


class _Tally(NamedTuple):
    """What is compared: the number of documents, and the sum of their sequence numbers.

    The sum tells a document that is missing from another one that is too many.
    """

    documents: int
    sum: float


@dataclass(frozen=True)
class Differences:
    """How the destination differs from the source in one shard.

    Attributes:
        surplus: documents which the source lacks at this moment, as the destination has them.
        lacking: documents which the destination lacks or has in another version, whole.
    """

    surplus: list[Document]
    lacking: list[Document]


@dataclass(frozen=True)
class Comparison:
    """Compares the two sides of an index.

    Attributes:
        source: the source.
        destination: the destination.
        index: the index.
        pool: runs the requests to the one side while the other is asked.
    """

    source: Side
    destination: Side
    index: str
    pool: Executor

    def differing(self, marks: Mapping[int, ShardMarks]) -> dict[int, list[Cut]]:
        """Counts between all fences of shards, by their numbers.

        Returns:
            Where the sides differ, by the numbers of the shards.
        """
        cuts = [
            Cut(shard, start, end, has_same_numbers=end.source <= fenced.base)
            for shard, fenced in marks.items()
            for start, end in pairwise(
                (Fence(_BEGIN, _BEGIN), *fenced.fences, Fence(fenced.mark, _END))
            )
        ]
        at_source, at_destination = self._both(
            self._tallies,
            [(cut.shard, after(cut.start.source, cut.end.source)) for cut in cuts],
            [(cut.shard, after(cut.start.destination, cut.end.destination)) for cut in cuts],
        )
        found: dict[int, list[Cut]] = {}
        for cut, here, there in zip(cuts, at_source, at_destination, strict=True):
            if here.documents != there.documents or (cut.has_same_numbers and here != there):
                found.setdefault(cut.shard, []).append(cut)
        return found

    def _tallies(self, side: Side, queries: Sequence[tuple[int, dict[str, Any]]]) -> list[_Tally]:
        searches = ((shard, {"query": query, "aggs": _SUM}) for shard, query in queries)
        return [
            _Tally(total_hits(answer["hits"]), answer["aggregations"]["sum"]["value"])
            for answer in documents.search_each(side, self.index, searches)
        ]

    def differences(self, cuts: Sequence[Cut], marks: ShardMarks) -> Differences:
        """Finds the documents by which the two sides of a shard differ.

        A search says what may be missing. Whether it is, the primary says that has the document:
        only what can't be read there any more is surplus. What the source has written again
        above the mark is left to a later round.

        Args:
            cuts: of one shard, where to look.
            marks: of that shard.
        """
        shard = cuts[0].shard
        only_source: dict[str, Document] = {}
        only_destination: dict[str, Document] = {}
        for cut in cuts:
            for here, there in self._listed(cut):
                only_source |= {key: here[key] for key in here.keys() - there.keys()}
                only_destination |= {key: there[key] for key in there.keys() - here.keys()}
        still_there, copied = self._both(
            lambda side, wanted: documents.get(side, self.index, shard, wanted),
            only_destination.values(),
            only_source.values(),
        )
        at_destination = only_destination | copied
        wanted = [
            document
            for document in (*still_there.values(), *only_source.values())
            if document.id not in at_destination
            or document.version != at_destination[document.id].version
        ]
        present = documents.get(self.source, self.index, shard, wanted, with_source=True)
        return Differences(
            surplus=[only_destination[key] for key in only_destination.keys() - still_there.keys()],
            lacking=[item for item in present.values() if item.seq_no <= marks.mark],
        )

    def _listed(self, cut: Cut) -> Iterable[tuple[dict[str, Document], dict[str, Document]]]:
        """Yields the documents of both sides, by their ids, range by range."""
        if cut.has_same_numbers:
            for ranges in batched(self._narrowed(cut), _RANGES_AT_ONCE, strict=False):
                query = _within(ranges)
                yield self._both(self._identities(cut.shard), query, query)
        else:
            yield self._both(
                self._identities(cut.shard),
                after(cut.start.source, cut.end.source),
                after(cut.start.destination, cut.end.destination),
            )

    def _identities(self, shard: int) -> Callable[[Side, dict[str, Any]], dict[str, Document]]:
        return lambda side, query: {
            document.id: document
            for document in documents.identities(side, self.index, shard, query)
        }

    def _narrowed(self, cut: Cut) -> list[Range]:
        """Cuts a range in which both sides have the same numbers, until what differs is small."""
        start, end = cut.start.source, cut.end.source
        ranges = [(start, end)]
        width = end - start
        while width > _NARROW:
            # As fine as the buckets of one histogram allow.
            width = max(_NARROW // 4, -(-width * min(len(ranges), _RANGES_AT_ONCE) // _BUCKETS))
            ranges = [
                (max(start, key - 1), min(end, key + width - 1))
                for some in batched(ranges, _RANGES_AT_ONCE, strict=False)
                for key in self._differing_buckets(cut.shard, some, width)
            ]
        return ranges

    def _differing_buckets(self, shard: int, ranges: Sequence[Range], width: int) -> Iterable[int]:
        """Yields where the buckets of a histogram begin that differ."""
        histogram = {"field": "_seq_no", "interval": width, "min_doc_count": 1}
        search = (
            shard,
            {
                "query": _within(ranges),
                "aggs": {"numbers": {"histogram": histogram, "aggs": _SUM}},
            },
        )
        here, there = self._both(self._histogram, search, search)
        for key in sorted(here.keys() | there.keys()):
            if here.get(key) != there.get(key):
                yield key

    def _histogram(self, side: Side, search: tuple[int, dict[str, Any]]) -> dict[int, _Tally]:
        [answer] = documents.search_each(side, self.index, [search])
        return {
            int(bucket["key"]): _Tally(bucket["doc_count"], bucket["sum"]["value"])
            for bucket in answer["aggregations"]["numbers"]["buckets"]
        }

    def _both[A, R](
        self, ask: Callable[[Side, A], R], of_source: A, of_destination: A
    ) -> tuple[R, R]:
        """Asks both sides at the same time."""
        answer = self.pool.submit(ask, self.destination, of_destination)
        return ask(self.source, of_source), answer.result()


def _within(ranges: Iterable[Range]) -> dict[str, Any]:
    return {"bool": {"should": [after(*each) for each in ranges]}}
