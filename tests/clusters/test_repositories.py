import pytest
from opensearchpy import OpenSearch

from snapferry import repositories
from snapferry.errors import SnapferryError
from snapferry.journal import Journal
from snapferry.request import DomainJob
from tests.clusters.conftest import GiveBack


def test_source_writes_and_destination_only_reads(
    registered: DomainJob, source: OpenSearch, destination: OpenSearch
) -> None:
    name = registered.repository
    at_source = source.snapshot.get_repository(repository=name)[name]["settings"]
    at_destination = destination.snapshot.get_repository(repository=name)[name]["settings"]
    assert at_source["base_path"] == at_destination["base_path"] == registered.base_path
    assert at_source["role_arn"] == registered.domain.snapshot_role_arn
    assert at_destination["readonly"] == "true"
    with pytest.raises(SnapferryError, match="readonly"):
        destination.snapshot.create(repository=name, snapshot="written")


def test_registering_and_giving_back_may_be_repeated(
    registered: DomainJob,
    journal: Journal,
    source: OpenSearch,
    destination: OpenSearch,
    give_back: GiveBack,
) -> None:
    repositories.register_source(journal, source, registered)
    repositories.register_destination(journal, destination, registered)
    for done in (2, 0):
        assert give_back() == {"done": done, "waiting": 0, "failed": [], "foreign": [], "kept": []}
        for cluster in (source, destination):
            assert registered.repository not in cluster.snapshot.get_repository()
