"""How far the shards of an index have been caught up, as it lies in the table."""

import pytest

from snapferry.catchup import marks
from snapferry.catchup.marks import IndexMarks, ShardMarks
from snapferry.catchup.primaries import Lineage, Primary
from tests.unit.conftest import Storage

UUID = "0123456789-abcdefghi_w"
# Numbers as long as after a hundred years of ten thousand operations a second.
MANY = 10_000 * 100 * 365 * 86_400
ROUNDS = 200


def after_many_rounds(shard: int, shards: int) -> ShardMarks:
    """The marks of a shard when they hold the most."""
    primary = Primary(UUID, shard, UUID, Lineage(UUID, 1_000, UUID), MANY, MANY, MANY, MANY)
    largest = moved = ShardMarks.at_base(primary, primary)
    for number in range(MANY, MANY + ROUNDS):
        moved = moved.moved_to(number, number, shards)
        largest = max(largest, moved, key=lambda each: len(each.sync_points))
    return largest


# With few shards each has many sync points.
@pytest.mark.parametrize("shards", [1, 32, 250, marks.MOST_SHARDS])
def test_the_marks_of_an_index_fit_into_an_item(storage: Storage, shards: int) -> None:
    whole = IndexMarks(
        index="i" * 255,
        index_uuid=UUID,
        destination_uuid=UUID,
        writer="",
        shards=tuple(after_many_rounds(shard, shards) for shard in range(shards)),
    )

    marks.begin(storage.records, "d" * 28, [whole])
    claimed = marks.claim(storage.records, "d" * 28, whole)

    assert marks.load(storage.records, "d" * 28, [whole.index]) == [claimed]
