"""Restores without their source, between a bucket and a fake cluster."""

from dataclasses import replace
from typing import Any

import pytest

from snapferry import kept_snapshot, listing, plan, repositories, restores
from snapferry.errors import Conflict, InvalidInput, Unavailable
from snapferry.ownership import Ownership
from snapferry.request import DomainJob
from tests.unit.conftest import Events, MakeJob, Side, Storage
from tests.unit.fakes import FakeIndex, FakeSnapshot

OPENSEARCH_1_3 = 135247827
OPENSEARCH_9 = 143217727


@pytest.fixture
def restore_only(destination: Side, storage: Storage, make_job: MakeJob) -> MakeJob:
    """Makes the job of a restore, whose repository is registered."""

    def make(**changes: Any) -> DomainJob:
        job = make_job(mode="restore_only", **changes)
        repositories.register_destination(storage.journal, destination.client, job)
        return job

    return make


@pytest.fixture
def kept(destination: Side) -> dict[str, FakeSnapshot]:
    """What lies in the bucket: two nights' snapshots, and one that is incomplete."""
    indices = {
        "logs": FakeIndex(shards=2, primary_bytes=3_000, aliases={"all": {}}),
        "orders": FakeIndex(),
        ".kibana_1": FakeIndex(),
    }
    snapshots = {
        f"nightly-{night}": FakeSnapshot(indices, 0, float(night)) for night in (1, 2, 3)
    } | {"by-hand": FakeSnapshot({"orders": FakeIndex(documents=3)}, 0, 9.0)}
    snapshots["nightly-3"].doomed = "PARTIAL"
    destination.cluster.bucket["snapferry/logs"] = snapshots
    return snapshots


def planned(destination: Side, storage: Storage, job: DomainJob) -> dict[str, Any]:
    plan.plan_restore(destination.client, storage.journal, storage.records, job)
    made: dict[str, Any] = storage.records.read("logs/plan")
    return made


def restore(destination: Side, storage: Storage, job: DomainJob) -> list[str]:
    """Takes all steps but the verification; gives the names of what was selected."""
    planned(destination, storage, job)
    kept_snapshot.list_indices(destination.client, storage.records, job)
    selected = listing.selected(storage.records, "logs", 1)
    restores.start(
        destination.client,
        Ownership(storage.records, job),
        kept_snapshot.chosen(storage.records, job),
        1,
        selected,
        [index.name for index in selected],
    )
    return [index.name for index in selected]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("*", "by-hand"), ("nightly-*", "nightly-2"), ("nightly-1", "nightly-1")],
)
def test_the_newest_complete_one_that_is_meant(
    destination: Side,
    storage: Storage,
    kept: dict[str, FakeSnapshot],
    restore_only: MakeJob,
    pattern: str,
    name: str,
) -> None:
    job = restore_only(domain__snapshot=pattern)

    found = kept_snapshot.find(destination.client, storage.records, job)

    assert found.name == name
    assert {index.name for index in found.indices} == set(kept[name].indices)
    chosen = kept_snapshot.chosen(storage.records, job)
    assert chosen.snapshot(1) == name


@pytest.mark.parametrize("pattern", ["nightly-3", "weekly-*", "nightly-9"])
def test_one_that_is_not_there_or_not_complete(
    destination: Side,
    storage: Storage,
    kept: dict[str, FakeSnapshot],  # noqa: ARG001
    restore_only: MakeJob,
    pattern: str,
) -> None:
    job = restore_only(domain__snapshot=pattern)

    with pytest.raises(InvalidInput, match=r"^domains\[\]\.snapshot: .* Correct it"):
        kept_snapshot.find(destination.client, storage.records, job)


def test_the_plan_has_a_verdict_for_each_index_in_the_snapshot(
    destination: Side,
    storage: Storage,
    kept: dict[str, FakeSnapshot],  # noqa: ARG001
    restore_only: MakeJob,
) -> None:
    destination.cluster.indices = {"orders": FakeIndex()}
    destination.cluster.disks *= 2
    job = restore_only(domain__snapshot="nightly-*", domain__replicas=2)

    made = planned(destination, storage, job)

    assert {each["index"]: each["verdict"] for each in made["indices"]} == {
        "logs": "restore",
        "orders": "reject",
        ".kibana_1": "skip",
    }
    [moved] = [each for each in made["indices"] if each["verdict"] == "restore"]
    assert (moved["shards"], moved["replicas"], moved["primary_store_bytes"]) == (2, 2, 3_000)
    # What had to be done to read it is a part of the plan.
    assert "repository snapferry-m-1-logs (destination/search.example.com:9200)" in made["changes"]
    assert any(change.startswith("restore limit") for change in made["changes"])
    assert not any("source" in change for change in made["changes"])


def test_the_plan_says_what_another_snapshot_has_besides(
    destination: Side,
    storage: Storage,
    kept: dict[str, FakeSnapshot],  # noqa: ARG001
    restore_only: MakeJob,
) -> None:
    """The last snapshot of a migration holds only what wasn't caught up."""
    [note] = planned(destination, storage, restore_only())["notes"]
    assert note.startswith(
        "logs: the snapshot by-hand is without logs, unlike nightly-2: they were deleted, or it is"
    )

    wanted = {"include": ["orders"]}
    assert planned(destination, storage, restore_only(domain__indices=wanted))["notes"] == []


