"""What a round has listed, and what has become of it since."""

import pytest

from snapferry import indices, listing
from snapferry.errors import NotFound
from snapferry.indices import Index
from snapferry.ways import Ways
from tests.unit.conftest import Side, Storage
from tests.unit.fakes import FakeIndex

DOMAIN = "logs"


@pytest.fixture
def source(source: Side, storage: Storage) -> Side:
    """A source whose two indices were listed."""
    source.cluster.indices = {"logs": FakeIndex(), "orders": FakeIndex()}
    listing.keep(storage.records, DOMAIN, 1, [*indices.list_all(source.client).values()])
    return source


def before(storage: Storage) -> list[Index]:
    return listing.selected(storage.records, DOMAIN, 1)


def listed(storage: Storage) -> list[str]:
    return [index.name for index in before(storage)]


def test_what_was_deleted_before_its_snapshot_could_begin_is_moved_no_more(
    source: Side, storage: Storage
) -> None:
    del source.cluster.indices["logs"]

    taken = listing.forget_gone(source.client, storage.records, DOMAIN, 1)

    assert [index.name for index in taken] == listed(storage) == ["orders"]


def test_where_everything_was_deleted_the_round_ends(source: Side, storage: Storage) -> None:
    """A snapshot of no index would be one of all."""
    source.cluster.indices = {}

    with pytest.raises(NotFound, match="logs, orders: deleted at the source"):
        listing.forget_gone(source.client, storage.records, DOMAIN, 1)
    assert listed(storage) == ["logs", "orders"]


def test_where_all_that_is_left_is_caught_up_the_round_ends_too(
    source: Side, storage: Storage
) -> None:
    ways = Ways.deal(1, [index for index in before(storage) if index.name == "orders"], 100)
    ways.keep(storage.records, DOMAIN)
    del source.cluster.indices["logs"]

    with pytest.raises(NotFound, match="logs: deleted at the source"):
        listing.forget_gone(source.client, storage.records, DOMAIN, 1)
