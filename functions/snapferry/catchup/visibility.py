"""Whether searches show all documents, and as they are.

Document-level and field-level security and field masking prevent that in silence.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.catchup.documents import PageSize, after, get, pages, search_each
from snapferry.catchup.mappings import nested_paths
from snapferry.catchup.primaries import look, nodes
from snapferry.catchup.side import Side, refresh
from snapferry.engines import Engine, total_hits
from snapferry.errors import Unavailable

_ATTEMPTS = 20
_ENOUGH_SEARCHES = 10
# Each has a few documents of any size in memory.
_INDICES_AT_ONCE = 4


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


def altered(source: OpenSearch, destination: OpenSearch, names: Iterable[str]) -> list[str]:
    """The indices of which one of the first documents isn't shown alike on both sides.

    What was just restored is what the source holds: whoever changes a document there gives it
    another sequence number, and such a one says nothing.

    Args:
        source: the domain, whose searches show everything since a refresh.
        destination: where some of the indices are, as a restore left them.
        names: the indices.
    """
    at_source, at_destination = (look(cluster, names) for cluster in (source, destination))
    here, there = (
        Side(cluster, Engine.of(cluster), nodes(found))
        for cluster, found in ((source, at_source), (destination, at_destination))
    )

    def is_altered(name: str) -> bool:
        largest = max(at_source[name], key=lambda primary: primary.lucene_documents)
        restored = after(-1, at_destination[name][largest.shard].max_seq_no)
        page = next(pages(here, name, largest.shard, restored, PageSize()), [])
        copies = get(there, name, largest.shard, page, with_source=True)
        return any(
            copy.source != document.source
            for document in page
            if (copy := copies.get(document.id))
            and (copy.seq_no, copy.version) == (document.seq_no, document.version)
        )

    both = [name for name in at_source if name in at_destination]
    with ThreadPoolExecutor(_INDICES_AT_ONCE) as pool:
        return [name for name, found in zip(both, pool.map(is_altered, both), strict=True) if found]


def hidden_documents(
    source: Side, index: str, shards: Sequence[int], mapping: Mapping[str, Any]
) -> int | None:
    """Counts the documents of some shards that exist and that no search shows.

    The statistics of a shard are the same whoever asks, and count nested documents apart. While
    clients write, only a search between two equal ones says something. And what a client has just
    written and read is in them before searches show it: that documents are hidden is believed only
    if several searches say so, and none says otherwise.

    Returns:
        How many; None where nobody can tell, since the statistics don't stand still.

    Raises:
        Unavailable: where the index is deleted or closed meanwhile.
    """
    body: dict[str, Any] = {
        "query": {"match_all": {}},
        "aggs": {path: {"nested": {"path": path}} for path in nested_paths(mapping)},
    }
    told = []
    for _ in range(_ATTEMPTS):
        refresh(source.client, [index])
        before = _lucene_documents(source, index, shards)
        shown = 0
        for answer in search_each(source, index, [(shard, body) for shard in shards]):
            shown += total_hits(answer["hits"])
            for nested in answer.get("aggregations", {}).values():
                shown += nested["doc_count"]
        if before == _lucene_documents(source, index, shards):
            told.append(before - shown)
            if told[-1] == 0 or len(told) == _ENOUGH_SEARCHES:
                return told[-1]
    return None


def _lucene_documents(source: Side, index: str, shards: Sequence[int]) -> int:
    present = look(source.client, [index]).get(index)
    if present is None:
        raise Unavailable(f"{index}: it was deleted or closed at this moment")
    return sum(present[shard].lucene_documents for shard in shards)
