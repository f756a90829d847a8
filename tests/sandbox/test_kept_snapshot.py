"""A snapshot that is taken alone, and what it is good for."""

import pytest

from snapferry_sandbox.demo import leftovers
from tests.sandbox.migrations import Outcome, Sandbox, fill
from tests.sandbox.test_plan import assert_plan_named_changes

PATH = "snapferry/kept"


@pytest.fixture(scope="module")
def taken(sandbox: Sandbox) -> Outcome:
    for index, documents in (("kept-1", 300), ("kept-2", 40)):
        fill(sandbox.source, index, documents, shards=2, aliases={"kept": {}})
    fill(sandbox.source, "ahead-1", 2_000)
    before = leftovers.look(sandbox.world)

    outcome = sandbox.migrate(
        sandbox.request("kept-*", "ahead-*", mode="snapshot_only", bucket__base_path=PATH)
    )

    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
    for index in ("kept-1", "kept-2", "ahead-1"):
        assert not sandbox.destination.indices.exists(index=index)
    return outcome


def test_it_is_restored_without_its_source(sandbox: Sandbox, taken: Outcome) -> None:
    before = leftovers.look(sandbox.world)
    sandbox.source.indices.delete(index="kept-1")
    request = sandbox.request("kept-*", mode="restore_only", bucket__base_path=PATH)
    # There is nothing at this address, so that whatever is asked of the source fails.
    request["domains"][0]["host"] = "127.0.0.1:1"

    restored = sandbox.migrate(request)

    assert (restored.status, restored.cause) == ("SUCCEEDED", "")
    assert sandbox.destination.count(index="kept")["count"] == 340
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
    report = sandbox.record(restored.migration_id, "report")
    [domain] = report["domains"]
    assert domain["restored_from"] == f"snapferry-{taken.migration_id}-source-1"
    assert (domain["indices"], domain["documents"]) == (2, 340)
    assert {row["source_documents"] for row in domain["index_table"]} == {None}
    assert "without its source" in report["to_do"][0]
    assert_plan_named_changes(sandbox, restored.migration_id)

    again = sandbox.migrate(request)

    assert (again.status, again.error) == ("FAILED", "PlanRejected")
    assert "kept-1: the destination has an index of this name" in again.cause
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []

    # It was deleted, and is to come back into the cluster that the snapshot is said to be of.
    sandbox.destination.indices.delete(index="kept-1")
    request["domains"][0]["host"] = request["destination"]["endpoint"]
    request["domains"][0]["indices"] = {"include": ["kept-1"]}

    back = sandbox.migrate(request)

    assert (back.status, back.cause) == ("SUCCEEDED", "")
    assert sandbox.destination.count(index="kept-1")["count"] == 300
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []


@pytest.mark.usefixtures("taken")
def test_it_is_the_bulk_of_the_migration_that_follows(sandbox: Sandbox) -> None:
    moved = sandbox.migrate(sandbox.request("ahead-1", bucket__base_path=PATH))

    assert (moved.status, moved.cause) == ("SUCCEEDED", "")
    [domain] = sandbox.record(moved.migration_id, "report")["domains"]
    snapshot = domain["rounds"][0]["snapshot"]
    assert snapshot["bytes_new"] < snapshot["bytes_reused"]
    assert sandbox.destination.count(index="ahead-1")["count"] == 2_000
