from typing import Any

import pytest

from snapferry import aliases
from snapferry.errors import Unavailable, VerificationFailed
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


def test_aliases_are_compared_with_all_that_they_have(source: Side, destination: Side) -> None:
    source.cluster.indices = {
        "logs": FakeIndex(
            aliases={
                "lost": {},
                "filtered": {"filter": {"term": {"a": 1}}, "index_routing": "1"},
                "written": {"is_write_index": True},
                "same": {"search_routing": "2"},
            }
        ),
        "theirs": FakeIndex(aliases={"other": {}}),
    }
    destination.cluster.indices = {
        "logs": FakeIndex(
            aliases={
                "filtered": {"index_routing": "1"},
                "written": {"is_write_index": False},
                "same": {"search_routing": "2"},
                "stale": {},
            }
        )
    }

    assert aliases.faults(source.client, destination.client, ["logs"]) == [
        "alias filtered of logs.filter is missing",
        "alias lost of logs is missing",
        "alias stale of logs is one too many",
        "alias written of logs.is_write_index is False instead of True",
    ]


def test_aliases_that_arrive_otherwise_are_an_error(source: Side, destination: Side) -> None:
    source.cluster.indices = {"logs": FakeIndex(aliases={"all": {}})}
    destination.cluster.indices = {"logs": FakeIndex()}
    destination.cluster.faults = [Fault("POST /_aliases", (200, {"acknowledged": True}))]

    with pytest.raises(VerificationFailed, match="alias all of logs is missing"):
        aliases.move(source.client, destination.client, ["logs"])
