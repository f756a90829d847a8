"""A rehearsal between fake clusters."""

from typing import Any

import pytest

from snapferry import indices, rehearsal, repositories, restores, snapshots
from snapferry.errors import NotFound, Unavailable
from snapferry.request import DomainJob
from tests.unit.conftest import MakeJob, Side, Storage
from tests.unit.fake_shards import FakeTailCluster, FakeTailIndex, shards
from tests.unit.fakes import FakeIndex, Fault, Request


@pytest.fixture
def job(make_job: MakeJob) -> DomainJob:
    return make_job(mode="rehearse")


@pytest.fixture
def _snapshot(source: Side, destination: Side, storage: Storage, job: DomainJob) -> None:
    """Two indices in a snapshot; one of them is at the destination, with other documents."""
    source.cluster.indices = {
        "logs": FakeIndex(documents=15, shards=2),
        "orders": FakeIndex(documents=5, aliases={"all": {}}),
    }
    destination.cluster.indices = {"orders": FakeIndex(documents=99)}
    repositories.register_source(storage.journal, source.client, job)
    repositories.register_destination(storage.journal, destination.client, job)
    snapshots.start(storage.journal, source.client, job, 1, ["logs", "orders"])


def start(source: Side, destination: Side, storage: Storage, job: DomainJob) -> None:
    rehearsal.start(storage.journal, destination.client, job, 1, source.listed())


@pytest.mark.usefixtures("_snapshot")
def test_copies_have_names_of_their_own(
    source: Side, destination: Side, storage: Storage, job: DomainJob
) -> None:
    # A lost answer has it called again.
    for _ in range(2):
        start(source, destination, storage, job)

    prefix = job.rehearsal_prefix
    assert set(destination.cluster.indices) == {"orders", f"{prefix}logs", f"{prefix}orders"}
    assert destination.index(f"{prefix}orders").aliases == {}
    assert destination.index("orders").documents == 99
    copies = rehearsal.copies(job, source.listed())
    assert restores.check(destination.client, copies, 0, 0).ended


@pytest.mark.usefixtures("_snapshot")
def test_the_roll_back_deletes_the_copies_and_nothing_else(
    source: Side, destination: Side, storage: Storage, job: DomainJob
) -> None:
    start(source, destination, storage, job)

    outcome = storage.journal.give_back(
        lambda place: rehearsal.CHANGEABLES[place.kind](destination.client, place.key),
        kinds=rehearsal.CHANGEABLES,
    )

    assert (len(outcome.done), outcome.failed, outcome.foreign) == (2, [], [])
    assert set(destination.cluster.indices) == {"orders"}


@pytest.mark.usefixtures("_snapshot")
def test_a_restore_that_never_began_leaves_nothing_to_delete(
    source: Side, destination: Side, storage: Storage, job: DomainJob
) -> None:
    source.cluster.bucket.clear()
    with pytest.raises(NotFound):
        start(source, destination, storage, job)

    outcome = storage.journal.give_back(
        lambda place: rehearsal.CHANGEABLES[place.kind](destination.client, place.key),
        kinds=rehearsal.CHANGEABLES,
    )

    assert len(outcome.done) == 2
    assert not destination.cluster.sent("DELETE /rehearsal.*")


def test_the_names_differ_from_one_rehearsal_and_domain_to_the_next(make_job: MakeJob) -> None:
    prefixes = {make_job(domain__name=name).rehearsal_prefix for name in ("logs", "orders")}

    assert len(prefixes) == 2
    assert all(prefix == prefix.lower() for prefix in prefixes)


class Counting(FakeTailCluster):
    """A cluster that also counts the documents of its indices."""

    def _carry_out(self, request: Request) -> Any:
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["_cluster", "health"]:
                return {"indices": {name: {"status": "green"} for name in self.tails}}
            case "POST", [names, "_search"]:
                buckets = [
                    {"key": name, "doc_count": sum(len(shard.visible) for shard in index.shards)}
                    for name, index in self._found(names).items()
                ]
                return {
                    "_shards": {"failed": 0},
                    "aggregations": {"indices": {"buckets": buckets}},
                }
        return super()._carry_out(request)


def test_what_clients_delete_meanwhile_is_no_fault(job: DomainJob) -> None:
    source = Counting(
        {
            name: FakeTailIndex(shards(1, documents=3), uuid=name)
            for name in ("gone", "kept", "new", "shut")
        }
    )
    client = source.client("source")
    selected = list(indices.list_all(client).values())
    destination = Counting(
        {job.rehearsal_prefix + name: each.restored("r") for name, each in source.tails.items()}
    )
    del source.tails["gone"]
    source.tails["new"] = FakeTailIndex(shards(1, documents=9), uuid="made-anew")
    source.tails["shut"].is_open = False

    verdicts = rehearsal.verify(client, destination.client("destination"), job, selected)

    assert {verdict.index: verdict.source_documents for verdict in verdicts} == {
        "gone": None,
        "kept": 3,
        "new": None,
        "shut": None,
    }
    assert not any(verdict.faults for verdict in verdicts)


def test_what_clients_delete_while_it_is_counted_is_asked_for_again(job: DomainJob) -> None:
    source = Counting({"orders": FakeTailIndex(shards(1, documents=3))})
    client = source.client("source")
    selected = list(indices.list_all(client).values())
    gone = (404, {"error": {"type": "index_not_found_exception", "reason": "no such index"}})
    source.faults = [Fault("POST /orders/_refresh", gone)]

    with pytest.raises(Unavailable):
        rehearsal.verify(client, Counting({}).client("destination"), job, selected)


@pytest.mark.parametrize(
    ("lost", "written", "faults"),
    [
        (False, False, []),
        (True, False, ["2 documents instead of 3"]),
        # Then the count of the source says nothing of the copy.
        (False, True, []),
        (True, True, []),
    ],
)
def test_documents_have_to_be_the_same_where_nobody_wrote(
    job: DomainJob, lost: bool, written: bool, faults: list[str]
) -> None:
    source = Counting({"orders": FakeTailIndex(shards(1, documents=3))})
    copy = source.tails["orders"].restored("uuid-2")
    destination = Counting({f"{job.rehearsal_prefix}orders": copy})
    if lost:
        copy.shards[0].documents.popitem()
    if written:
        source.tails["orders"].shards[0].index("new")
    client = source.client("source")

    [verdict] = rehearsal.verify(
        client, destination.client("destination"), job, list(indices.list_all(client).values())
    )

    assert verdict.index == "orders"
    assert verdict.destination_documents == 3 - lost
    assert (verdict.health, verdict.faults) == ("green", faults)
