"""Clusters of engines of which no plugin is published, with what stands in for them."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthenticationException, AuthorizationException

from snapferry_sandbox.certificates import create_authority
from snapferry_sandbox.java import find_java_home
from snapferry_sandbox.opensearch.cluster import Cluster, S3Client, Software, start_cluster
from snapferry_sandbox.opensearch.distribution import assemble
from snapferry_sandbox.world import CACHE

BUCKET = "snapshots"


@pytest.fixture(
    params=[
        "7.10.2",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("6.8.0", "1.3.20", "2.19.4")
        ),
    ]
)
def cluster(request: pytest.FixtureRequest, folder: Path) -> Iterator[Cluster]:
    version: str = request.param
    user = 65534 if os.geteuid() == 0 else None  # the engines refuse to run as root
    started = start_cluster(
        "old",
        Software(version, assemble(version, CACHE), find_java_home(version, user)),
        folder=folder,
        logs=folder,
        authority=create_authority(folder / "authority"),
        s3_client=S3Client("http://127.0.0.1:1", "eu-west-1", "access", "secret", folder / "s3"),
        user=user,
    )
    assert started.stand_in
    try:
        started.wait_until_ready()
        yield started.cluster
    finally:
        for process in (started.stand_in, *started.nodes):
            process.stop()


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a folder of a bucket that the nodes can write to."""
    with tempfile.TemporaryDirectory(prefix="snapferry-") as name:
        made = Path(name)
        made.chmod(0o755)
        bucket = made / "s3" / BUCKET
        bucket.mkdir(parents=True)
        bucket.chmod(0o777)
        yield made


def test_snapshots_by_who_was_granted_the_right(cluster: Cluster, folder: Path) -> None:
    administrator = cluster.client()
    administrator.indices.create(index="logs", body={"settings": {"number_of_replicas": 0}})
    administrator.security.create_user(username="mover", body={"password": "p"})
    mover = OpenSearch(cluster.url, http_auth=("mover", "p"), ca_certs=str(cluster.ca_file))
    settings = {"bucket": BUCKET, "base_path": "a/path", "role_arn": "arn"}
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
    assert list((folder / "s3" / BUCKET / "a/path").glob("snap-*.dat"))
    stranger = OpenSearch(cluster.url, http_auth=("mover", "q"), ca_certs=str(cluster.ca_file))
    with pytest.raises(AuthenticationException):
        stranger.info()
