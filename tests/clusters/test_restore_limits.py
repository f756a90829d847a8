"""The limits of a real destination's recoveries."""

from collections.abc import Iterator

import pytest
from opensearchpy import OpenSearch

from snapferry import clients, restore_limits, roll_back
from snapferry.journal import Journal
from snapferry.request import DomainJob
from tests.sandbox.migrations import Sandbox

PRIMARIES = "cluster.routing.allocation.node_initial_primaries_recoveries"
BYTES = "indices.recovery.max_bytes_per_sec"
CHUNKS = "indices.recovery.max_concurrent_file_chunks"
REPLICAS = "cluster.routing.allocation.node_concurrent_recoveries"
FETCHES = "cluster.snapshot.info.max_concurrent_fetches"


@pytest.fixture
def journal(job: DomainJob) -> Journal:
    return clients.journal(job.migration_id)


@pytest.fixture(autouse=True)
def values_that_somebody_set(sandbox: Sandbox) -> Iterator[None]:
    given = {
        "persistent": {PRIMARIES: "6", BYTES: "100mb", REPLICAS: "8"},
        "transient": {BYTES: "20mb", CHUNKS: "3"},
    }
    sandbox.destination.cluster.put_settings(body=given)
    yield
    sandbox.destination.cluster.put_settings(
        body={scope: dict.fromkeys(values) for scope, values in given.items()}
    )


def settings(sandbox: Sandbox) -> dict[str, dict[str, str]]:
    answer: dict[str, dict[str, str]] = sandbox.destination.cluster.get_settings(flat_settings=True)
    return answer


def test_limits_are_lifted_and_given_back(
    sandbox: Sandbox, job: DomainJob, journal: Journal, destination: OpenSearch
) -> None:
    before = settings(sandbox)

    assert restore_limits.lift(journal, destination, job) == []

    assert settings(sandbox) == {
        "persistent": {PRIMARIES: "20", BYTES: "100mb", REPLICAS: "8", FETCHES: "20"},
        "transient": {BYTES: "0", CHUNKS: "5"},
    }
    outcome = restore_limits.give_back(journal, destination, job)
    assert (len(outcome.done), outcome.foreign, outcome.failed) == (4, [], [])
    assert settings(sandbox) == before


def test_value_that_somebody_else_set_meanwhile_is_kept_by_the_roll_back(
    sandbox: Sandbox, job: DomainJob, journal: Journal, destination: OpenSearch
) -> None:
    before = settings(sandbox)
    records = clients.records(job.migration_id)
    records.write("jobs", [job.model_dump(mode="json")])
    restore_limits.lift(journal, destination, job)
    sandbox.destination.cluster.put_settings(body={"transient": {BYTES: "80mb"}})

    outcome = roll_back.give_back(journal, records, clients.sides(records), float("inf"))

    [note] = outcome["foreign"]
    assert BYTES in note
    before["transient"][BYTES] = "80mb"
    assert settings(sandbox) == before
