"""Whether searches show all documents, and as they are.

Document-level and field-level security and field masking prevent that in silence.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
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
_INDICES_PER_LOOK = 20


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
    source: Side,
    shards: Mapping[str, Sequence[int]],
    mapping_of: Mapping[str, Mapping[str, Any]],
) -> dict[str, int | None]:
    """Counts the documents of indices that exist and that no search shows.

    The statistics of a shard are the same whoever asks, and count nested documents apart. While
    clients write, only a search between two equal ones says something. And what a client has just
    written and read is in them before searches show it: that documents are hidden is believed only
    if several searches say so, and none says otherwise.

    Args:
        source: the source.
        shards: of each index those that are looked at.
        mapping_of: the mapping of each index.

    Returns:
        How many, by index; None where nobody can tell, since the statistics don't stand still.

    Raises:
        NotFound, Unavailable: where an index is deleted or closed meanwhile.
    """
    hidden: dict[str, int | None] = {}
    with ThreadPoolExecutor(_INDICES_AT_ONCE) as pool:
        # Not more than that: else those at the end have changed since the beginning.
        for batch in batched(shards, _INDICES_PER_LOOK, strict=False):
            told: dict[str, list[int]] = {name: [] for name in batch}
            for _ in range(_ATTEMPTS):
                undecided = {name: shards[name] for name in batch if not _is_decided(told[name])}
                if not undecided:
                    break
                refresh(source.client, undecided)
                before = _lucene_documents(source, undecided)
                shown = pool.map(
                    lambda name: _shown(source, name, shards[name], mapping_of[name]), undecided
                )
                found = dict(zip(undecided, shown, strict=True))
                after = _lucene_documents(source, undecided)
                for name in undecided:
                    if before[name] == after[name]:
                        told[name].append(before[name] - found[name])
            for name in batch:
                hidden[name] = told[name][-1] if _is_decided(told[name]) else None
    return hidden


def _is_decided(told: Sequence[int]) -> bool:
    return 0 in told or len(told) == _ENOUGH_SEARCHES


def _shown(source: Side, index: str, shards: Iterable[int], mapping: Mapping[str, Any]) -> int:
    """How many documents of some shards searches show, nested ones counted apart."""
    body: dict[str, Any] = {
        "query": {"match_all": {}},
        "aggs": {path: {"nested": {"path": path}} for path in nested_paths(mapping)},
    }
    shown = 0
    for answer in search_each(source, index, [(shard, body) for shard in shards]):
        shown += total_hits(answer["hits"])
        for nested in answer.get("aggregations", {}).values():
            shown += nested["doc_count"]
    return shown


def _lucene_documents(source: Side, shards: Mapping[str, Sequence[int]]) -> dict[str, int]:
    present = look(source.client, shards)
    if gone := shards.keys() - present.keys():
        raise Unavailable(f"{indices.some(gone)}: deleted or closed at this moment")
    return {
        name: sum(present[name][number].lucene_documents for number in numbers)
        for name, numbers in shards.items()
    }
