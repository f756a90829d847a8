"""What is compared at once: a range of the operations of a shard."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, get_args

from snapferry.catchup.primaries import Lineage

type Moment = Literal["before", "after"]
"""Before the writes stop, while clients write to the source; or after, while they write to the
destination."""
MOMENTS: tuple[Moment, ...] = get_args(Moment.__value__)

_LARGEST_WIDTH = 10_000
_SLICE_BYTES = 64 * 1024 * 1024
_SAMPLED_SLICES = 5


@dataclass(frozen=True)
class Ends:
    """Up to which operations a shard is compared; what was written later isn't judged.

    Attributes:
        base: both sides number the operations up to this alike.
        source: the last operation of the source.
        destination: the last operation of the destination.
        deletions: of the destination until then, since its copy of the shard was started.
        lineage: of that copy.
    """

    base: int
    source: int
    destination: int
    deletions: int
    lineage: Lineage

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Makes them of their plain JSON."""
        return cls(**{**record, "lineage": Lineage(**record["lineage"])})


class Slice(NamedTuple):
    """Operations of a shard after the one sequence number and up to the other.

    Attributes:
        shard: its number.
        side: whose sequence numbers these are.
        start: behind it.
        end: up to it.
    """

    shard: int
    side: Literal["both", "source", "destination"]
    start: int
    end: int


def width(operations: int, store_bytes: int) -> int:
    """How many sequence numbers make a slice: seconds of work, however large documents are.

    Args:
        operations: of an index.
        store_bytes: what its primaries take.
    """
    return max(1, min(_LARGEST_WIDTH, _SLICE_BYTES * operations // max(1, store_bytes)))


def cut(shards: Sequence[Ends], width: int) -> Iterator[Slice]:
    """Cuts an index into slices: first where both sides number alike, then what was caught up."""
    for number, ends in enumerate(shards):
        yield from _pieces(number, "both", -1, ends.base, width)
    for number, ends in enumerate(shards):
        yield from _pieces(number, "source", ends.base, ends.source, width)
        yield from _pieces(number, "destination", ends.base, ends.destination, width)


def sample(slices: Sequence[Slice], index: str) -> list[Slice]:
    """Chooses some slices, the same at each call."""
    chance = random.Random(index)  # noqa: S311 - no secret
    return sorted(chance.sample(slices, min(len(slices), _SAMPLED_SLICES)))


def _pieces(
    shard: int, side: Literal["both", "source", "destination"], start: int, end: int, width: int
) -> Iterator[Slice]:
    for after in range(start, end, width):
        yield Slice(shard, side, after, min(end, after + width))
