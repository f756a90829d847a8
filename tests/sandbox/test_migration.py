"""Whole migrations on the deployed stack."""

import contextlib
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.helpers import scan

from snapferry_cli.migration import Migration
from snapferry_sandbox.demo import leftovers
from tests.clusters.test_catch_up import Clients, content, create
from tests.sandbox.migrations import FILTERED, Sandbox, fill
from tests.unit.test_request import MALFORMED


def contents(cluster: OpenSearch, index: str) -> dict[str, Any]:
    return {hit["_id"]: hit["_source"] for hit in scan(cluster, index=index)}


def test_moves_documents_and_aliases_and_leaves_nothing(sandbox: Sandbox) -> None:
    fill(
        sandbox.source,
        "moved-a",
        300,
        shards=3,
        aliases={"moved": {"is_write_index": True}, "moved-odd": {"filter": {"term": {"a": 1}}}},
    )
    fill(sandbox.source, "moved-b", 200, aliases={"moved": {"is_write_index": False}})
    fill(sandbox.source, "moved-not", 5)
    before = sandbox.repositories()
    started = sandbox.start(
        sandbox.request("moved-*", domain__indices={"include": ["moved-*"], "exclude": ["*-not"]})
    )
    migration = Migration(started.migration_id, "", sandbox.executions, sandbox.table)
    prompts: list[str] = []

    def make_an_index_after_the_hand_over() -> None:
        prompts.extend(gate.prompt for gate in migration.gates() if gate.name == "clients_moved")
        fill(sandbox.source, "moved-late", 1)

    outcome = sandbox.end(started, at_gate={"clients_moved": make_an_index_after_the_hand_over})

    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    for index in ("moved-a", "moved-b"):
        assert contents(sandbox.destination, index) == contents(sandbox.source, index)
        assert sandbox.destination.indices.get_alias(
            index=index
        ) == sandbox.source.indices.get_alias(index=index)
    assert not sandbox.destination.indices.exists(index="moved-not")
    assert sandbox.repositories() == before
    # People are asked anew, once.
    assert ["moved-late" in prompt for prompt in prompts] == [False, True]
    assert not sandbox.destination.indices.exists(index="moved-late")
    to_do = sandbox.record(outcome.migration_id, "report")["to_do"]
    assert [line for line in to_do if "moved-late" in line]
    verdicts = sandbox.record(outcome.migration_id, "source/verification")
    assert {verdict["index"]: verdict["destination_documents"] for verdict in verdicts} == {
        "moved-a": 300,
        "moved-b": 200,
    }


@pytest.mark.exhaustive
def test_writes_stop_for_what_was_written_last(sandbox: Sandbox) -> None:
    """A client writes on until it is asked to stop, in every way in which documents change."""
    create(sandbox.source, "tail-moved", shards=3)
    fill(sandbox.source, "tail-moved", 2000)
    fill(sandbox.source, "tail-unfit", 1, mappings=FILTERED)
    before = leftovers.look(sandbox.world)
    clients = Clients(sandbox.source, "tail-moved")
    with contextlib.ExitStack() as writing:
        writing.enter_context(clients.writing())
        outcome = sandbox.migrate(sandbox.request("tail-*"), at_gate={"stop_writes": writing.close})

    assert outcome.cause == ""
    assert outcome.status == "SUCCEEDED"
    assert clients.writes > 100
    for index in ("tail-moved", "tail-unfit"):
        assert content(sandbox.destination, index) == content(sandbox.source, index)
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
    [domain] = sandbox.record(outcome.migration_id, "report")["domains"]
    assert domain["catch_up"]["caught_up"] == ["tail-moved"]
    assert "_source is filtered" in domain["catch_up"]["by_snapshot"]["tail-unfit"]
    # Whether a round ran beside the gate is a matter of when it was answered.
    phases = [each["phase"] for each in domain["catch_up"]["rounds"]]
    assert (phases[0], phases[-1]) == ("lag fits", "last")
    assert [step["step"] for step in domain["catch_up"]["write_stop_steps"]] == [
        *("freeze_source", "catch_up_last", "hand_over_indices", "move_aliases")
    ]
    assert sum(each["documents"] for each in domain["catch_up"]["rounds"]) > 0
    assert domain["write_stop"]["predicted_seconds"] > 0
    assert domain["write_stop"]["seconds"] > 0


def test_a_difference_found_after_the_clients_have_moved_leaves_the_source_frozen(
    sandbox: Sandbox,
) -> None:
    """What was equal at first is changed at the destination, so that no count gives it away."""
    index = "differs"
    fill(sandbox.source, index, 50)

    def change_one_document() -> None:
        document = {"number": 8, "parts": [{"a": 1}, {"a": 7}]}
        sandbox.destination.index(index=index, id="7", body=document)

    outcome = sandbox.migrate(
        sandbox.request(index, verification="full"), at_gate={"stop_writes": change_one_document}
    )

    assert (outcome.status, outcome.error) == ("FAILED", "VerificationFailed")
    assert f"{index}: document 7 differs in the field number" in outcome.cause
    settings = sandbox.source.indices.get_settings(index=index, flat_settings=True)
    assert settings[index]["settings"]["index.blocks.write"] == "true"
    report = sandbox.record(outcome.migration_id, "report")
    [row] = report["domains"][0]["index_table"]
    assert (row["compared_before"], row["faults"]) == (
        50,
        ["document 7 differs in the field number"],
    )
    assert any("write block" in line for line in report["to_do"])
    sandbox.source.indices.put_settings(index=index, body={"index.blocks.write": None})


