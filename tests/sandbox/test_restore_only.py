"""A snapshot that is restored without its source."""

from snapferry_cli.migration import Migration
from snapferry_sandbox.demo import leftovers
from tests.sandbox.migrations import Sandbox, fill

PATH = "snapferry/kept"


def test_a_snapshot_is_restored_without_its_source(sandbox: Sandbox) -> None:
    for index, documents in (("kept-1", 300), ("kept-2", 40)):
        fill(sandbox.source, index, documents, shards=2, aliases={"kept": {}})
    before = leftovers.look(sandbox.world)
    taken = sandbox.migrate(sandbox.request("kept-*", mode="snapshot_only", bucket__base_path=PATH))
    assert (taken.status, taken.cause) == ("SUCCEEDED", "")
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
    migration = Migration(restored.migration_id, "", sandbox.executions, sandbox.table)
    assert set(migration.changes().given_back) <= set(
        sandbox.record(restored.migration_id, "plan")["changes"]
    )

    again = sandbox.migrate(request)

    assert (again.status, again.error) == ("FAILED", "PlanRejected")
    assert "kept-1: the destination has an index of this name" in again.cause
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
