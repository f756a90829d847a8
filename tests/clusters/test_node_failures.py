"""Clusters of two nodes with replicas, of which one dies while clients write."""

import os
import pwd
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from opensearchpy import OpenSearch

from snapferry import clients, request
from snapferry.catchup import IndexRound, primaries
from snapferry.errors import Unavailable
from snapferry.journal import Journal
from snapferry_sandbox.certificates import create_authority
from snapferry_sandbox.java import find_java_home
from snapferry_sandbox.opensearch.cluster import S3Client, Software, StartedCluster, start_cluster
from snapferry_sandbox.opensearch.distribution import assemble
from snapferry_sandbox.world import CACHE
from tests.clusters.test_catch_up import Tail
from tests.sandbox.migrations import wait_until
from tests.sandbox.writers import Writers, create, differences
from tests.unit.conftest import Storage, document
from tests.unit.tables import table

pytestmark = pytest.mark.exhaustive

# Without plugins, so that both sides reach a repository of files.
VERSION = "2.19.4"
INDEX = "node-failures"
SHARDS = 3
_PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Pair:
    """A cluster of two nodes: the first one manages it and stays, the second one may die."""

    started: StartedCluster

    @property
    def administrator(self) -> OpenSearch:
        return self.started.cluster.client()

    def client(self) -> OpenSearch:
        """The product's own, which knows the first node."""
        cluster = self.started.cluster
        return clients._cluster(
            cluster.name,
            urlsplit(cluster.url).netloc,
            http_auth=(cluster.user, cluster.password),
            ca_certs=str(cluster.ca_file),
        )

    def kill_second(self) -> None:
        self.started.nodes[1].stop(timeout_seconds=0)

    def terms(self) -> list[int]:
        """How many times another copy has taken the place of each primary."""
        found = primaries.look(self.administrator, [INDEX])[INDEX]
        return [primary.lineage.term for primary in found]

    def wait_for_green(self) -> None:
        def is_green() -> bool:
            health = self.administrator.cluster.health()
            return (health["status"], health["number_of_nodes"]) == ("green", 2)

        wait_until(is_green)


@pytest.fixture(scope="module", autouse=True)
def lambda_environment() -> Iterator[None]:
    """Nothing here has to do with the world of the other tests, nor with its authorities."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            environment.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module", autouse=True)
def rights() -> None:
    """Likewise."""


@pytest.fixture
def pairs() -> Iterator[dict[str, Pair]]:
    """Two such clusters, with a folder for the files of their repositories."""
    # OpenSearch refuses to run as root.
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="snapferry-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        objects = folder / "objects"
        objects.mkdir()
        objects.chmod(0o777)
        made = {}
        try:
            for side in ("source", "destination"):
                made[side] = start_cluster(
                    side,
                    Software(VERSION, assemble(VERSION, CACHE), find_java_home(VERSION, user)),
                    folder=folder,
                    logs=folder,
                    authority=create_authority(folder / f"{side}-authority"),
                    s3_client=S3Client("http://127.0.0.1:1", "eu-west-1", "a", "b", objects),
                    nodes=2,
                    user=user,
                )
            for started in made.values():
                started.wait_until_ready()
            yield {side: Pair(started) for side, started in made.items()}
        finally:
            for started in made.values():
                for process in (*started.nodes, started.stand_in):
                    if process:
                        process.stop(timeout_seconds=0)


@pytest.fixture
def storage() -> Iterator[Storage]:
    with table() as items:
        yield Storage(items)


@pytest.fixture
def tail(pairs: dict[str, Pair], storage: Storage) -> Tail:
    """The product's calls between the two clusters."""
    [job], _ = request.parse(document(), f"test-{uuid.uuid4().hex[:12]}")
    for side, pair in pairs.items():
        pair.wait_for_green()
        pair.administrator.snapshot.create_repository(
            repository=job.repository,
            body={
                "type": "s3",
                "settings": {
                    "bucket": "bucket",
                    "base_path": job.migration_id,
                    "readonly": side == "destination",
                },
            },
        )
    return Tail(
        pairs["source"].client(),
        pairs["destination"].client(),
        storage.records_of(job.migration_id),
        Journal(storage.table, job.migration_id),
        job,
    )


@pytest.fixture
def writers(pairs: dict[str, Pair], tail: Tail) -> Writers:  # noqa: ARG001
    """Of an index with a replica, whose primaries are on the second node."""
    source = pairs["source"]
    here = "index.routing.allocation.require._name"
    documents = create(source.administrator, INDEX, shards=SHARDS, settings={here: "source-node-2"})
    source.administrator.indices.put_settings(
        index=INDEX, body={here: None, "index.number_of_replicas": 1}
    )
    source.wait_for_green()
    return Writers(source.administrator, documents)


def until_done(catch_up: Callable[[str], IndexRound]) -> IndexRound:
    """Calls again where a cluster has trouble that passes, as the state machine does."""
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while True:
        assert time.monotonic() < give_up_at
        try:
            done = catch_up(INDEX)
        except Unavailable:
            time.sleep(0.5)
            continue
        assert done.unfit == ""
        if done.sealed:
            return done


def kill_at(tail: Tail, bulks: int, kill: Callable[[], None]) -> None:
    """Calls `kill` when so many bulks have been sent, before the next one is."""
    bulk = tail.destination.bulk
    left = iter(range(bulks))

    def counting(*arguments: Any, **options: Any) -> Any:
        if next(left, None) == bulks - 1:
            kill()
        return bulk(*arguments, **options)

    tail.destination.bulk = counting


def test_a_primary_of_the_source_dies_between_rounds(
    pairs: dict[str, Pair], tail: Tail, writers: Writers
) -> None:
    source = pairs["source"]
    with writers.writing():
        tail.bulk(INDEX)
        until_done(tail.round)
        before = source.terms()
        source.kill_second()
        until_done(tail.round)
        assert source.terms() > before
        until_done(tail.round)
    until_done(tail.last_round)

    assert_nothing_lost(pairs, writers)


@pytest.mark.parametrize("bulks", [1, 4])
def test_a_primary_of_the_source_dies_in_the_middle_of_a_round(
    pairs: dict[str, Pair], tail: Tail, writers: Writers, bulks: int
) -> None:
    source = pairs["source"]
    with writers.writing():
        tail.bulk(INDEX)
        before = source.terms()
        kill_at(tail, bulks, source.kill_second)
        for _ in range(bulks):
            until_done(tail.round)
        assert source.terms() > before
    until_done(tail.last_round)

    assert_nothing_lost(pairs, writers)


@pytest.mark.parametrize("bulks", [1, 4])
def test_a_node_of_the_destination_dies_in_the_middle_of_a_round(
    pairs: dict[str, Pair], tail: Tail, writers: Writers, bulks: int
) -> None:
    destination = pairs["destination"]
    with writers.writing():
        tail.bulk(INDEX)
        destination.wait_for_green()
        before = destination.terms()
        kill_at(tail, bulks, destination.kill_second)
        for _ in range(bulks):
            until_done(tail.round)
        assert destination.terms() > before
    until_done(tail.last_round)

    assert_nothing_lost(pairs, writers)


def assert_nothing_lost(pairs: dict[str, Pair], writers: Writers) -> None:
    source, destination = (pair.administrator for pair in pairs.values())
    assert writers.accepted > 200
    assert differences(source, destination, [INDEX], writers) == {}
