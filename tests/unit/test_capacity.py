"""Whether the destination has room."""

import pytest

from snapferry import capacity
from snapferry.capacity import Capacity
from tests.unit.conftest import Side
from tests.unit.fakes import FakeIndex

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("watermark", "free_bytes"),
    [
        ("85%", 2 * 75 * GB),
        ("0.85", 2 * 75 * GB),
        # A full disk takes nothing, and takes nothing from the others.
        ("95%", 2 * 85 * GB + 1 * GB),
        ("10gb", 2 * (90 * GB - 10 * 2**30)),
        ("10GB", 2 * (90 * GB - 10 * 2**30)),
        ("10g", 2 * (90 * GB - 10 * 2**30)),
        ("0b", 2 * 90 * GB + 6 * GB),
    ],
)
def test_the_disks_take_what_is_below_the_low_watermark(
    destination: Side, watermark: str, free_bytes: int
) -> None:
    destination.cluster.disks = [(100 * GB, 90 * GB), (100 * GB, 90 * GB), (100 * GB, 6 * GB)]
    destination.cluster.room["cluster.routing.allocation.disk.watermark.low"] = watermark

    assert capacity.read(destination.client).free_bytes == pytest.approx(free_bytes, abs=10)


def test_shards_of_open_indices_count_with_their_replicas(destination: Side) -> None:
    destination.cluster.disks = [(GB, GB)] * 3
    destination.cluster.settings["transient"]["cluster.max_shards_per_node"] = "5"
    destination.cluster.indices = {
        "a": FakeIndex(shards=3, replicas=1),
        "b": FakeIndex(shards=2, replicas=0),
        "closed": FakeIndex(shards=9, open=False),
    }

    room = capacity.read(destination.client)

    assert (room.data_nodes, room.shards, room.most_shards) == (3, 8, 15)


def test_what_there_is_not_enough_of() -> None:
    room = Capacity(data_nodes=1, shards=990, most_shards=1_000, free_bytes=10 * GB)

    assert list(room.lacks(10, 10 * GB)) == []
    [shards] = room.lacks(11, 10 * GB)
    assert "990 shards and takes 1,000 on 1 data nodes; 11 would come" in shards.reason
    [disks] = room.lacks(10, 11 * GB)
    assert "10.0 GB until the low watermark, and 11.0 GB would come" in disks.reason
