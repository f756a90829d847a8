import pytest
from opensearchpy import OpenSearch

from snapferry import repositories
from snapferry.errors import SnapferryError
from snapferry.request import DomainJob


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


def test_registering_and_unregistering_may_be_repeated(
    registered: DomainJob, source: OpenSearch, destination: OpenSearch
) -> None:
    repositories.register_source(source, registered)
    assert repositories.register_destination(destination, registered) == []
    for cluster in (source, destination):
        repositories.unregister(cluster, registered)
        repositories.unregister(cluster, registered)
        assert registered.repository not in cluster.snapshot.get_repository()