@pytest.mark.parametrize("catch_up", [True, pytest.param(False, marks=pytest.mark.exhaustive)])
def test_follows_what_changes_between_rounds(sandbox: Sandbox, catch_up: bool) -> None:
    prefix = "tailed" if catch_up else "followed"
    fill(sandbox.source, f"{prefix}-kept", 1000)
    fill(sandbox.source, f"{prefix}-gone", 10)
    fill(sandbox.source, f"{prefix}-again", 10, shards=1)

    def between_rounds() -> None:
        if sandbox.source.indices.exists(index=f"{prefix}-new"):
            return
        fill(sandbox.source, f"{prefix}-kept", 50, first=1000)
        sandbox.source.indices.delete(index=f"{prefix}-gone,{prefix}-again")
        fill(sandbox.source, f"{prefix}-again", 20, shards=2)
        fill(sandbox.source, f"{prefix}-new", 30)

    outcome = sandbox.migrate(
        sandbox.request(f"{prefix}-*", cutover={"catch_up": catch_up, "rounds": 1}),
        at_gate={"stop_writes": between_rounds},
    )

    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    present = sandbox.destination.cat.indices(index=f"{prefix}-*", format="json", h="index")
    assert {row["index"] for row in present} == {
        f"{prefix}-kept",
        f"{prefix}-again",
        f"{prefix}-new",
    }
    for row in present:
        assert contents(sandbox.destination, row["index"]) == contents(sandbox.source, row["index"])
    [domain] = sandbox.record(outcome.migration_id, "report")["domains"]
    first, last = domain["rounds"]
    # What is new or was made anew goes by a round while clients write, and nothing else does; or
    # everything goes by the last one, for which a lot is reused.
    assert (first["final"], last["final"]) == (False, not catch_up)
    assert last["restore"]["shards"] == (3 if catch_up else 4)
    assert (last["restore"]["bytes_reused"] > 0) == (not catch_up)


@pytest.mark.parametrize(
    # The automatic way comes to the bucket's ACL, too.
    "way",
    [pytest.param("acl", marks=pytest.mark.exhaustive), "automatic"],
)
def test_goes_by_the_buckets_acl_where_that_is_wanted_or_needed(sandbox: Sandbox, way: str) -> None:
    name = f"owned-{way}"
    fill(sandbox.source, name, 100)
    access = sandbox.world.deployment["bucket_access"] | {"way": way}
    before = leftovers.look(sandbox.world)
    # As a domain that keeps its objects to itself, whatever it is told.
    keeps_its_objects = sandbox.changed_code(
        "register_source_repository",
        "snapferry/repositories.py",
        '{"canned_acl": "bucket-owner-full-control"}',
        "{}",
    )
    gives_up_soon = sandbox.changed_code(
        "prove_bucket_access",
        "snapferry/access.py",
        "_SETTLING_SECONDS = 20",
        "_SETTLING_SECONDS = 2",
    )

    with contextlib.ExitStack() as changed:
        if way == "automatic":
            changed.enter_context(keeps_its_objects)
            changed.enter_context(gives_up_soon)
        outcome = sandbox.migrate(
            sandbox.request(
                name,
                bucket__access=access,
                bucket__base_path=f"snapferry/{name}",
                cutover={"rounds": 1},
            )
        )

    assert (outcome.status, outcome.cause) == ("SUCCEEDED", "")
    assert contents(sandbox.destination, name) == contents(sandbox.source, name)
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []


def test_index_of_somebody_else_is_not_touched(sandbox: Sandbox) -> None:
    fill(sandbox.source, "strange-1", 10)
    fill(sandbox.destination, "strange-1", 3)
    before = sandbox.repositories()

    outcome = sandbox.migrate(sandbox.request("strange-*"))

    assert (outcome.status, outcome.error) == ("FAILED", "PlanRejected")
    assert "strange-1" in outcome.cause
    assert len(contents(sandbox.destination, "strange-1")) == 3
    assert sandbox.repositories() == before


@pytest.mark.parametrize(
    "cases",
    [
        [case for case in MALFORMED if case.id in ("an array", "typo")],
        pytest.param(MALFORMED, marks=pytest.mark.exhaustive),
    ],
    ids=["two", "all"],
)
def test_malformed_input_changes_nothing(sandbox: Sandbox, cases: list[Any]) -> None:
    before = sandbox.repositories()
    for case in cases:
        outcome = sandbox.migrate(case.values[0])
        assert (outcome.status, outcome.error) == ("FAILED", "InvalidInput")
        assert sandbox.recorded(outcome.migration_id) == {"report.html", "report.json"}
    assert sandbox.repositories() == before
