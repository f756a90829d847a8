"""Aliases between two real clusters, and what is selected."""

from collections.abc import Iterator

import pytest
from opensearchpy import OpenSearch

from snapferry import aliases, indices
from snapferry.errors import InvalidInput
from snapferry.request import Indices
from tests.sandbox.migrations import Sandbox


@pytest.fixture
def twins(sandbox: Sandbox) -> Iterator[list[str]]:
    """The same two indices on both sides."""
    names = ["twin-1", "twin-2"]
    for cluster in (sandbox.source, sandbox.destination):
        for name in names:
            cluster.indices.create(index=name)
    yield names
    for cluster in (sandbox.source, sandbox.destination):
        cluster.indices.delete(index=",".join(names))


def test_aliases_come_as_the_source_has_them(
    sandbox: Sandbox, source: OpenSearch, destination: OpenSearch, twins: list[str]
) -> None:
    first, second = twins
    actions = [
        {"index": first, "alias": "plain"},
        {"index": first, "alias": "filtered", "filter": {"term": {"number": 1}}},
        {"index": first, "alias": "hidden", "is_hidden": True, "routing": "3"},
        {"index": second, "alias": "routed", "index_routing": "a", "search_routing": "a,b"},
        {"index": first, "alias": "written", "is_write_index": False},
        {"index": second, "alias": "written", "is_write_index": True},
    ]
    sandbox.source.indices.update_aliases(body={"actions": [{"add": one} for one in actions]})
    sandbox.destination.indices.put_alias(index=first, name="stale")

    moved = aliases.move(source, destination, twins)

    assert moved == ["filtered", "hidden", "plain", "routed", "written"]
    at_source, at_destination = (
        cluster.indices.get_alias(index=",".join(twins), expand_wildcards="all")
        for cluster in (sandbox.source, sandbox.destination)
    )
    assert at_destination == at_source
    assert at_source[first]["aliases"]["hidden"]["is_hidden"]


def test_closed_and_system_indices_are_not_selected(
    sandbox: Sandbox, source: OpenSearch, twins: list[str]
) -> None:
    present = indices.list_all(source)
    assert ".opendistro_security" in present
    selected = indices.select(present.values(), Indices(include=("*",)))
    assert not [index.name for index in selected if index.name.startswith(".")]

    sandbox.source.indices.close(index=twins[0])
    with pytest.raises(InvalidInput, match="twin-1: a closed index"):
        indices.select(indices.list_all(source).values(), Indices(include=(twins[0],)))
