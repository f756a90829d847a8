"""Compares the documents of both sides: by digests, and one by one where these differ."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import batched
from typing import Any, Literal

from snapferry.catchup.documents import (
    Document,
    PageSize,
    after,
    get,
    identities,
    pages,
    search_each,
)
from snapferry.catchup.side import Side
from snapferry.engines import total_hits
from snapferry.verification.slices import Ends, Moment, Slice

_DIGEST_BYTES = 16
# Some pages are held at once, on both sides, by a function of 512 MB.
_PAGE_BYTES = 1024 * 1024
_IDENTITIES_AT_ONCE = 1_000


@dataclass(frozen=True)
class Difference:
    """A document by which the sides differ.

    Attributes:
        id: its id.
        shard: where it lies.
        kind: `missing` at the destination, `surplus` there, or `changed`.
        where: of a changed one, what differs first; never its value.
    """

    id: str
    shard: int
    kind: Literal["missing", "surplus", "changed"]
    where: str = ""

    def __str__(self) -> str:
        match self.kind:
            case "missing":
                return f"document {self.id} is missing"
            case "surplus":
                return f"document {self.id} is one too many"
            case "changed":
                return f"document {self.id} differs in {self.where}"


@dataclass
class Findings:
    """What the comparison of a slice has found.

    Attributes:
        documents: compared.
        differences: those that are no client's doing.
        gone: documents that the destination lacks now, perhaps because a client deleted them.
        rewritten: documents that a client has written since; they aren't judged.
        undecided: whether it has to be compared again once nobody writes to the source.
    """

    documents: int = 0
    differences: list[Difference] = field(default_factory=list)
    gone: list[Difference] = field(default_factory=list)
    rewritten: int = 0
    undecided: bool = False


@dataclass(frozen=True)
class Comparison:
    """Compares the two sides of an index.

    Attributes:
        source: the source.
        destination: the destination.
        index: the index.
        moment: which side clients may write to.
        shards: up to which operations they are compared, by number.
        with_source: whether it stores its documents, and not their identities alone.
        equal: slices that were compared earlier, and were equal.
        pool: runs the requests to the one side while the other is asked.
        page_size: of all slices.
    """

    source: Side
    destination: Side
    index: str
    moment: Moment
    shards: list[Ends]
    with_source: bool
    equal: Collection[Slice]
    pool: Executor
    page_size: PageSize = field(default_factory=lambda: PageSize(page_bytes=_PAGE_BYTES))

    def compare(self, part: Slice) -> Findings:
        """Compares the documents of a slice, a page at a time."""
        findings = Findings()
        if part in self.equal:
            here, there = self._both(self._numbers, part)
            if here == there:
                return findings
        if part.side == "both":
            here, there = self._both(self._digest, part)
            if here == there:
                findings.documents = here[0]
                return findings
        if part.side != "destination":
            self._look_at_destination(part, findings)
        if part.side != "source":
            self._look_at_source(part, findings)
        return findings

    def _both[A](self, ask: Callable[[Side, Slice], A], part: Slice) -> tuple[A, A]:
        """Asks both sides at the same time."""
        answer = self.pool.submit(ask, self.destination, part)
        return ask(self.source, part), answer.result()

    def _numbers(self, side: Side, part: Slice) -> tuple[int, int]:
        """How many sequence numbers documents have, and their sum."""
        body = {
            "query": after(part.start, part.end),
            "aggs": {"sum": {"sum": {"field": "_seq_no"}}},
        }
        [answer] = search_each(side, self.index, [(part.shard, body)])
        return total_hits(answer["hits"]), int(answer["aggregations"]["sum"]["value"])

    def _digest(self, side: Side, part: Slice) -> tuple[int, int]:
        """The number of documents, and the sum of their hashes, whatever their order is."""
        documents = total = 0
        for page in self._pages(side, part):
            documents += len(page)
            total += sum(map(_hash, page))
        return documents, total % 2 ** (8 * _DIGEST_BYTES)

    def _look_at_destination(self, part: Slice, findings: Findings) -> None:
        """Looks at the destination for each document that the source has."""
        end = self.shards[part.shard].destination
        for page in self._pages(self.source, part):
            # The copies of a page are as large as the page.
            copies = get(
                self.destination,
                self.index,
                part.shard,
                page,
                with_source=self.with_source,
                at_once=len(page),
            )
            suspects = [item for item in page if not _is_copy(item, copies.get(item.id), end)]
            # A client may have written to the source since the page was read.
            present = get(self.source, self.index, part.shard, suspects)
            unchanged = [
                item
                for item in suspects
                if item.id in present and present[item.id].seq_no == item.seq_no
            ]
            findings.documents += len(page) - len(suspects)
            findings.rewritten += len(suspects) - len(unchanged)
            findings.undecided |= len(unchanged) < len(suspects)
            for item in unchanged:
                self._judge(item, copies.get(item.id), part.shard, findings)

    def _judge(
        self, document: Document, copy: Document | None, shard: int, findings: Findings
    ) -> None:
        if copy is None:
            missing = Difference(document.id, shard, "missing")
            (findings.differences if self.moment == "before" else findings.gone).append(missing)
        elif copy.seq_no > self.shards[shard].destination:
            findings.rewritten += 1
        else:
            findings.documents += 1
            findings.differences.append(
                Difference(document.id, shard, "changed", _first_difference(document, copy))
            )

    def _look_at_source(self, part: Slice, findings: Findings) -> None:
        """Looks at the source for each document that the destination has."""
        listed = identities(self.destination, self.index, part.shard, after(part.start, part.end))
        for batch in batched(listed, _IDENTITIES_AT_ONCE, strict=False):
            present = get(self.source, self.index, part.shard, batch)
            surplus = [item for item in batch if item.id not in present]
            if self.moment == "before":
                # Perhaps they were deleted at the source since; catching up will see to it.
                findings.undecided |= bool(surplus)
            else:
                findings.differences += [
                    Difference(item.id, part.shard, "surplus") for item in surplus
                ]

    def _pages(self, side: Side, part: Slice) -> Iterator[list[Document]]:
        return pages(
            side,
            self.index,
            part.shard,
            after(part.start, part.end),
            self.page_size,
            with_source=self.with_source,
        )


def _hash(document: Document) -> int:
    identity = json.dumps([document.id, document.routing])
    text = f"{identity}\n{document.source}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest())


def _is_copy(document: Document, copy: Document | None, end: int) -> bool:
    return (
        copy is not None
        and copy.seq_no <= end
        and copy.routing == document.routing
        and _text(copy) == _text(document)
    )


def _text(document: Document) -> str:
    """What was caught up has blanks in place of the line breaks between its parts."""
    return document.source.replace("\n", " ")


def _first_difference(document: Document, copy: Document) -> str:
    if document.routing != copy.routing:
        return "its routing"
    path = _first_path(*(_parsed(item.source) for item in (document, copy)))
    return f"the field {path}" if path else "its text"


def _parsed(source: str) -> Any:
    """JSON whose numbers keep their digits, apart from strings of the same."""
    return json.loads(source, parse_int=_number, parse_float=_number)


def _number(digits: str) -> tuple[str]:
    return (digits,)


def _first_path(here: Any, there: Any, path: str = "") -> str:
    """The path of the first field that differs; empty where none does."""
    children: Iterable[tuple[str, Any, Any]]
    match here, there:
        case dict(), dict():
            names = dict.fromkeys((*here, *there))
            children = (
                (f"{path}.{name}" if path else name, here.get(name, ...), there.get(name, ...))
                for name in names
            )
        case list(), list() if len(here) == len(there):
            children = (
                (f"{path}[{number}]", *pair)
                for number, pair in enumerate(zip(here, there, strict=True))
            )
        case _:
            return path
    for child_path, one, other in children:
        if one != other:
            return _first_path(one, other, child_path)
    return ""
