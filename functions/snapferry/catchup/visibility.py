"""Whether searches show all documents, which document-level security prevents in silence."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.catchup.documents import search_each
from snapferry.catchup.mappings import nested_paths
from snapferry.catchup.primaries import look
from snapferry.catchup.side import Side, refresh
from snapferry.engines import total_hits
from snapferry.errors import Unavailable

_ATTEMPTS = 20


def unshown(source: OpenSearch, names: Iterable[str]) -> list[str]:
    """The indices of which a search of many at once doesn't show every document.

    Those that have nested documents, or are written to meanwhile, are among them, too:
    `hidden_documents` tells which of them hide some.
    """
    found = []
    for path in indices.paths(names):
        piece = path.split(",")
        refresh(source, piece)
        before = _held(source, path)
        shown = indices.count(source, piece)
        after = _held(source, path)
        found += [name for name in piece if not before.get(name) == shown[name] == after.get(name)]
    return found


def _held(source: OpenSearch, path: str) -> dict[str, int]:
    """How many documents the primaries of each index hold, nested ones counted apart.

    Source: https://docs.opensearch.org/latest/api-reference/index-apis/stats/
    """
    stats = source.indices.stats(
        index=path, metric="docs", params={"filter_path": "indices.*.primaries.docs.count"}
    )
    return {
        name: index["primaries"]["docs"]["count"]
        for name, index in stats.get("indices", {}).items()
    }


def hidden_documents(
    source: Side, index: str, shards: Sequence[int], mapping: Mapping[str, Any]
) -> int:
    """Counts the documents of some shards that exist and that no search shows.

    The statistics of a shard count what its searcher holds, whoever asks, and nested documents
    apart. While clients write, only a count between two equal ones says something.

    Raises:
        Unavailable: where the statistics never stand still.
    """
    body: dict[str, Any] = {
        "query": {"match_all": {}},
        "aggs": {path: {"nested": {"path": path}} for path in nested_paths(mapping)},
    }
    for _ in range(_ATTEMPTS):
        refresh(source.client, [index])
        before = _lucene_documents(source, index, shards)
        shown = 0
        for answer in search_each(source, index, [(shard, body) for shard in shards]):
            shown += total_hits(answer["hits"])
            for nested in answer.get("aggregations", {}).values():
                shown += nested["doc_count"]
        if before == _lucene_documents(source, index, shards):
            return before - shown
    raise Unavailable(f"{index}: its documents can't be counted while so much is written to it")


def _lucene_documents(source: Side, index: str, shards: Sequence[int]) -> int:
    present = look(source.client, [index])[index]
    return sum(present[shard].lucene_documents for shard in shards)
