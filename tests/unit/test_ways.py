"""What is caught up, and in which slices."""

import pytest

from snapferry.indices import Index
from snapferry.ways import Slice, Ways
from tests.unit.conftest import Storage

DOMAIN = "logs"


def index(name: str, shards: int) -> Index:
    return Index(name, f"uuid-{name}", True, shards, 1, 1, 1)


@pytest.mark.parametrize(
    ("shards", "slices"),
    [
        ([], [[]]),
        ([5, 5], [["0", "1"]]),
        ([5, 5, 1], [["0", "1"], ["2"]]),
        (
            [1] * 12,
            [[str(number) for number in range(6)], [str(number) for number in range(6, 12)]],
        ),
        # An index isn't divided.
        ([30], [["0"]]),
        ([1, 30, 1], [["0", "1"], ["2"]]),
    ],
)
def test_indices_are_dealt_in_their_order(shards: list[int], slices: list[list[str]]) -> None:
    indices = [index(str(number), count) for number, count in enumerate(shards)]

    ways = Ways.deal(3, indices, shards_per_slice=10)

    assert ways == Ways(3, [Slice(names) for names in slices])
    assert ways.caught_up == [each.name for each in indices]


def test_there_are_not_more_slices_than_run_at_the_same_time() -> None:
    ways = Ways.deal(1, [index(f"{number:03}", 5) for number in range(400)], shards_per_slice=1)

    assert len(ways.slices) == 40


def test_slices_do_not_write_over_what_others_have_found_out(storage: Storage) -> None:
    Ways(1, [Slice(["a", "b"]), Slice(["c", "d"])]).keep(storage.records, DOMAIN)
    seen = [Ways.of(storage.records, DOMAIN) for _ in range(2)]

    for number, (ways, name) in enumerate(zip(seen, ("b", "c"), strict=True)):
        ways.slices[number].leave_out({name: f"{name} is unfit"})
        ways.keep_slice(storage.records, DOMAIN, number)

    ways = Ways.of(storage.records, DOMAIN)
    assert ways.caught_up == ["a", "d"]
    assert ways.by_snapshot == {"b": "b is unfit", "c": "c is unfit"}


def test_what_is_left_out_or_gone_is_in_no_slice() -> None:
    ways = Ways(1, [Slice(["a", "b"]), Slice(["c", "d"])])

    ways.leave_out({"d": "it was made anew", "e": "it is new"})

    assert ways.caught_up == ["a", "b", "c"]
    assert ways.by_snapshot == {"d": "it was made anew", "e": "it is new"}
    assert not ways.forget_all_but({"a", "b", "c", "d"})
    assert ways.forget_all_but({"a", "c"})
    assert ways.caught_up == ["a", "c"]


def test_none_are_known_before_catching_up_begins(storage: Storage) -> None:
    assert Ways.of(storage.records, DOMAIN) == Ways()
    assert Ways().caught_up == []
