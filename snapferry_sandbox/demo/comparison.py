"""Compares every document of both clusters, apart from what the product itself verifies.

Both sides are read in the order of a field that is unique in the index, and merged: so two pages
of documents are all that is held, whatever the size of the index.
"""

import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import orjson
from opensearchpy import OpenSearch

from snapferry_sandbox.demo.data import Document
from snapferry_sandbox.demo.writer import Ledger

_PAGE_DOCUMENTS = 10_000  # as many as a search may return
_KEEP_ALIVE = "5m"
_INDICES_AT_ONCE = 2
_SHOWN_DIFFERENCES = 10

type Key = int | str


@dataclass
class Comparison:
    """How one index came out.

    Attributes:
        source_documents: at the source.
        destination_documents: at the destination, but for what was written there since.
        ledger_entries: documents that the writer changed, each compared with what it was told.
        differences: number of documents that aren't as they should be.
        examples: the first of them, in words.
    """

    source_documents: int = 0
    destination_documents: int = 0
    ledger_entries: int = 0
    differences: int = 0
    examples: list[str] = field(default_factory=list)

    def differs(self, what: str) -> None:
        """Note a difference."""
        self.differences += 1
        if len(self.examples) < _SHOWN_DIFFERENCES:
            self.examples.append(what)


def compare_clusters(
    source: OpenSearch,
    destination: OpenSearch,
    keys: Mapping[str, str],
    source_ledger: Ledger,
    destination_ledger: Ledger,
) -> dict[str, Comparison]:
    """Compare indices of two clusters; nobody may be writing to them.

    Args:
        source: where the documents come from.
        destination: where they went.
        keys: for each index the field that is unique in it.
        source_ledger: what the source has accepted.
        destination_ledger: what the destination has accepted since.

    Returns:
        How each index came out.
    """

    def one(item: tuple[str, str]) -> Comparison:
        index, key = item
        comparison = compare_documents(
            read(source, index, key),
            read(destination, index, key),
            source_ledger.of(index),
            destination_ledger.of(index),
        )
        definitions = [_definition(cluster, index) for cluster in (source, destination)]
        if definitions[0] != definitions[1]:
            comparison.differs("mappings or aliases differ")
        return comparison

    with ThreadPoolExecutor(_INDICES_AT_ONCE) as threads:
        return dict(zip(keys, threads.map(one, keys.items()), strict=True))


def compare_documents(
    source: Iterable[tuple[Key, Document]],
    destination: Iterable[tuple[Key, Document]],
    written_at_source: Mapping[str, Document],
    written_at_destination: Mapping[str, Document],
) -> Comparison:
    """Compare one index.

    Args:
        source: its documents at the source, with their keys, in the order of these.
        destination: the same at the destination.
        written_at_source: by id, what the source has accepted.
        written_at_destination: by id, what the destination has accepted since.
    """
    comparison = Comparison(ledger_entries=len(written_at_source.keys() | written_at_destination))
    unseen_at_source = {id_ for id_, document in written_at_source.items() if document.content}
    unseen_at_destination = {
        id_ for id_, document in written_at_destination.items() if document.content
    }
    sides = heapq.merge(
        ((key, document.id, 0, document) for key, document in source),
        ((key, document.id, 1, document) for key, document in destination),
        key=itemgetter(0, 1, 2),
    )
    for (_, id_), group in itertools.groupby(sides, key=itemgetter(0, 1)):
        found: tuple[list[Document], list[Document]] = ([], [])
        for _, _, side, document in group:
            found[side].append(document)
        at_source, at_destination = found
        comparison.source_documents += len(at_source)
        expected_at_source = [written_at_source[id_]] if id_ in written_at_source else at_source
        if _differ(at_source, expected_at_source):
            comparison.differs(f"{id_}: the source doesn't hold what it accepted")
        unseen_at_source.discard(id_)
        if id_ in written_at_destination:
            expected = [written_at_destination[id_]]
            comparison.destination_documents += len(at_source)
            unseen_at_destination.discard(id_)
        else:
            expected = at_source
            comparison.destination_documents += len(at_destination)
        if _differ(at_destination, expected):
            comparison.differs(
                f"{id_}: {len(at_destination)} times at the destination instead of {len(expected)}"
                if len(at_destination) != len(expected)
                else f"{id_}: another content, routing or version"
            )
    for id_ in unseen_at_source:
        comparison.differs(f"{id_}: the source lost what it accepted")
    for id_ in unseen_at_destination:
        comparison.differs(f"{id_}: the destination lost what it accepted")
    return comparison


def read(cluster: OpenSearch, index: str, key: str) -> Iterator[tuple[Key, Document]]:
    """Read an index in the order of a field, as it is after a refresh."""
    cluster.indices.refresh(index=index)
    pit = cluster.create_pit(index=index, params={"keep_alive": _KEEP_ALIVE})["pit_id"]
    try:
        after: dict[str, Any] = {}
        while True:
            answer = cluster.search(
                body={
                    "size": _PAGE_DOCUMENTS,
                    "pit": {"id": pit, "keep_alive": _KEEP_ALIVE},
                    "sort": [{key: "asc"}],
                    "track_total_hits": False,
                    "version": True,
                    **after,
                },
                params={"allow_partial_search_results": "false"},
            )
            hits = answer["hits"]["hits"]
            for hit in hits:
                yield (
                    hit["sort"][0],
                    Document(
                        index, hit["_id"], hit.get("_routing"), hit["_source"], hit["_version"]
                    ),
                )
            if not hits:
                return
            after = {"search_after": hits[-1]["sort"]}
    finally:
        cluster.delete_pit(body={"pit_id": [pit]})


def _differ(found: list[Document], expected: list[Document]) -> bool:
    if found is expected:
        return False
    return [_canonical(document) for document in found] != [
        _canonical(document) for document in expected if document.content is not None
    ]


def _canonical(document: Document) -> bytes:
    """One text for one content: the order of fields counts for nothing, 1 and 1.0 differ."""
    return orjson.dumps(
        [document.routing, document.version, document.content], option=orjson.OPT_SORT_KEYS
    )


def _definition(cluster: OpenSearch, index: str) -> Any:
    return cluster.indices.get_mapping(index=index), cluster.indices.get_alias(index=index)
