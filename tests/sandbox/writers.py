"""Clients under full load, and what the cluster told them."""

import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException
from opensearchpy.helpers import bulk

from snapferry_sandbox.demo.comparison import compare_clusters
from snapferry_sandbox.demo.data import Document
from snapferry_sandbox.demo.writer import Ledger, Writer

_WRITERS = 2
# Enough to have writes under way at each moment, and some processor for the clusters.
_OPERATIONS_PER_SECOND = 100
_DOCUMENTS = 400
_COUNTRIES = ("AD", "FR", "IN", "PE", "TV")
_KEY = "geonameid"


def create(
    cluster: OpenSearch,
    index: str,
    *,
    shards: int = 2,
    mappings: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> list[Document]:
    """Makes an index, and fills it with documents, half of them with a routing of their own."""
    cluster.indices.create(
        index=index,
        body={
            "settings": {
                "number_of_shards": shards,
                "number_of_replicas": 0,
                # So that the versions of a document which is made anew begin again at once.
                "gc_deletes": "0",
                **(settings or {}),
            },
            "mappings": {"properties": {"parts": {"type": "nested"}}, **(mappings or {})},
        },
    )
    chance = random.Random(0)  # noqa: S311 - the same documents in each run
    documents = []
    for number in range(_DOCUMENTS):
        country = chance.choice(_COUNTRIES)
        content = {
            _KEY: number,
            "country": country,
            "population": chance.randrange(1_000),
            "parts": [{"a": 1}, {"a": number}],
        }
        routing = country if number % 2 else None
        documents.append(Document(index, str(number), routing, content))
    bulk(
        cluster,
        ({**one.action()["index"], "_source": one.content} for one in documents),
        refresh=True,
    )
    return documents


class Writers:
    """Several writers at one index, each with documents of its own.

    So each knows what its documents have to be, whatever the others do.
    """

    def __init__(self, cluster: OpenSearch, documents: list[Document], seed: int = 0) -> None:
        self._cluster = cluster
        self._writers = [
            Writer(
                documents[number::_WRITERS],
                _OPERATIONS_PER_SECOND,
                new_documents=documents[0].index,
                seed=_WRITERS * seed + number,
            )
            for number in range(_WRITERS)
        ]
        self._ledgers: list[Ledger] = []

    @contextmanager
    def writing(self) -> Iterator[None]:
        """They write, until `stop` or the end of the context."""
        with ExitStack() as stack:
            for writer in self._writers:
                stack.enter_context(writer)
                self._ledgers.append(writer.start(self._cluster))
            yield
            self.stop()

    def stop(self) -> None:
        """They stop after the answer to what is under way."""
        for writer in self._writers:
            writer.stop()

    @property
    def accepted(self) -> int:
        """How many operations were accepted so far."""
        return sum(ledger.accepted for ledger in self._ledgers)

    @property
    def refused(self) -> int:
        """How many operations were refused so far."""
        return sum(ledger.refused for ledger in self._ledgers)

    @property
    def ledger(self) -> Ledger:
        """What was accepted of all of them."""
        together = Ledger()
        for ledger in self._ledgers:
            together.documents |= ledger.documents
            together.uncertain |= ledger.uncertain
        return together


def differences(
    source: OpenSearch, destination: OpenSearch, indices: list[str], *writers: Writers
) -> dict[str, list[str]]:
    """What is not at the destination as it was accepted at the source, by index."""
    accepted = Ledger()
    for each in writers:
        accepted.documents |= each.ledger.documents
        accepted.uncertain |= each.ledger.uncertain
    found = compare_clusters(source, destination, dict.fromkeys(indices, _KEY), accepted, Ledger())
    return {index: one.examples for index, one in found.items() if one.differences}


def takes_writes(cluster: OpenSearch, index: str) -> bool:
    """Whether an index takes a write; it is one that doesn't matter."""
    try:
        cluster.delete(index=index, id="nobody", ignore=404)
    except AuthorizationException as error:
        return error.error != "cluster_block_exception"
    return True
