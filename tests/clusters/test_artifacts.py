"""Artifacts between two real clusters."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opensearchpy import OpenSearch

from snapferry import artifacts, clients, request, roll_back
from snapferry.request import DomainJob
from tests.clusters import artifacts_of_a_source as everything
from tests.sandbox.migrations import Sandbox

type Copy = Callable[[DomainJob], dict[str, int]]

_ALL = [
    "scripts",
    "pipelines",
    "templates",
    "data_streams",
    "cluster_settings",
    "security",
    "saved_objects",
]


@pytest.fixture(scope="module", autouse=True)
def source_with_everything(sandbox: Sandbox) -> Iterator[None]:
    everything.make(sandbox, "source")
    yield
    everything.remove(sandbox, "source")


@pytest.fixture(autouse=True)
def destination_with_nothing(sandbox: Sandbox) -> Iterator[None]:
    yield
    everything.remove(sandbox, "destination")


def job_of(sandbox: Sandbox, **chosen: Any) -> DomainJob:
    """The job of a migration of its own that copies artifacts."""
    document = sandbox.request("art-*", artifacts={"include": _ALL} | chosen)
    [job], _ = request.parse(document, f"test-{uuid.uuid4().hex[:12]}")
    return job


@pytest.fixture
def job(sandbox: Sandbox) -> DomainJob:
    return job_of(sandbox)


def copy(job: DomainJob) -> dict[str, int]:
    return artifacts.copy(
        clients.journal(job.migration_id),
        clients.records(job.migration_id),
        job,
        artifacts.Side(
            clients.source(job.domain),
            clients.source_administrator(job.domain),
            clients.source_dashboards(job.domain),
        ),
        artifacts.Side(
            clients.destination(job.destination),
            clients.destination_administrator(job.destination),
            clients.destination_dashboards(job.destination),
        ),
        artifacts.Vault(clients.secrets_of_users(), f"snapferry/users/{job.migration_id}/"),
    )


def give_back(job: DomainJob) -> dict[str, Any]:
    """Gives back what the migration of a job has changed."""
    records = clients.records(job.migration_id)
    records.write("jobs", [job.model_dump(mode="json")])
    return roll_back.give_back(
        clients.journal(job.migration_id), records, clients.sides(records), float("inf")
    )


def verdicts(job: DomainJob) -> dict[str, str]:
    """Of what was made here; the plugin's own configuration makes a few roles' mappings, too."""
    return {
        f"{verdict.kind} {verdict.name}": verdict.verdict
        for verdict in artifacts.verdicts(clients.records(job.migration_id), job.domain.name)
        if verdict.name in everything.SETTINGS
        or verdict.name.removeprefix("global/").startswith("art")
    }


@pytest.mark.exhaustive
def test_users_get_new_passwords(sandbox: Sandbox) -> None:
    job = job_of(sandbox, internal_users="create")

    copy(job)

    secrets = clients.secrets_of_users()
    name = f"snapferry/users/{job.migration_id}/art-anna"
    kept = json.loads(secrets.get_secret_value(SecretId=name)["SecretString"])
    [endpoint] = sandbox.world.destinations
    anna = OpenSearch(
        hosts=[endpoint.url],
        http_auth=(kept["username"], kept["password"]),
        ca_certs=str(endpoint.ca_file),
    )
    account = anna.transport.perform_request("GET", f"{everything.SECURITY}/account")
    assert account["user_name"] == "art-anna"
    # Their roles have arrived, too.
    assert {"art-sales"} <= set(account["roles"])
    assert give_back(job)["failed"] == []
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.get_secret_value(SecretId=name)
    assert everything.look(sandbox, "destination") == {}


def without_users(found: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in found.items() if not name.startswith("internal user")}


def test_everything_arrives_once_and_goes_with_a_roll_back(
    sandbox: Sandbox, job: DomainJob
) -> None:
    there = everything.look(sandbox, "source")
    assert len(there) >= 40

    counted = copy(job)

    assert without_users(everything.look(sandbox, "destination")) == without_users(there)
    assert verdicts(job) == {
        name: "cannot" if name.startswith("internal user") else "create" for name in there
    }
    again = job_of(sandbox)
    repeated = copy(again)
    assert repeated["created"] == 0
    assert repeated["same"] == counted["created"] + counted["same"]
    assert verdicts(again) == {
        name: "cannot" if name.startswith("internal user") else "same" for name in there
    }
    assert without_users(everything.look(sandbox, "destination")) == without_users(there)
    # Another attempt of the first one still knows what is its own.
    assert copy(job) == counted
    outcome = give_back(job)
    assert (outcome["failed"], outcome["foreign"]) == ([], [])
    assert everything.look(sandbox, "destination") == {}


def test_what_is_there_stays(sandbox: Sandbox, job: DomainJob) -> None:
    theirs = {
        "stored script": ("art-rank", {"script": {"lang": "painless", "source": "1"}}),
        "ingest pipeline": ("art-stamp", {"processors": [{"drop": {}}]}),
        "search pipeline": ("art-open", {"request_processors": []}),
        "component template": ("art-small", {"template": {"settings": {"number_of_shards": 5}}}),
        "legacy template": ("art-old", {"index_patterns": ["theirs-*"]}),
        "index template": ("art-events", {"index_patterns": ["others-*"]}),
        "action group": ("art-read", {"allowed_actions": ["indices:*"], "type": "index"}),
        "tenant": ("art-sales", {"description": "theirs"}),
        "role": ("art-press", {"cluster_permissions": ["*"]}),
        "saved visualization": ("global/art-pie", {"attributes": {"title": "theirs"}}),
    }
    for kind in everything.KINDS:
        if kind.name in theirs:
            kind.put(everything.owner(sandbox, "destination", kind), *theirs[kind.name])
    everything.put_settings(sandbox.destination, {"search.max_buckets": "9"})
    before = everything.look(sandbox, "destination")

    copy(job)

    found = verdicts(job)
    assert {name for name, verdict in found.items() if verdict == "conflict"} == before.keys()
    now = everything.look(sandbox, "destination")
    assert {name: now[name] for name in before} == before
    # What would refer to another one of the same name isn't copied either.
    for needs in (
        "action group art-all",
        "index template art-streams",
        "role art-sales",
        "role mapping art-press",
        "saved dashboard global/art-all",
        "saved dashboard art-sales/art-all",
    ):
        assert found[needs] == "cannot"
        assert needs not in now
    assert give_back(job)["failed"] == []
    assert everything.look(sandbox, "destination") == before


@pytest.mark.exhaustive
def test_what_was_handed_over_stays(sandbox: Sandbox, job: DomainJob) -> None:
    copy(job)
    there = everything.look(sandbox, "destination")

    artifacts.hand_over(clients.journal(job.migration_id), job)

    assert give_back(job)["kept"] == []
    assert everything.look(sandbox, "destination") == there


@pytest.mark.exhaustive
def test_data_stream_that_was_written_to_stays(sandbox: Sandbox, job: DomainJob) -> None:
    copy(job)
    document = {"@timestamp": "2026-01-01T00:00:00Z"}
    sandbox.destination.index(index="art-stream-a", body=document, op_type="create", refresh=True)

    outcome = give_back(job)

    [foreign] = outcome["foreign"]
    assert "art-stream-a" in foreign
    # A template can't go as long as there are data streams of it.
    assert sandbox.destination.count(index="art-stream-a")["count"] == 1
