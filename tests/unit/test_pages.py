"""Documents are read in pages, each once, whatever numbers they have."""

from itertools import pairwise

import pytest

from snapferry.catchup import documents, primaries
from snapferry.catchup.documents import PageSize, after
from snapferry.catchup.side import Side
from snapferry.engines import Engine
from tests.unit.fake_shards import FakeShard, FakeTailCluster, FakeTailIndex, Stored


def ids(numbers: list[int], page_size: int) -> list[list[str]]:
    """The pages of a shard whose documents have these sequence numbers."""
    stored = {str(place): Stored(number, 1, {"n": place}) for place, number in enumerate(numbers)}
    shard = FakeShard(0, documents=stored, visible=stored, max_seq_no=max(numbers))
    client = FakeTailCluster({"a": FakeTailIndex([shard])}).client("source")
    side = Side(client, Engine.of(client), primaries.nodes(primaries.look(client, ["a"])))
    pages = documents.pages(side, "a", 0, after(-1, 99), PageSize(page_size))
    return [[document.id for document in page] for page in pages]


@pytest.mark.parametrize("page_size", [1, 2, 3, 5, 7, 50])
@pytest.mark.parametrize(
    "numbers",
    [
        list(range(20)),
        # A shrunk index has several documents of one number.
        [number for number in range(5) for _ in range(4)],
        [3] * 20,
        [0, *[1] * 18, 2],
    ],
)
def test_each_document_comes_once(numbers: list[int], page_size: int) -> None:
    pages = ids(numbers, page_size)

    assert sorted(int(key) for page in pages for key in page) == list(range(20))
    of_page = [{numbers[int(key)] for key in page} for page in pages]
    assert all(max(before) < min(next_) for before, next_ in pairwise(of_page))
