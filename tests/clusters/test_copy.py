"""Aliases between two real clusters, and what is selected."""

from collections.abc import Iterator

import pytest
from opensearchpy import OpenSearch

from snapferry import aliases, indices
from snapferry.errors import InvalidInput
from snapferry.request import Indices
from tests.sandbox.migrations import Sandbox, fill


@pytest.fixture
def twins(sandbox: Sandbox) -> Iterator[None]:
    """The same documents in an index on both sides."""
    for cluster in (sandbox.source, sandbox.destination):
        fill(cluster, "twin", 100, shards=2)
    yield
    for cluster in (sandbox.source, sandbox.destination):
        cluster.indices.delete(index="twin", ignore_unavailable=True)


@pytest.mark.usefixtures("twins")
def test_aliases_come_as_the_source_has_them(
    sandbox: Sandbox, source: OpenSearch, destination: OpenSearch
) -> None:
    add = sandbox.source.indices.put_alias
    add(index="twin", name="plain")
    add(index="twin", name="filtered", body={"filter": {"term": {"number": 1}}})
    add(index="twin", name="routed", body={"index_routing": "a", "search_routing": "a,b"})
    add(index="twin", name="written", body={"is_write_index": True})
    sandbox.destination.indices.put_alias(index="twin", name="stale")

    assert aliases.move(source, destination, ["twin"]) == ["filtered", "plain", "routed", "written"]

    at_source, at_destination = (
        cluster.indices.get_alias(index="twin")["twin"]["aliases"]
        for cluster in (sandbox.source, sandbox.destination)
    )
    assert at_destination == at_source


@pytest.mark.usefixtures("twins")
def test_closed_and_system_indices_are_not_selected(sandbox: Sandbox, source: OpenSearch) -> None:
    present = indices.list_all(source)
    assert ".opendistro_security" in present
    selected = indices.select(present.values(), Indices(include=("*",)))
    assert not [index.name for index in selected if index.name.startswith(".")]

    sandbox.source.indices.close(index="twin")
    with pytest.raises(InvalidInput, match="twin: a closed index"):
        indices.select(indices.list_all(source).values(), Indices(include=("twin",)))
