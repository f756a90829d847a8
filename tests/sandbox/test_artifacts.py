"""What a cluster needs besides its indices, in whole migrations on the deployed stack."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from snapferry_sandbox.demo import leftovers
from tests.clusters import artifacts_of_a_source as everything
from tests.sandbox.migrations import Sandbox, fill
from tests.sandbox.test_command_line import CommandLine

_CHOSEN = {
    "include": [
        "scripts",
        "pipelines",
        "templates",
        "data_streams",
        "cluster_settings",
        "index_policies",
        "security",
        "saved_objects",
    ],
    "internal_users": "create",
}


@pytest.fixture
def document(sandbox: Sandbox) -> Iterator[dict[str, Any]]:
    """The input that moves an index and everything else of the source."""
    everything.make(sandbox, "source")
    fill(sandbox.source, "art-index-1", 10)
    # The documents of its data streams aren't moved.
    yield sandbox.request("art-*", artifacts=_CHOSEN, rejected="leave_out")
    sandbox.source.indices.delete(index="art-index-1")
    everything.remove(sandbox, "source")
    everything.remove(sandbox, "destination")


def secrets_of_users(sandbox: Sandbox) -> list[str]:
    listed = sandbox.client("secretsmanager").list_secrets()["SecretList"]
    return [secret["Name"] for secret in listed if "/users/" in secret["Name"]]


def test_artifacts_come_along_and_go_with_a_migration_that_is_rejected(
    sandbox: Sandbox, document: dict[str, Any]
) -> None:
    before, operator = leftovers.look(sandbox.world), CommandLine(sandbox)
    failing = sandbox.start(document)

    def reject() -> None:
        gate = ("stop_writes", "--domain", "source")
        operator.run("approve", failing.migration_id, *gate, "--yes", "--reject", "not tonight")

    rejected = sandbox.end(failing, at_gate={"stop_writes": reject})
    rolled_back = operator.run("roll-back", failing.migration_id)

    assert (rejected.status, rejected.error) == ("FAILED", "GateRejected")
    assert "not tonight" in rejected.cause
    assert (rolled_back["state"], rolled_back["open"], rolled_back["foreign"]) == ("ended", [], [])
    assert any(line.startswith("repository ") for line in rolled_back["given_back"])
    verdicts = sandbox.record(failing.migration_id, "source/artifacts")
    made = {f"{verdict['kind']} {verdict['name']}": verdict["verdict"] for verdict in verdicts}
    assert {made[name] for name in everything.look(sandbox, "source")} == {"create"}
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
    assert secrets_of_users(sandbox) == []

    outcome = sandbox.migrate(document)

    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    assert everything.look(sandbox, "destination") == everything.look(sandbox, "source")
    [domain] = sandbox.record(outcome.migration_id, "report")["domains"]
    assert domain["artifacts"] == verdicts_with(
        verdicts, failing.migration_id, outcome.migration_id
    )
    users = secrets_of_users(sandbox)
    assert len(users) == 2
    for name in users:
        sandbox.client("secretsmanager").delete_secret(
            SecretId=name, ForceDeleteWithoutRecovery=True
        )


def verdicts_with(verdicts: Any, old: str, new: str) -> Any:
    """The same verdicts of another migration, whose name stands in the names of secrets."""
    return json.loads(json.dumps(verdicts).replace(old, new))
