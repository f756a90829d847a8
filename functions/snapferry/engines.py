"""What differs between the engines of a source: Elasticsearch 6 and 7, OpenSearch 1 to 3.

Sources: the release notes of the engines,
https://docs.opensearch.org/latest/api-reference/search-apis/search/ (`_primary`) and
https://www.elastic.co/guide/en/elasticsearch/reference/6.8/removal-of-types.html.
"""

from dataclasses import dataclass
from typing import Any, Self

from opensearchpy import OpenSearch


@dataclass(frozen=True)
class Engine:
    """The software of a cluster.

    Attributes:
        is_opensearch: false for Elasticsearch, and for an OpenSearch 1 that says it is one.
        version: major and minor.
    """

    is_opensearch: bool
    version: tuple[int, int]

    @classmethod
    def of(cls, cluster: OpenSearch) -> Self:
        """Asks a cluster what it is."""
        version = cluster.info()["version"]
        major, minor = version["number"].split(".")[:2]
        return cls(version.get("distribution") == "opensearch", (int(major), int(minor)))

    @property
    def needs_types(self) -> bool:
        """Whether searches and mappings without types are unknown to it."""
        return not self.is_opensearch and self.version < (6, 7)

    @property
    def keeps_checkpoint_at_failover(self) -> bool:
        """Whether what the global checkpoint covers survives a change of the primary.

        Elasticsearch 6 may number operations anew; before 7.3 the checkpoint also covers operations
        that no copy has made durable yet.

        Source: https://github.com/elastic/elasticsearch/pull/43205
        """
        return self.is_opensearch or self.version >= (7, 3)

    @property
    def blocks_and_waits(self) -> bool:
        """Whether `PUT /<index>/_block/write` is there, which waits for running operations."""
        return self.is_opensearch or self.version >= (7, 9)

    @property
    def listing_parameters(self) -> dict[str, str]:
        """Parameters with which `_cat/indices` shows every index; older engines do so anyway."""
        if self.is_opensearch or self.version >= (7, 7):
            return {"expand_wildcards": "all"}
        return {}

    def preference(self, shard: int, node: str) -> str:
        """The search preference for the primary of one shard, which lies on `node`."""
        if self.is_opensearch and self.version >= (2, 8):
            return f"_shards:{shard}|_primary"
        return f"_shards:{shard}|_only_nodes:{node}"

    @property
    def search_options(self) -> dict[str, Any]:
        """Members of each search's body that leave an index's default pipeline out."""
        if self.ignores_search_pipelines:
            return {"search_pipeline": "_none"}
        return {}

    @property
    def ignores_search_pipelines(self) -> bool:
        """Whether a search can leave the index's default search pipeline out."""
        return self.is_opensearch and self.version >= (2, 12)

    @property
    def mapping_parameters(self) -> dict[str, str]:
        """Parameters with which mappings come without types."""
        if not self.is_opensearch and self.version < (7, 0):
            return {"include_type_name": "false"}
        return {}


def total_hits(hits: dict[str, Any]) -> int:
    """The total of a search: a number in Elasticsearch 6, an object since."""
    total = hits["total"]
    return int(total["value"] if isinstance(total, dict) else total)
