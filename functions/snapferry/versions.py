"""What can be restored where, by the version of the index and that of the cluster.

An index keeps the version that created it through upgrades of its cluster, so that the index
decides, and not the cluster it lies in.

Source: https://docs.opensearch.org/latest/migrate-or-upgrade/
"""

import re
from dataclasses import dataclass
from typing import Self

from opensearchpy import OpenSearch

# In an id, this bit says OpenSearch; without it, Elasticsearch.
_OPENSEARCH_BIT = 0x08000000
# The number of an Elasticsearch node that takes part in anything here is greater, and that of an
# OpenSearch node isn't. So a node's own number tells which it is, whatever the cluster pretends.
_LAST_OPENSEARCH = 4


@dataclass(frozen=True, order=True)
class Version:
    """A version of OpenSearch or Elasticsearch; they are ordered as they followed each other.

    Attributes:
        is_opensearch: whether it is one of OpenSearch.
        major: such as 2 of 2.19.4.
        minor: such as 19.
        patch: such as 4.
    """

    is_opensearch: bool
    major: int
    minor: int = 0
    patch: int = 0

    @classmethod
    def of_id(cls, number: int) -> Self:
        """Decodes the id of a version, such as `index.version.created`: 136357827 is 2.14.0."""
        is_opensearch = bool(number & _OPENSEARCH_BIT)
        plain = number & ~_OPENSEARCH_BIT
        return cls(is_opensearch, plain // 1_000_000, plain // 10_000 % 100, plain // 100 % 100)

    @classmethod
    def of_node(cls, number: str) -> Self:
        """That of a node, such as `2.19.4`."""
        major, minor, patch = map(int, re.findall(r"\d+", number)[:3])
        return cls(major <= _LAST_OPENSEARCH, major, minor, patch)

    def __str__(self) -> str:
        name = "OpenSearch" if self.is_opensearch else "Elasticsearch"
        return f"{name} {self.major}.{self.minor}.{self.patch}"


_OLDEST_READABLE = {
    1: Version(False, 6),
    2: Version(False, 7),
}


def of_nodes(cluster: OpenSearch) -> list[Version]:
    """The version of each node, as the nodes have it.

    The cluster itself may pretend: with `compatibility.override_main_response_version` an
    OpenSearch says that it is 7.10.2.

    Source: https://docs.opensearch.org/latest/api-reference/cat/cat-nodes/
    """
    return [
        Version.of_node(row["version"]) for row in cluster.cat.nodes(format="json", h="version")
    ]


def oldest_readable(cluster: Version) -> Version:
    """The oldest version whose indices an OpenSearch cluster takes."""
    return _OLDEST_READABLE.get(cluster.major, Version(True, cluster.major - 1))
