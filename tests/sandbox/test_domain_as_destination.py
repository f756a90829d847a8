"""An Amazon domain as the destination: the world's, by its front, with roles of its own."""

from collections.abc import Iterator
from typing import Any

import pytest

from snapferry.journal import destination_side
from snapferry_sandbox.demo import leftovers
from tests.clusters.test_catch_up import content, create
from tests.sandbox.migrations import FILTERED, Sandbox, fill

# An application feels it, and Amazon lets nobody set it.
REFUSED = "search.max_buckets"


def request(sandbox: Sandbox, *patterns: str, **changes: Any) -> dict[str, Any]:
    """The input that moves indices into the domain, under a path of their own."""
    whole: dict[str, Any] = {
        "destination": dict(sandbox.world.deployment["destination_domains"][0]),
        "bucket__base_path": f"snapferry/{patterns[0].strip('-*')}",
    }
    return sandbox.request(*patterns, **whole | changes)


@pytest.fixture
def refused_setting(sandbox: Sandbox) -> Iterator[None]:
    sandbox.source.cluster.put_settings(body={"persistent": {REFUSED: "70000"}})
    yield
    sandbox.source.cluster.put_settings(body={"persistent": {REFUSED: None}})


@pytest.mark.usefixtures("refused_setting")
def test_indices_move_into_a_domain_while_clients_write(sandbox: Sandbox) -> None:
    create(sandbox.source, "into-tail", shards=3)
    fill(sandbox.source, "into-tail", 1000)
    fill(sandbox.source, "into-unfit", 1, aliases={"into": {}}, mappings=FILTERED)
    before = leftovers.look(sandbox.world)

    outcome = sandbox.migrate(
        request(sandbox, "into-*"),
        at_gate={"stop_writes": lambda: fill(sandbox.source, "into-tail", 100, first=1000)},
    )

    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    for index in ("into-tail", "into-unfit"):
        assert content(sandbox.destination, index) == content(sandbox.source, index)
    assert sandbox.destination.indices.exists_alias(index="into-unfit", name="into")
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
    report = sandbox.record(outcome.migration_id, "report")
    [domain] = report["domains"]
    assert domain["catch_up"]["caught_up"] == ["into-tail"]
    assert [*domain["catch_up"]["by_snapshot"]] == ["into-unfit"]
    target = sandbox.world.deployment["destination_domains"][0]
    made = {(change["side"], change["kind"], change["key"]) for change in report["changes"]}
    mapping = f"snapferry-{outcome.migration_id}/backend_roles/{target['access_role_arn']}"
    assert (destination_side(target["endpoint"]), "role_mapping", mapping) in made
    # What Amazon refuses is left out, and said.
    assert "restore_limit" not in {kind for _, kind, _ in made}
    assert report["notes"] == sandbox.record(outcome.migration_id, "plan")["notes"]
    [note] = report["notes"]
    assert "Amazon OpenSearch Service lets nobody change them" in note
    [setting] = [artifact for artifact in domain["artifacts"] if artifact["name"] == REFUSED]
    assert setting["verdict"] == "cannot"
    assert "'/_cluster/settings' payload is not allowed" in setting["reason"]


def test_a_role_that_is_not_mapped_at_the_destination(sandbox: Sandbox) -> None:
    fill(sandbox.source, "unmapped", 10)
    before = leftovers.look(sandbox.world)

    outcome = sandbox.migrate(request(sandbox, "unmapped", destination__master_user=None))

    assert (outcome.status, outcome.error) == ("FAILED", "AccessDenied")
    caller = sandbox.world.deployment["destination_domains"][0]["access_role_arn"]
    for words in (
        f"{caller} lacks permissions",
        "cluster:admin/snapshot/restore",
        "What to do: name in destination.master_user who may change the security",
    ):
        assert words in outcome.cause
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []


@pytest.mark.exhaustive
def test_a_snapshot_is_restored_into_a_domain_without_its_source(sandbox: Sandbox) -> None:
    fill(sandbox.source, "brought", 300, shards=2)
    before = leftovers.look(sandbox.world)

    for mode in ("snapshot_only", "restore_only"):
        outcome = sandbox.migrate(request(sandbox, "brought", mode=mode))
        assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")

    assert sandbox.destination.count(index="brought")["count"] == 300
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
