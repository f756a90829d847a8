"""Finds what was deleted at the source, which no search shows.

Between two sync points both sides hold the same documents, and the destination those besides that
were deleted at the source. So counts say where to look. Up to the base both sides even have the
same sequence numbers, so that histograms of these narrow it down to a few documents. To look
through a large shard would take seconds while clients wait: it is counted first, in pieces, since a
count takes a small part of that time.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import batched, pairwise
from typing import Any, NamedTuple

from snapferry.catchup import documents
from snapferry.catchup.documents import Document, after
from snapferry.catchup.marks import ShardMarks, SyncPoint
from snapferry.catchup.side import Side
from snapferry.engines import total_hits

_BEGIN, _END = -1, 2**63 - 1
# So many operations up to the base are looked through at once: to count them first takes longer.
_LOOKED_THROUGH = 262_144
# More are counted first, in so many pieces at most, and in none that are smaller.
_MOST_PIECES = 256
_SMALLEST_PIECE = 65_536
# Into one histogram go so many ranges. It has so many buckets for each of them, and in all at least
# so many: to send and to read them takes longer than to look through what is in them.
_RANGES_PER_HISTOGRAM = 32
_BUCKETS_PER_RANGE = 16
_FEWEST_BUCKETS = 128
# Ranges of more sequence numbers are cut once more: to read a document takes as long as to count
# many.
_NARROW = 64
# They aren't cut into pieces of fewer.
_NARROWEST = 16
# By one request.
_RANGES_AT_ONCE = 512
MOST_AT_ONCE = 100_000
"""So many documents that only the destination has are about as many as are looked through at once:
in one shard, and of what the source lacks in all, since they have to fit into memory."""
# So that these fit into one page: to find many ranges takes longer than to read them.
_RANGES_LISTED_AT_ONCE = documents.LARGEST_PAGE // _NARROW
_SUM = {"sum": {"sum": {"field": "_seq_no"}}}

type Range = tuple[int, int]
"""Operations after the one sequence number and up to the other."""
type Cut = tuple[SyncPoint, SyncPoint]
"""What lies after the one and up to the other."""


class _Tally(NamedTuple):
    """What is compared up to the base: how many documents, and the sum of their sequence numbers.

    The sum tells a document that is missing from another one that is too many. It takes twice the
    time, and is left out of a first look at wide buckets, unless something may be missing.
    """

    documents: int
    sum: float | None


@dataclass(frozen=True)
class Differences:
    """How the destination differs from the source in one shard.

    Attributes:
        surplus: documents which the source lacks at this moment, as the destination has them.
        lacking: documents which the destination lacks or has in another version, whole.
        complete: whether these are all; the others are found once these are deleted.
    """

    surplus: list[Document]
    lacking: list[Document]
    complete: bool


class Stopped(Exception):  # noqa: N818 - it is no failure
    """A comparison was to stop before its end."""


@dataclass(frozen=True)
class Comparison:
    """Compares the two sides of an index.

    Attributes:
        source: the source.
        destination: the destination.
        index: the index.
        pool: runs the requests to the one side while the other is asked.
        is_stopped: whether to stop after the request that runs.
    """

    source: Side
    destination: Side
    index: str
    pool: Executor
    is_stopped: Callable[[], bool]

    def differences(self, shard: int, marks: ShardMarks) -> Differences:
        """Finds the documents by which the two sides of a shard differ.

        A search says what may be missing. Whether it is, the primary says that has the document:
        only what can't be read there any more is surplus. What the source has written again
        above the mark is left to a later round.

        Args:
            shard: its number.
            marks: its marks.

        Raises:
            Stopped: where it was to stop.
        """
        only_source: dict[str, Document] = {}
        only_destination: dict[str, Document] = {}
        complete = True
        for here, there in self._listed(shard, *self._differing(shard, marks)):
            only_source |= {key: here[key] for key in here.keys() - there.keys()}
            only_destination |= {key: there[key] for key in there.keys() - here.keys()}
            if len(only_destination) > MOST_AT_ONCE:
                complete = False
                break
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
            complete=complete,
        )

    def _listed(
        self, shard: int, ranges: Iterable[Range], cuts: Iterable[Cut]
    ) -> Iterable[tuple[dict[str, Document], dict[str, Document]]]:
        """Yields the documents of both sides, by their ids, piece by piece."""

        def identities(side: Side, query: dict[str, Any]) -> dict[str, Document]:
            found = documents.identities(side, self.index, shard, query)
            return {document.id: document for document in found}

        for some in batched(ranges, _RANGES_LISTED_AT_ONCE, strict=False):
            yield self._both(identities, _within(some), _within(some))
        for cut in cuts:
            yield self._both(identities, *_queries(cut))

    def _differing(self, shard: int, marks: ShardMarks) -> tuple[list[Range], list[Cut]]:
        """Says where the sides differ: ranges up to the base that are narrow, and cuts above it."""
        whole = (_BEGIN, marks.base)
        operations = marks.base - _BEGIN
        # After a failover at the source, what that took back may be missing.
        may_lack = marks.deletions is None
        if at_once := may_lack or operations <= _LOOKED_THROUGH:
            width = _finer(operations, 1)
            pieces = [whole]
            searches = [_histogram(pieces, width, with_sums=may_lack or width <= _NARROW)]
        else:
            width = max(_SMALLEST_PIECE, -(-operations // _MOST_PIECES))
            pieces = list(pairwise([*range(_BEGIN, marks.base, width), marks.base]))
            searches = [{"query": after(*piece)} for piece in pieces]
        cuts = list(pairwise((*marks.sync_points, SyncPoint(marks.mark, _END))))
        (*here, cuts_here), (*there, cuts_there) = self._searched(
            shard,
            [*searches, _counted([(start.source, end.source) for start, end in cuts])],
            [*searches, _counted([(start.destination, end.destination) for start, end in cuts])],
        )
        if at_once:
            ranges = list(_differing_buckets(here[0], there[0], width, whole))
        else:
            ranges = [
                piece
                for piece, at_source, at_destination in zip(pieces, here, there, strict=True)
                if total_hits(at_source["hits"]) != total_hits(at_destination["hits"])
            ]
        while width > _NARROW and ranges:
            width = _finer(width, len(ranges))
            ranges = [
                range_
                for some in batched(ranges, _RANGES_AT_ONCE, strict=False)
                for range_ in self._narrowed(shard, some, width)
            ]
        differing = _differing_counts(cuts_here, cuts_there)
        return ranges, [cuts[number] for number in differing]

    def _narrowed(self, shard: int, ranges: Sequence[Range], width: int) -> Iterable[Range]:
        """Cuts ranges in which both sides have the same numbers; yields what differs."""
        pieces = list(batched(ranges, _RANGES_PER_HISTOGRAM, strict=False))
        searches = [_histogram(piece, width, with_sums=True) for piece in pieces]
        answers = self._searched(shard, searches, searches)
        for piece, here, there in zip(pieces, *answers, strict=True):
            yield from _differing_buckets(here, there, width, (piece[0][0], piece[-1][1]))

    def _searched(
        self,
        shard: int,
        of_source: Iterable[dict[str, Any]],
        of_destination: Iterable[dict[str, Any]],
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        def search(side: Side, bodies: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
            return list(documents.search_each(side, self.index, ((shard, body) for body in bodies)))

        return self._both(search, of_source, of_destination)

    def _both[A, R](
        self, ask: Callable[[Side, A], R], of_source: A, of_destination: A
    ) -> tuple[R, R]:
        """Asks both sides at the same time."""
        if self.is_stopped():
            raise Stopped
        answer = self.pool.submit(ask, self.destination, of_destination)
        return ask(self.source, of_source), answer.result()


def _queries(cut: Cut) -> tuple[dict[str, Any], dict[str, Any]]:
    """What asks the source and the destination for what lies in a cut."""
    start, end = cut
    return after(start.source, end.source), after(start.destination, end.destination)


def _within(ranges: Iterable[Range]) -> dict[str, Any]:
    parts = [after(*each) for each in ranges]
    # A plain one takes less time.
    return parts[0] if len(parts) == 1 else {"bool": {"should": parts}}


def _counted(ranges: Sequence[Range]) -> dict[str, Any]:
    """Asks how many documents lie in each of some ranges, of which one begins where another ends.

    One search takes less time than one for each, unless there are very many documents.
    """
    *bounded, (last, end) = ranges
    # A bound is a floating-point number, which the largest of them isn't: the query has the end.
    numbered = [{"from": start + 1, "to": end + 1} for start, end in bounded]
    numbered.append({"from": last + 1})
    keyed = [{"key": str(number), **bounds} for number, bounds in enumerate(numbered)]
    return {
        "query": after(ranges[0][0], end),
        "aggs": {"numbers": {"range": {"field": "_seq_no", "keyed": True, "ranges": keyed}}},
    }


def _differing_counts(here: dict[str, Any], there: dict[str, Any]) -> list[int]:
    """The numbers of the ranges in which two answers to `_counted` differ."""
    counts, others = (answer["aggregations"]["numbers"]["buckets"] for answer in (here, there))
    return [int(key) for key in counts if counts[key]["doc_count"] != others[key]["doc_count"]]


def _finer(width: int, ranges: int) -> int:
    """The width of the buckets into which ranges of a width are cut by one histogram."""
    together = min(ranges, _RANGES_PER_HISTOGRAM)
    buckets = max(_FEWEST_BUCKETS, _BUCKETS_PER_RANGE * together)
    return max(_NARROWEST, -(-width * together // buckets))


def _histogram(ranges: Iterable[Range], width: int, *, with_sums: bool) -> dict[str, Any]:
    histogram = {"field": "_seq_no", "interval": width, "min_doc_count": 1}
    sums = {"aggs": _SUM} if with_sums else {}
    return {"query": _within(ranges), "aggs": {"numbers": {"histogram": histogram, **sums}}}


def _differing_buckets(
    here: dict[str, Any], there: dict[str, Any], width: int, within: Range
) -> Iterable[Range]:
    """Yields the buckets of two histograms that differ."""
    tallies, others = (
        {
            int(bucket["key"]): _Tally(bucket["doc_count"], bucket.get("sum", {}).get("value"))
            for bucket in answer["aggregations"]["numbers"]["buckets"]
        }
        for answer in (here, there)
    )
    start, end = within
    for key in sorted(tallies.keys() | others.keys()):
        if tallies.get(key) != others.get(key):
            yield max(start, key - 1), min(end, key + width - 1)
