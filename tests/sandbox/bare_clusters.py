"""Clusters of engines of which no plugin is published, beside a world or without one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snapferry_sandbox.certificates import create_authority
from snapferry_sandbox.java import find_java_home
from snapferry_sandbox.opensearch.cluster import Cluster, S3Client, Software, start_cluster
from snapferry_sandbox.opensearch.distribution import assemble
from snapferry_sandbox.world import CACHE


@contextmanager
def running(version: str, objects_folder: Path) -> Iterator[Cluster]:
    """A cluster for a while, whose snapshots are among the objects of a folder of buckets."""
    user = 65534 if os.geteuid() == 0 else None  # the engines refuse to run as root
    with tempfile.TemporaryDirectory(prefix="snapferry-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        started = start_cluster(
            "bare",
            Software(version, assemble(version, CACHE), find_java_home(version, user)),
            folder=folder,
            logs=folder,
            authority=create_authority(folder / "authority"),
            s3_client=S3Client("http://127.0.0.1:1", "eu-west-1", "key", "secret", objects_folder),
            user=user,
        )
        assert started.stand_in
        try:
            started.wait_until_ready()
            yield started.cluster
        finally:
            for process in (started.stand_in, *started.nodes):
                process.stop()
