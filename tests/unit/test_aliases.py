from typing import Any

import pytest

from snapferry import aliases
from snapferry.errors import Unavailable
from tests.unit.conftest import Side
from tests.unit.fakes import FakeIndex, Fault

FILTERED: dict[str, Any] = {
    "filter": {"term": {"country": "NZ"}},
    "index_routing": "1",
    "search_routing": "1,2",
}


def give(side: Side, **present: dict[str, dict[str, Any]]) -> None:
    side.cluster.indices = {name: FakeIndex(aliases=given) for name, given in present.items()}


def test_aliases_come_with_filter_routing_and_write_index(source: Side, destination: Side) -> None:
    give(
        source,
        orders={"sales": FILTERED, "all": {}},
        logs={"all": {"is_write_index": True}},
        other={"theirs": {}},
    )
    give(destination, orders={}, logs={})

    assert aliases.move(source.client, destination.client, ["logs", "orders"]) == ["all", "sales"]
    assert destination.index("orders").aliases == {"sales": FILTERED, "all": {}}
    assert destination.index("logs").aliases == {"all": {"is_write_index": True}}


def test_all_aliases_move_in_one_call(source: Side, destination: Side) -> None:
    give(source, orders={"sales": {}}, logs={"all": {}})
    give(destination, orders={"stale": {}}, logs={})

    aliases.move(source.client, destination.client, ["logs", "orders"])

    assert len(destination.cluster.sent("POST .*")) == 1
    assert not source.cluster.sent("(POST|PUT|DELETE) .*")


def test_what_an_earlier_attempt_left_goes(source: Side, destination: Side) -> None:
    give(source, orders={"sales": {}})
    give(destination, orders={"sales": FILTERED, "stale": {}}, theirs={"stale": {}})

    aliases.move(source.client, destination.client, ["orders"])

    assert destination.index("orders").aliases == {"sales": {}}
    assert destination.index("theirs").aliases == {"stale": {}}


def test_moving_twice_changes_nothing(source: Side, destination: Side) -> None:
    give(source, orders={"sales": FILTERED})
    give(destination, orders={})

    first = aliases.move(source.client, destination.client, ["orders"])
    assert aliases.move(source.client, destination.client, ["orders"]) == first
    assert destination.index("orders").aliases == {"sales": FILTERED}


def test_without_aliases_nothing_is_called(source: Side, destination: Side) -> None:
    give(source, orders={}, other={"theirs": {}})
    give(destination, orders={})

    assert aliases.move(source.client, destination.client, ["orders"]) == []
    assert not destination.cluster.sent("POST .*")


def test_a_failure_names_the_destination(source: Side, destination: Side) -> None:
    give(source, orders={"sales": {}})
    give(destination, orders={})
    destination.cluster.faults = [Fault("POST /_aliases", (503, {"message": "no manager"}))]

    with pytest.raises(Unavailable, match=r"^destination .*no manager"):
        aliases.move(source.client, destination.client, ["orders"])
