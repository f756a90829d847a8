"""What the primary of each shard says of itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.errors import Unavailable

UNKNOWN_CHECKPOINT = -2
"""The global checkpoint of a primary that doesn't know it yet."""

_STATE = (
    "metadata.indices.*.state,metadata.indices.*.settings.index.uuid,"
    "metadata.indices.*.primary_terms,"
    "routing_table.indices.*.shards.*.shard,routing_table.indices.*.shards.*.primary,"
    "routing_table.indices.*.shards.*.state,routing_table.indices.*.shards.*.node,"
    "routing_table.indices.*.shards.*.allocation_id"
)
_STATS = (
    "indices.*.shards.*.routing.primary,indices.*.shards.*.routing.node,"
    "indices.*.shards.*.docs.count,indices.*.shards.*.seq_no.max_seq_no,"
    "indices.*.shards.*.seq_no.global_checkpoint,indices.*.shards.*.indexing.delete_total,"
    "indices.*.shards.*.commit.user_data.history_uuid"
)
_LAST_OPERATIONS = "indices.*.shards.*.routing.primary,indices.*.shards.*.seq_no.max_seq_no"


@dataclass(frozen=True)
class Lineage:
    """Which copy of a shard is the primary, and what its sequence numbers mean.

    Attributes:
        history_uuid: of its operations; another one numbers them differently.
        term: counts the times that another copy took its place.
        allocation_id: new whenever it moves or another copy takes its place.
    """

    history_uuid: str
    term: int
    allocation_id: str

    def continues(self, earlier: "Lineage") -> bool:
        """Whether it has all operations that the earlier one had acknowledged, however it moved."""
        return (self.history_uuid, self.term) == (earlier.history_uuid, earlier.term)


@dataclass(frozen=True)
class Primary:
    """The primary of one shard at one moment.

    Attributes:
        index_uuid: of the index that the shard belongs to.
        shard: its number.
        node: where it lies.
        lineage: which copy it is.
        max_seq_no: of its operations; -1 where there is none.
        global_checkpoint: every copy has the operations up to this; `UNKNOWN_CHECKPOINT`, too.
        lucene_documents: searchable ones, nested ones counted apart.
        deletions: operations that deleted, since this copy was started.
    """

    index_uuid: str
    shard: int
    node: str
    lineage: Lineage
    max_seq_no: int
    global_checkpoint: int
    lucene_documents: int
    deletions: int


def look(cluster: OpenSearch, names: Iterable[str]) -> dict[str, list[Primary]]:
    """The primaries of indices, by number; an index that is gone or closed is left out.

    Raises:
        NotFound: where one is deleted at this moment.
        Unavailable: where a shard has no primary, or one that moves at this moment.

    Source: https://docs.opensearch.org/latest/api-reference/index-apis/stats/
    """
    primaries: dict[str, list[Primary]] = {}
    for path in indices.paths(names):
        state = cluster.cluster.state(
            metric="metadata,routing_table",
            index=path,
            params={"ignore_unavailable": "true", "filter_path": _STATE},
        )
        metadata = {
            name: index
            for name, index in state.get("metadata", {}).get("indices", {}).items()
            if index["state"] == "open"
        }
        if not metadata:
            continue
        stats = cluster.indices.stats(
            index=",".join(metadata),
            metric="docs,indexing",
            params={"level": "shards", "filter_path": _STATS},
        ).get("indices", {})
        for name, index in metadata.items():
            routing = state["routing_table"]["indices"][name]["shards"]
            primaries[name] = [
                _primary(name, index, copies, stats.get(name, {}).get("shards", {}).get(number, []))
                for number, copies in sorted(routing.items(), key=lambda item: int(item[0]))
            ]
    return primaries


def last_operations(cluster: OpenSearch, names: Iterable[str]) -> dict[str, list[int]]:
    """The `max_seq_no` of the primaries of indices, by number, as far as they are told.

    Less than `look` asks for, and without its certainty: a primary that is missing or moves, or an
    index that is gone, is left out.

    Source: https://docs.opensearch.org/latest/api-reference/index-apis/stats/
    """
    return {
        name: [
            copy["seq_no"]["max_seq_no"]
            for _, copies in sorted(index["shards"].items(), key=lambda item: int(item[0]))
            for copy in copies
            if copy["routing"]["primary"] and "seq_no" in copy
        ]
        for path in indices.paths(names)
        for name, index in cluster.indices.stats(
            index=path,
            metric="docs",
            params={
                "level": "shards",
                "ignore_unavailable": "true",
                "filter_path": _LAST_OPERATIONS,
            },
        )
        .get("indices", {})
        .items()
    }


def nodes(found: Mapping[str, Sequence[Primary]]) -> dict[tuple[str, int], str]:
    """On which node the primary of a shard lies, by index and number."""
    return {
        (name, primary.shard): primary.node
        for name, index_primaries in found.items()
        for primary in index_primaries
    }


def _primary(
    name: str, index: dict[str, Any], copies: list[dict[str, Any]], stats: list[dict[str, Any]]
) -> Primary:
    [copy] = [copy for copy in copies if copy["primary"]]
    measured = [shard for shard in stats if shard["routing"]["primary"]]
    if (
        copy["state"] not in ("STARTED", "RELOCATING")
        or len(measured) != 1
        or measured[0]["routing"]["node"] != copy["node"]
    ):
        raise Unavailable(
            f"{name}[{copy['shard']}]: its primary is missing or moves at this moment; its state "
            f"is {copy['state']}"
        )
    [shard] = measured
    return Primary(
        index_uuid=index["settings"]["index"]["uuid"],
        shard=copy["shard"],
        node=copy["node"],
        lineage=Lineage(
            history_uuid=shard["commit"]["user_data"]["history_uuid"],
            term=index["primary_terms"][str(copy["shard"])],
            allocation_id=copy["allocation_id"]["id"],
        ),
        max_seq_no=shard["seq_no"]["max_seq_no"],
        global_checkpoint=shard["seq_no"]["global_checkpoint"],
        lucene_documents=shard["docs"]["count"],
        deletions=shard["indexing"]["delete_total"],
    )
