"""Whole migrations between clusters of other engines and of other sizes."""

import contextlib
import json
import random
from typing import Any
from urllib.parse import urlsplit

import pytest
from opensearchpy import OpenSearch

from snapferry_sandbox.demo import leftovers
from snapferry_sandbox.world import NODES, Options
from tests.clusters.test_catch_up import Clients, content
from tests.sandbox import bare_clusters
from tests.sandbox.migrations import Sandbox, fill, wait_until

# Old engines announce what newer ones will have changed.
pytestmark = pytest.mark.filterwarnings("ignore::opensearchpy.exceptions.OpenSearchWarning")


def engines(source: str, destination: str) -> pytest.ParameterSet:
    """A world of these engines, as a parameter of the fixture `sandbox`."""
    return pytest.param(
        Options(source=source, destination=destination), id=f"{source}-to-{destination}"
    )


# One object, so that tests share the world.
FROM_1_TO_2 = engines("1.3.20", "2.19.4")


class TypedClients(Clients):
    """Clients of Elasticsearch 6, where every document has a type."""

    def _actions(self, chance: random.Random) -> list[dict[str, Any]]:
        return [
            {verb: key | {"_type": "_doc"} for verb, key in line.items()}
            if line.keys() <= {"index", "update", "delete"}
            else line
            for line in super()._actions(chance)
        ]


def create(cluster: OpenSearch, index: str, *, typed: bool, **mapping: Any) -> None:
    cluster.indices.create(
        index=index,
        body={
            # The destination has one node, and a document made anew gets a low version soon.
            "settings": {"number_of_shards": 3, "number_of_replicas": 0, "gc_deletes": "0"},
            "mappings": {"properties": {"parts": {"type": "nested"}}, **mapping},
            "aliases": {f"{index}-alias": {}},
        },
        params={"include_type_name": "false"} if typed else {},
    )


def write(cluster: OpenSearch, index: str, documents: int, *, typed: bool) -> None:
    lines: list[dict[str, Any]] = []
    for number in range(documents):
        lines += {"index": {"_id": str(number)}}, {"number": number, "secret": number}
    answer = cluster.transport.perform_request(
        "POST",
        f"/{index}/_doc/_bulk" if typed else f"/{index}/_bulk",
        params={"refresh": "true"},
        body="".join(f"{json.dumps(line)}\n" for line in lines),
    )
    assert not answer["errors"]


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "sandbox",
    [
        engines("6.8.0", "1.3.20"),
        engines("7.10.2", "1.3.20"),
        engines("7.10.2", "2.19.4"),
        FROM_1_TO_2,
        engines("2.19.4", "3.6.0"),
    ],
    indirect=True,
)
def test_moves_to_a_newer_engine(sandbox: Sandbox) -> None:
    """One index is caught up, the other can't be and goes by warm rounds."""
    typed = sandbox.world.sources[0].version.startswith("6.")
    create(sandbox.source, "engines-caught-up", typed=typed)
    create(sandbox.source, "engines-warm", typed=typed, _source={"excludes": ["secret"]})
    for index in ("engines-caught-up", "engines-warm"):
        write(sandbox.source, index, 2000, typed=typed)
    before = leftovers.look(sandbox.world)
    clients = (TypedClients if typed else Clients)(sandbox.source, "engines-caught-up")

    with contextlib.ExitStack() as writing:
        writing.enter_context(clients.writing())
        outcome = sandbox.migrate(
            sandbox.request("engines-*", cutover={"rounds": 2}),
            at_gate={"stop_writes": writing.close},
        )

    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    assert clients.writes > 100
    for index in ("engines-caught-up", "engines-warm"):
        assert content(sandbox.destination, index) == content(sandbox.source, index)
        assert sandbox.destination.indices.get_alias(
            index=index
        ) == sandbox.source.indices.get_alias(index=index)
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
    [domain] = sandbox.record(outcome.migration_id, "report")["domains"]
    assert domain["catch_up"]["caught_up"] == ["engines-caught-up"]
    assert domain["catch_up"]["by_snapshot"] == {"engines-warm": "its _source is filtered"}
    assert sum(each["documents"] for each in domain["catch_up"]["rounds"]) > 0
    # The last round is restored over what the ones before have brought.
    assert domain["rounds"][-1]["restore"]["bytes_reused"] > 0


