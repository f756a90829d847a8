"""Clusters of engines of which no plugin is published, with what stands in for them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthenticationException, AuthorizationException

from snapferry_sandbox.opensearch.cluster import Cluster
from tests.sandbox import bare_clusters


@pytest.fixture
def bucket() -> Iterator[Path]:
    """The folder of a bucket, to which the nodes' user can write."""
    with tempfile.TemporaryDirectory(prefix="snapferry-") as name:
        folder = Path(name) / "snapshots"
        folder.mkdir()
        folder.parent.chmod(0o755)
        folder.chmod(0o777)
        yield folder


@pytest.fixture(
    params=[
        "7.10.2",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("6.8.0", "1.3.20", "2.19.4")
        ),
    ]
)
def cluster(request: pytest.FixtureRequest, bucket: Path) -> Iterator[Cluster]:
    with bare_clusters.running(request.param, bucket.parent) as running:
        yield running


def as_user(cluster: Cluster, name: str, password: str) -> OpenSearch:
    return OpenSearch(cluster.url, http_auth=(name, password), ca_certs=str(cluster.ca_file))


def test_snapshots_by_who_was_granted_the_right(cluster: Cluster, bucket: Path) -> None:
    administrator = cluster.client()
    administrator.indices.create(index="logs", body={"settings": {"number_of_replicas": 0}})
    administrator.security.create_user(username="mover", body={"password": "p"})
    mover = as_user(cluster, "mover", "p")
    settings = {"bucket": bucket.name, "base_path": "a/path", "role_arn": "arn"}
    definition = {"type": "s3", "settings": settings}

    with pytest.raises(AuthorizationException, match="cluster:admin/repository/put"):
        mover.snapshot.create_repository(repository="moved", body=definition)
    administrator.security.create_role_mapping(role="manage_snapshots", body={"users": ["mover"]})
    mover.snapshot.create_repository(repository="moved", body=definition)
    answer = mover.snapshot.create(
        repository="moved", snapshot="first", wait_for_completion=True, body={"indices": "logs"}
    )

    assert answer["snapshot"]["state"] == "SUCCESS"
    assert mover.snapshot.get_repository() == {"moved": definition}
    assert list((bucket / "a" / "path").glob("snap-*.dat"))
    with pytest.raises(AuthenticationException):
        as_user(cluster, "mover", "wrong").info()
