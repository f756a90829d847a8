"""The plan on the deployed stack: what it says, and that making it changes nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import RequestError

from snapferry_cli.migration import Migration
from snapferry_sandbox import localstack
from snapferry_sandbox.demo import leftovers
from tests.sandbox.migrations import FILTERED, Sandbox, fill
from tests.sandbox.test_command_line import CommandLine

WRITES = {"is_write_index": True}


@pytest.fixture(scope="module", autouse=True)
def _indices(sandbox: Sandbox) -> Iterator[None]:
    """One for each verdict that can be had from OpenSearch itself."""
    fill(sandbox.source, "planned-sound", 100, shards=2)
    fill(sandbox.source, "planned-closed", 5)
    sandbox.source.indices.close(index="planned-closed")
    fill(sandbox.source, "planned-taken", 5)
    fill(sandbox.destination, "planned-taken", 3)
    fill(sandbox.source, "planned-writer", 5, aliases={"planned": WRITES})
    fill(sandbox.destination, "their-writer", 3, aliases={"planned": WRITES})
    fill(sandbox.source, ".planned-system", 5)
    fill(sandbox.source, "planned-filtered", 0, mappings=FILTERED)
    sandbox.source.indices.put_index_template(
        name="planned-stream",
        body={"index_patterns": ["planned-stream"], "data_stream": {}, "priority": 200},
    )
    sandbox.source.indices.create_data_stream(name="planned-stream")
    yield
    # A migration may have copied them.
    for cluster in (sandbox.source, sandbox.destination):
        cluster.indices.delete_data_stream(name="planned-stream", ignore=404)
        cluster.indices.delete_index_template(name="planned-stream", ignore=404)
    sandbox.source.indices.delete(index=".planned-system")
    sandbox.destination.indices.delete(index="planned-*,their-writer")


def calls(sandbox: Sandbox) -> list[Any]:
    """What the functions have asked AWS for so far."""
    log = sandbox.world.logs / localstack.CALLS
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def assert_plan_named_changes(sandbox: Sandbox, migration_id: str) -> None:
    """Each change that was made, and on no side a kind of change that wasn't."""
    migration = Migration(migration_id, "", sandbox.executions, sandbox.table)
    changes = migration.changes()
    made = {*changes.given_back, *changes.handed_over, *changes.open}
    planned = set(sandbox.record(migration_id, "plan")["changes"])

    def kinds(named: set[str]) -> set[tuple[str, str]]:
        """The kind, before the last word, and the side, in brackets after it."""
        return {
            (place.rpartition(" ")[0], side)
            for place, _, side in (change.rpartition(" (") for change in named)
        }

    assert changes.given_back
    assert made <= planned
    assert kinds(made) == kinds(planned)


def test_a_dry_run_gives_each_verdict_and_changes_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "input.json"
    file.write_text(json.dumps(sandbox.request("*planned*")))
    before, asked = leftovers.look(sandbox.world), len(calls(sandbox))
    present = set(sandbox.destination.indices.get(index="*", expand_wildcards="all"))

    plan = CommandLine(sandbox).run("plan", str(file), code=1)

    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
    assert set(sandbox.destination.indices.get(index="*", expand_wildcards="all")) == present
    [domain] = plan["domains"]
    found = {index["index"]: index for index in domain["indices"]}
    for name, verdict, reason in (
        ("planned-sound", "restore", ""),
        ("planned-filtered", "restore", ""),
        ("planned-closed", "reject", "it is closed"),
        ("planned-taken", "reject", "an index of this name that no migration restored"),
        ("planned-writer", "reject", "two write indices: the destination has their-writer"),
        ("planned-stream", "reject", "it is a data stream"),
        (".planned-system", "skip", "it is a system index"),
    ):
        assert found[name]["verdict"] == verdict
        assert reason in found[name]["reason"]
    assert found["planned-sound"]["last_snapshot"] == ""
    assert "_source is filtered" in found["planned-filtered"]["last_snapshot"]
    assert plan["error"] == "PlanRejected"
    # Nothing of the migration but its plan: no lease, no mark, no change.
    made = calls(sandbox)[asked:]
    assert not [
        call
        for call in made
        if call["operation"] in ("UpdateItem", "DeleteItem", "BatchWriteItem", "DeleteObject")
    ]
    written = {
        call["request"].get("Key") or call["request"]["Item"]["record"]["S"]
        for call in made
        if call["operation"] in ("PutObject", "PutItem")
    }
    migration = f"migrations/{plan['migration_id']}"
    assert written == {
        "plan",
        f"{migration}/plan.json",
        f"{migration}/plan.html",
        f"{migration}/source/plan.json",
        f"{migration}/source/left-out.json",
    }


def test_what_is_rejected_ends_a_migration_before_any_change(sandbox: Sandbox) -> None:
    before = leftovers.look(sandbox.world)

    outcome = sandbox.migrate(
        sandbox.request("planned-sound", "planned-taken", rejected="leave_out")
    )

    assert (outcome.status, outcome.error) == ("FAILED", "PlanRejected")
    assert "planned-taken: the destination has an index of this name" in outcome.cause
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
    assert not sandbox.destination.indices.exists(index="planned-sound")


def test_the_plan_names_each_change_that_is_made(sandbox: Sandbox) -> None:
    outcome = sandbox.migrate(sandbox.request("planned-*", rejected="leave_out"))

    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    present = sandbox.destination.indices.get(index="planned-*")
    # The data stream comes along as an artifact, without documents.
    moved = {name for name in present if not name.startswith(".")}
    assert moved == {"planned-sound", "planned-filtered", "planned-taken"}
    assert sandbox.destination.count(index="planned-taken")["count"] == 3
    assert_plan_named_changes(sandbox, outcome.migration_id)


def test_a_rehearsal_counts_a_copy_and_leaves_the_source_at_work(sandbox: Sandbox) -> None:
    fill(sandbox.source, "rehearsed-1", 500, shards=2)
    fill(sandbox.destination, "rehearsed-1", 7)
    before = leftovers.look(sandbox.world)
    present = set(sandbox.destination.indices.get(index="*", expand_wildcards="all"))

    outcome = sandbox.migrate(sandbox.request("rehearsed-1", mode="rehearse"))

    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    [verdict] = sandbox.record(outcome.migration_id, "source/verification")
    assert (verdict["index"], verdict["destination_documents"]) == ("rehearsed-1", 500)
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
    assert set(sandbox.destination.indices.get(index="*", expand_wildcards="all")) == present
    assert sandbox.destination.count(index="rehearsed-1")["count"] == 7
    assert_plan_named_changes(sandbox, outcome.migration_id)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"index.codec": "zstd"}, "index.codec"),
        ({"index.analysis.filter.folding.type": "icu_folding"}, r"filter type \[icu_folding\]"),
    ],
)
def test_what_the_plan_says_of_plugins_is_so(
    sandbox: Sandbox, settings: dict[str, str], words: str
) -> None:
    """No source here has such an index, but the destination shows that it would refuse one."""
    plugins = {row["component"] for row in sandbox.destination.cat.plugins(format="json")}
    assert not plugins & {"opensearch-custom-codecs", "analysis-icu"}

    with pytest.raises(RequestError, match=words):
        sandbox.destination.indices.create(index="planned-plugins", body={"settings": settings})