def request_of_all(sandbox: Sandbox, **changes: Any) -> dict[str, Any]:
    """The input that moves an index of each source, which is filled here: `many-0` and so on."""
    secrets = sandbox.world.deployment["domain_master_secrets"]
    document = sandbox.request("*", **changes)
    [domain] = document["domains"]
    document["domains"] = []
    for number, source in enumerate(sandbox.world.sources):
        fill(source.client(), f"many-{number}", 500, shards=2)
        document["domains"].append(
            domain
            | {
                "name": source.name,
                "host": urlsplit(source.domain_endpoint).netloc,
                "master_user": {"secret_arn": secrets[source.name]},
                "indices": {"include": [f"many-{number}"]},
            }
        )
    return document


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "sandbox", [pytest.param(Options(clusters=2, destination_nodes=2), id="2-to-1")], indirect=True
)
def test_moves_two_domains_to_a_cluster_of_two_nodes(sandbox: Sandbox) -> None:
    """The copies have replicas, on the other node."""
    document = request_of_all(sandbox, domain__replicas=1)
    before = leftovers.look(sandbox.world)

    outcome = sandbox.migrate(document)

    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    for number, source in enumerate(sandbox.world.sources):
        index = f"many-{number}"
        assert content(sandbox.destination, index) == content(source.client(), index)
    shards = sandbox.destination.cat.shards(index="many-*", format="json", h="index,prirep,node")
    assert len(shards) == 8
    assert {shard["node"] for shard in shards} == {"destination-1", "destination-1-node-2"}
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "sandbox",
    [pytest.param(Options(clusters=2, destinations=2, destination_domain=True), id="2-to-2")],
    indirect=True,
)
def test_moves_two_domains_to_a_destination_each(sandbox: Sandbox) -> None:
    """The one is a cluster with users, the other a domain; both get an index of the same name."""
    document = request_of_all(sandbox)
    own = {"indices": {"include": ["each"]}}
    to_domain = {"destination": sandbox.world.deployment["destination_domains"][1]}
    document["domains"] = [
        domain | own | other
        for domain, other in zip(document["domains"], ({}, to_domain), strict=True)
    ]
    for number, source in enumerate(sandbox.world.sources):
        fill(source.client(), "each", 300 + number, shards=2, aliases={"all-of-them": {}})
    before = leftovers.look(sandbox.world)

    outcome = sandbox.migrate(document)

    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    for source, destination in zip(sandbox.world.sources, sandbox.world.destinations, strict=True):
        assert content(destination.client(), "each") == content(source.client(), "each")
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
    plan = sandbox.record(outcome.migration_id, "plan")
    assert [one["endpoint"] for one in plan["destinations"]] == [
        document["destination"]["endpoint"],
        to_domain["destination"]["endpoint"],
    ]


@pytest.mark.exhaustive
@pytest.mark.parametrize("sandbox", [pytest.param(Options(clusters=4), id="4-to-1")], indirect=True)
def test_a_domain_that_fails_midway_leaves_the_others_running(sandbox: Sandbox) -> None:
    """Somebody closes its index while all four wait at their gates, side by side."""
    document = request_of_all(sandbox)
    *whole, failing = sandbox.world.sources
    before = leftovers.look(sandbox.world)
    started = sandbox.start(document)

    def close_index() -> None:
        if len(started.answered) == 1:  # that of the plan, so this is the first of the domains'
            wait_until(lambda: sandbox.open_gates(started.migration_id, "stop_writes") == 4)
            failing.client().indices.close(index="many-3")

    outcome = sandbox.end(started, at_gate={"stop_writes": close_index})

    assert (outcome.status, outcome.error) == ("FAILED", "DomainsFailed")
    assert outcome.cause.startswith(f"1 of 4 domains failed. {failing.name}: ")
    assert "many-3" in outcome.cause
    report = sandbox.record(outcome.migration_id, "report")
    assert {domain["domain"]: domain["status"] for domain in report["domains"]} == {
        **{source.name: "SUCCEEDED" for source in whole},
        failing.name: "FAILED",
    }
    for number, source in enumerate(whole):
        index = f"many-{number}"
        assert content(sandbox.destination, index) == content(source.client(), index)
    failing.client().indices.open(index="many-3")
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "sandbox",
    [engines("6.8.0", "2.19.4"), engines("7.10.2", "3.6.0")],
    indirect=True,
)
def test_engine_that_is_too_old_is_rejected_index_by_index(sandbox: Sandbox) -> None:
    typed = sandbox.world.sources[0].version.startswith("6.")
    for index in ("old-1", "old-2"):
        create(sandbox.source, index, typed=typed)
    before = leftovers.look(sandbox.world)

    outcome = sandbox.migrate(sandbox.request("old-*"))

    assert (outcome.status, outcome.error) == ("FAILED", "PlanRejected")
    [domain] = sandbox.record(outcome.migration_id, "plan")["domains"]
    assert {each["index"]: each["verdict"] for each in domain["indices"]} == {
        "old-1": "reject",
        "old-2": "reject",
    }
    for verdict in domain["indices"]:
        assert f"created by Elasticsearch {sandbox.world.sources[0].version}" in verdict["reason"]
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
    assert not sandbox.destination.indices.exists(index="old-*", allow_no_indices=False)


@pytest.mark.exhaustive
@pytest.mark.parametrize("sandbox", [FROM_1_TO_2], indirect=True)
def test_an_upgraded_domain_is_judged_by_its_indices(sandbox: Sandbox) -> None:
    """One of its indices is older than the destination takes, though the domain isn't."""
    create(sandbox.source, "upgraded-own", typed=False)
    settings = {"bucket": sandbox.world.s3.bucket, "base_path": "upgraded"}
    definition = {"type": "s3", "settings": settings}
    with bare_clusters.running("6.8.0", NODES.resolve() / "s3" / "objects") as cluster:
        old = cluster.client()
        create(old, "upgraded-old", typed=True)
        old.snapshot.create_repository(repository="upgraded", body=definition)
        old.snapshot.create(repository="upgraded", snapshot="first", wait_for_completion=True)
    settings["readonly"] = "true"
    sandbox.source.snapshot.create_repository(repository="upgraded", body=definition)
    sandbox.source.snapshot.restore(
        repository="upgraded",
        snapshot="first",
        wait_for_completion=True,
        body={"indices": "upgraded-old"},
    )
    sandbox.source.snapshot.delete_repository(repository="upgraded")

    rejected = sandbox.migrate(sandbox.request("upgraded-*"))
    moved = sandbox.migrate(sandbox.request("upgraded-*", rejected="leave_out"))

    assert (rejected.status, rejected.error) == ("FAILED", "PlanRejected")
    assert "upgraded-old: it was created by Elasticsearch 6.8.0" in rejected.cause
    assert "upgraded-own" not in rejected.cause
    assert (moved.status, moved.cause) == ("SUCCEEDED", "")
    assert sandbox.destination.indices.exists(index="upgraded-own")
    assert not sandbox.destination.indices.exists(index="upgraded-old")
