"""Reads and counts documents at the primary of a shard."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any

from snapferry.catchup.side import Side, require_complete
from snapferry.errors import Unavailable

BATCH_BYTES = 4 * 1024 * 1024
"""Of documents: well below the 10 MiB that a small Amazon domain takes in one request."""
_DOCUMENT_BYTES = 600
"""What a document takes besides its text, in an answer and in memory."""
_UNSEEN_DOCUMENT_BYTES = 64 * 1024
"""What a document is taken for before one was seen: so much that a page of far larger ones fits."""
# A page of few is slow, and each with a document that was made anew costs a refresh.
_GROWTH = 8
LARGEST_PAGE = 4_999
"""One more is asked for, which is half of what an index answers unless it is set otherwise."""
_SEARCHES_AT_ONCE = 500
_GETS_AT_ONCE = 1_000
_GETS_WITH_SOURCE_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Document:
    """A document as a search or a get shows it.

    Attributes:
        id: its id.
        routing: what decides on its shard, if it isn't the id.
        version: its version.
        seq_no: of the operation that wrote it.
        source: its JSON, as it was sent once; empty where it wasn't asked for.
    """

    id: str
    routing: str | None
    version: int
    seq_no: int
    source: str

    @property
    def key(self) -> dict[str, str]:
        """How bulks and gets name it."""
        if self.routing is None:
            return {"_id": self.id}
        return {"_id": self.id, "routing": self.routing}


class PageSize:
    """How many documents to read at once, so that a page comes to about `page_bytes`."""

    def __init__(self, documents: int | None = None, page_bytes: int = BATCH_BYTES) -> None:
        self.documents = documents or page_bytes // _UNSEEN_DOCUMENT_BYTES
        self._page_bytes = page_bytes

    def learn(self, page: Sequence[Document]) -> None:
        """Adapts it to the largest document of a page that was read: the next may all be like it.

        As they may be larger as well, it grows in steps.
        """
        largest_bytes = max(_DOCUMENT_BYTES + len(document.source) for document in page)
        grown = max(self.documents, _GROWTH * len(page))
        self.documents = max(1, min(self._page_bytes // largest_bytes, grown, LARGEST_PAGE))


def after(seq_no: int, up_to: int) -> dict[str, Any]:
    """The query for operations after a sequence number and up to another."""
    return {"range": {"_seq_no": {"gt": seq_no, "lte": up_to}}}


def pages(
    side: Side,
    index: str,
    shard: int,
    query: dict[str, Any],
    size: PageSize,
    *,
    with_source: bool = True,
) -> Iterator[list[Document]]:
    """Yields the documents of a shard, in the order of their sequence numbers.

    In an index that was made by shrinking another one, several documents may have one number.
    """
    body: dict[str, Any] = {
        "query": query,
        "sort": [{"_seq_no": "asc"}],
        "version": True,
        "_source": with_source,
        "track_total_hits": False,
        **side.engine.search_options,
    }
    asked = size.documents + 1
    while True:
        body["size"] = asked
        answer = side.patiently(
            side.client.search,
            index=index,
            body=body,
            params={
                "preference": side.preference(index, shard),
                "allow_partial_search_results": "false",
            },
        )
        require_complete(answer, index)
        found = [
            Document(
                id=hit["_id"],
                routing=hit.get("_routing"),
                version=hit["_version"],
                # Elasticsearch 6 shows it in no other way.
                seq_no=hit["sort"][0],
                source=hit["_source"] if with_source else "",
            )
            for hit in answer["hits"]["hits"]
        ]
        is_last = len(found) < asked
        # Others of the last number may follow, so that it begins the next page.
        page = found if is_last else [each for each in found if each.seq_no < found[-1].seq_no]
        if page:
            size.learn(page)
            yield page
            body["search_after"] = [page[-1].seq_no]
        if is_last:
            return
        asked = size.documents + 1 if page else 2 * asked


def identities(side: Side, index: str, shard: int, query: dict[str, Any]) -> Iterator[Document]:
    """Yields the documents of a shard without their sources, in the same order."""
    for page in pages(side, index, shard, query, PageSize(LARGEST_PAGE), with_source=False):
        yield from page


def search_each(
    side: Side, index: str, searches: Iterable[tuple[int, dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """Yields the answers of many searches without hits.

    Args:
        side: the cluster.
        index: stands in the path, since a cluster may refuse it in the body.
        searches: of each the shard's number and the body.
    """
    for batch in batched(searches, _SEARCHES_AT_ONCE, strict=False):
        lines: list[dict[str, Any]] = []
        for shard, body in batch:
            lines += (
                {
                    "preference": side.preference(index, shard),
                    "allow_partial_search_results": False,
                },
                {"size": 0, "track_total_hits": True, **body, **side.engine.search_options},
            )
        answer = side.patiently(
            side.client.msearch,
            index=index,
            body="".join(f"{json.dumps(line)}\n" for line in lines),
        )
        for response in answer["responses"]:
            require_complete(response, index)
            yield response


def get(
    side: Side,
    index: str,
    shard: int,
    wanted: Iterable[Document],
    *,
    with_source: bool = False,
    at_once: int | None = None,
) -> dict[str, Document]:
    """Reads documents as they are at this moment, also before a refresh.

    Args:
        side: the cluster.
        index: the index.
        shard: where they lie.
        wanted: the documents, by their ids and routing.
        with_source: whether to read them whole.
        at_once: in one request; as many as are safe for documents of any size, if None.

    Returns:
        Those that are there, by id.
    """
    if at_once is None:
        at_once = _GETS_WITH_SOURCE_AT_ONCE if with_source else _GETS_AT_ONCE
    found: dict[str, Document] = {}
    for batch in batched(wanted, at_once, strict=False):
        answer = side.patiently(
            side.client.mget,
            index=index,
            body={"docs": [document.key for document in batch]},
            params={
                "preference": side.preference(index, shard),
                "realtime": "true",
                "_source": str(with_source).lower(),
            },
        )
        for asked, item in zip(batch, answer["docs"], strict=True):
            if "error" in item:
                raise Unavailable(f"{index}: {asked.id} can't be read: {item['error']}")
            if item["found"]:
                found[asked.id] = Document(
                    id=asked.id,
                    # An answer without the source lacks the routing as well.
                    routing=item.get("_routing") if with_source else asked.routing,
                    version=item["_version"],
                    seq_no=item["_seq_no"],
                    source=item["_source"] if with_source else "",
                )
    return found
