"""Whether the destination has room: for the shards that come, and for their bytes.

Sources: https://docs.opensearch.org/latest/api-reference/cat/cat-allocation/ and
https://docs.opensearch.org/latest/install-and-configure/configuring-opensearch/cluster-settings/
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.verdicts import Refusal

_WATERMARK = "cluster.routing.allocation.disk.watermark.low"
_SHARDS_PER_NODE = "cluster.max_shards_per_node"
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


@dataclass(frozen=True)
class Capacity:
    """The room of a cluster.

    Attributes:
        data_nodes: how many.
        shards: of open indices, replicas included.
        most_shards: that the cluster takes.
        free_bytes: that shards may take until the disks reach the low watermark.
    """

    data_nodes: int
    shards: int
    most_shards: int
    free_bytes: int

    def record(self) -> dict[str, int]:
        """Plain JSON."""
        return asdict(self)

    def lacks(self, shards: int, size_bytes: int) -> Iterator[Refusal]:
        """What there isn't enough of for what comes, replicas included."""
        if self.shards + shards > self.most_shards:
            yield Refusal(
                f"the destination has {self.shards:,} shards and takes {self.most_shards:,} on "
                f"{self.data_nodes} data nodes; {shards:,} would come",
                f"add data nodes, raise {_SHARDS_PER_NODE}, or lower domains[].replicas",
            )
        if size_bytes > self.free_bytes:
            yield Refusal(
                f"the destination's disks take {self.free_bytes / 1e9:,.1f} GB until the low "
                f"watermark, and {size_bytes / 1e9:,.1f} GB would come",
                "add data nodes or larger disks, or lower domains[].replicas",
            )


def data_nodes(cluster: OpenSearch) -> int:
    """How many nodes of a cluster hold data."""
    return len(_disks(cluster))


def read(cluster: OpenSearch) -> Capacity:
    """Reads the room of a cluster."""
    disks = _disks(cluster)
    answer = cluster.cluster.get_settings(flat_settings=True, include_defaults=True)
    settings = {**answer["defaults"], **answer["persistent"], **answer["transient"]}
    return Capacity(
        data_nodes=len(disks),
        shards=sum(
            index.shards * (1 + index.replicas)
            for index in indices.list_all(cluster).values()
            if index.open
        ),
        most_shards=int(settings[_SHARDS_PER_NODE]) * len(disks),
        free_bytes=sum(
            max(0, int(disk["disk.avail"]) - _kept_free(settings[_WATERMARK], disk))
            for disk in disks
        ),
    )


def _disks(cluster: OpenSearch) -> list[dict[str, Any]]:
    rows = cluster.cat.allocation(format="json", bytes="b", h="node,disk.total,disk.avail")
    return [row for row in rows if row["disk.total"]]


def _kept_free(watermark: str, disk: dict[str, Any]) -> int:
    """The bytes that stay free: a watermark says what is used in percent, or what is free."""
    if watermark.endswith("%"):
        return int(int(disk["disk.total"]) * (1 - float(watermark[:-1]) / 100))
    # As clusters take them: in capitals or not, with the b or without.
    if match := re.fullmatch(r"([\d.]+)(b|[kmgtp]b?)", watermark.lower()):
        return int(float(match[1]) * 2 ** _UNITS[match[2].removesuffix("b")])
    return int(int(disk["disk.total"]) * (1 - float(watermark)))