def test_what_is_not_in_the_snapshot_is_said_to_be_missing_there(
    destination: Side,
    storage: Storage,
    kept: dict[str, FakeSnapshot],  # noqa: ARG001
    restore_only: MakeJob,
) -> None:
    """The source isn't asked, and may have it."""
    wanted = {"include": ["logs"]}
    by_name = restore_only(domain__snapshot="by-hand", domain__indices=wanted)
    newest = restore_only(domain__indices=wanted)
    by_pattern = restore_only(domain__indices={"include": ["log*"]})

    with pytest.raises(InvalidInput, match="logs: the snapshot by-hand has no such index"):
        planned(destination, storage, by_name)
    with pytest.raises(InvalidInput, match="snapshot by-hand, unlike nightly-2, has no such"):
        planned(destination, storage, newest)
    with pytest.raises(InvalidInput, match="no index of the snapshot by-hand, unlike nightly-2,"):
        planned(destination, storage, by_pattern)


def test_a_data_stream_in_a_snapshot_is_rejected(
    destination: Side, storage: Storage, kept: dict[str, FakeSnapshot], restore_only: MakeJob
) -> None:
    kept["by-hand"].indices[".ds-events-000001"] = FakeIndex()
    kept["by-hand"].data_streams = ["events", "unwanted"]

    for include in (["orders", "events"], ["ord*", "event*"], ["events"]):
        wanted = {"include": include}
        made = planned(destination, storage, restore_only(domain__indices=wanted))
        [refused] = [each for each in made["indices"] if each["verdict"] == "reject"]
        assert refused["index"] == "events"
        assert refused["reason"] == "it is a data stream, whose backing indices aren't moved"


def test_the_plan_says_whose_writes_the_restored_could_take(
    destination: Side,
    storage: Storage,
    kept: dict[str, FakeSnapshot],  # noqa: ARG001
    restore_only: MakeJob,
) -> None:
    """Which aliases come is known only when they are there."""
    destination.cluster.indices = {
        "v1": FakeIndex(aliases={"all": {}, "written": {"is_write_index": True}, "two": {}}),
        "v2": FakeIndex(aliases={"two": {}, ".hidden": {}}),
    }

    [note] = planned(destination, storage, restore_only(domain__snapshot="nightly-*"))["notes"]

    assert note.endswith("to true where clients write, to false where nobody does, of all")


def test_its_plan_says_no_more_than_what_happens(
    destination: Side,
    storage: Storage,
    events: Events,
    kept: dict[str, FakeSnapshot],  # noqa: ARG001
    restore_only: MakeJob,
) -> None:
    destination.cluster.indices = {"orders": FakeIndex()}
    job = restore_only(domain__snapshot="nightly-*")
    planned(destination, storage, job)
    outcomes = [{"domain": "logs", "status": "PLANNED"}]

    made = plan.write(lambda _: destination.client, storage.records, events.bus, [job], outcomes)

    # By then the repository is there.
    assert made["cause"].endswith("No index was restored.")
    page = storage.s3.objects[made["page"]].decode()
    assert "writes don&#x27;t stop" in page or "writes don't stop" in page
    assert "caught up" not in page


@pytest.mark.parametrize(
    ("version_id", "reason"),
    [
        (OPENSEARCH_1_3, "takes indices created since"),
        (OPENSEARCH_9, "takes no snapshot of a newer"),
    ],
)
def test_a_snapshot_that_the_destination_cannot_read(
    destination: Side,
    storage: Storage,
    kept: dict[str, FakeSnapshot],
    restore_only: MakeJob,
    version_id: int,
    reason: str,
) -> None:
    destination.cluster.node_versions = ["3.6.0"]
    kept["nightly-1"] = replace(kept["nightly-1"], version_id=version_id)

    made = planned(destination, storage, restore_only(domain__snapshot="nightly-1"))

    rejected = [each["reason"] for each in made["indices"] if each["verdict"] == "reject"]
    assert len(rejected) == 2
    assert all(reason in each for each in rejected)


def test_what_is_restored_is_counted_and_the_clients_from_then_on(
    destination: Side,
    storage: Storage,
    kept: dict[str, FakeSnapshot],  # noqa: ARG001
    restore_only: MakeJob,
) -> None:
    job = restore_only(domain__snapshot="nightly-*", domain__indices={"include": ["logs"]})
    assert restore(destination, storage, job) == ["logs"]
    assert set(destination.cluster.indices) == {"logs"}
    assert destination.index("logs").aliases == {"all": {}}

    selected = listing.selected(storage.records, "logs", 1)
    documents = kept_snapshot.verify(destination.client, storage.records, job, selected)

    assert documents == 10
    [verdict] = storage.records.read("logs/verification")
    assert (verdict["source_documents"], verdict["destination_documents"]) == (None, 10)
    with pytest.raises(Conflict):
        kept_snapshot.list_indices(destination.client, storage.records, job)


def test_what_lost_a_shard_is_no_success(
    destination: Side,
    storage: Storage,
    kept: dict[str, FakeSnapshot],  # noqa: ARG001
    restore_only: MakeJob,
) -> None:
    job = restore_only(domain__snapshot="nightly-2", domain__indices={"include": ["orders"]})
    restore(destination, storage, job)
    destination.index("orders").lost = {0: {}}

    with pytest.raises(Unavailable, match="orders: not every shard answered"):
        kept_snapshot.verify(
            destination.client,
            storage.records,
            job,
            listing.selected(storage.records, "logs", 1),
        )
