"""The plan of a migration between fake clusters."""

from collections.abc import Callable
from typing import Any

import pytest
from opensearchpy import OpenSearch

from snapferry import artifacts, listing, ownership, plan, plan_page
from snapferry.errors import AccessDenied, Conflict, InvalidInput
from snapferry.request import Destination, DomainJob
from tests.unit.conftest import DESTINATION, DOMAIN_AS_DESTINATION, Events, MakeJob, Side, Storage
from tests.unit.fake_security import FakeSecurity
from tests.unit.fakes import FakeCluster, FakeIndex

PLANNED = {"domain": "logs", "status": "PLANNED"}
CLOSED = FakeIndex(open=False)
WRITES = {"is_write_index": True}

type Plan = Callable[..., dict[str, Any]]


@pytest.fixture
def planned(source: Side, destination: Side, storage: Storage) -> Plan:
    """Plans the domain of a job; gives what is stored of it."""

    def make(job: DomainJob) -> dict[str, Any]:
        plan.plan_domain(
            artifacts.Side(source.client, source.client),
            artifacts.Side(destination.client, destination.client),
            "mover",
            None,
            storage.records,
            job,
        )
        made: dict[str, Any] = storage.records.read(f"{job.domain.name}/plan")
        return made

    return make


@pytest.fixture
def write(destination: Side, storage: Storage, events: Events) -> Plan:
    """Makes one plan of those of domains; gives what its state passes on."""

    def make(
        *jobs: DomainJob,
        connect: Callable[[Destination], OpenSearch] = lambda _: destination.client,
    ) -> dict[str, Any]:
        outcomes = [{"domain": job.domain.name, "status": "PLANNED"} for job in jobs]
        return plan.write(connect, storage.records, events.bus, jobs, outcomes)

    return make


@pytest.fixture
def written(planned: Plan, write: Plan) -> Plan:
    """Plans a whole migration, as `write` does, and each domain before."""

    def make(*jobs: DomainJob, **options: Any) -> dict[str, Any]:
        for job in jobs:
            planned(job)
        return write(*jobs, **options)

    return make


def verdicts(made: dict[str, Any]) -> dict[str, str]:
    return {index["index"]: index["verdict"] for index in made["indices"]}


def test_each_index_has_a_verdict(
    source: Side, destination: Side, planned: Plan, job: DomainJob
) -> None:
    destination.cluster.disks *= 2
    source.cluster.indices = {
        "logs": FakeIndex(shards=3, replicas=2, primary_bytes=5_000),
        "shut": CLOSED,
        ".kibana_1": FakeIndex(),
        ".ds-events-000001": FakeIndex(),
    }
    source.cluster.data_streams = {"events": [".ds-events-000001"]}
    source.cluster.cold = ["frozen-1", "frozen-2"]

    made = planned(job)

    assert verdicts(made) == {
        "logs": "restore",
        "shut": "reject",
        "events": "reject",
        "frozen-1": "reject",
        "frozen-2": "reject",
        ".kibana_1": "skip",
        ".ds-events-000001": "skip",
    }
    [logs] = [index for index in made["indices"] if index["index"] == "logs"]
    assert (logs["shards"], logs["replicas"], logs["primary_store_bytes"]) == (3, 2, 5_000)
    assert "older than Elasticsearch 6.7" in logs["last_snapshot"]
    for index in made["indices"]:
        assert bool(index["reason"]) == (index["verdict"] != "restore")
        assert bool(index["remedy"]) == (index["verdict"] == "reject")


def test_what_the_input_does_not_want_has_no_verdict(
    source: Side, planned: Plan, make_job: MakeJob
) -> None:
    source.cluster.indices = {"logs": FakeIndex(), "other": FakeIndex()}
    source.cluster.data_streams = {"events": []}
    source.cluster.cold = ["frozen"]

    made = planned(make_job(domain__indices={"include": ["logs"]}))

    assert verdicts(made) == {"logs": "restore"}


@pytest.mark.parametrize("include", [["lgos"], ["none-*"]])
def test_a_name_that_is_not_there(
    source: Side, planned: Plan, make_job: MakeJob, include: list[str]
) -> None:
    source.cluster.indices = {"logs": FakeIndex()}

    with pytest.raises(InvalidInput, match=r"domains\[\]\.indices"):
        planned(make_job(domain__indices={"include": include}))


def test_another_writer_of_the_path_ends_it(source: Side, planned: Plan, job: DomainJob) -> None:
    source.cluster.indices = {"logs": FakeIndex()}
    source.cluster.repositories["nightly"] = {
        "bucket": job.bucket.name,
        "base_path": job.base_path,
    }

    with pytest.raises(Conflict, match="nightly"):
        planned(job)


def test_making_it_changes_nothing(
    source: Side, destination: Side, storage: Storage, written: Plan, job: DomainJob
) -> None:
    source.cluster.indices = {"logs": FakeIndex()}

    written(job)

    for side in (source, destination):
        for request in side.cluster.sent("(PUT|POST|DELETE) .*"):
            # Probes name what doesn't exist, or can't.
            assert request.path == "/_bulk" or any(
                word in request.path.lower() or word in str(request.body).lower()
                for word in ("snapferry", "snapferry.none")
            ), request
        assert side.cluster.repositories == {}
    assert storage.journal.open_changes() == []
    assert destination.cluster.indices == {}


def test_the_plan_names_each_change(source: Side, planned: Plan, job: DomainJob) -> None:
    source.cluster.indices = {"logs": FakeIndex()}

    changes = planned(job)["changes"]

    assert "repository snapferry-m-1-logs (source/logs)" in changes
    assert "repository snapferry-m-1-logs (destination/search.example.com:9200)" in changes
    assert f"restore limit persistent/indices.recovery.max_bytes_per_sec ({DESTINATION})" in changes
    assert not [change for change in changes if change.startswith("role")]


def test_rights_that_will_be_granted_are_changes_and_others_end_it(
    source: Side, destination: Side, storage: Storage, job: DomainJob
) -> None:
    source.cluster.indices = {"logs": FakeIndex()}
    at_source, at_destination = FakeSecurity(source.cluster), FakeSecurity(destination.cluster)
    caller = at_source.client(job.domain.access_role_arn)

    def make(administrator: str) -> None:
        plan.plan_domain(
            artifacts.Side(caller, at_source.client(administrator)),
            artifacts.Side(at_destination.client("mover"), at_destination.client("admin")),
            "mover",
            None,
            storage.records,
            job,
        )

    make("admin")
    changes = storage.records.read("logs/plan")["changes"]
    assert "role snapferry-m-1 (source/logs)" in changes
    assert "role mapping snapferry-m-1/users/mover (destination/search.example.com:9200)" in changes
    assert at_source.mappings == at_destination.mappings == {}

    with pytest.raises(AccessDenied, match=r"lacks permissions.*cluster:admin/snapshot/create"):
        make(job.domain.access_role_arn)


def test_what_matches_and_cannot_be_moved_ends_it_or_stays(
    source: Side, storage: Storage, written: Plan, make_job: MakeJob
) -> None:
    source.cluster.indices = {"logs": FakeIndex(), "shut": CLOSED}

    ended = written(make_job())
    assert ended["error"] == "PlanRejected"
    assert "logs: shut: it is closed" in ended["cause"]
    assert "What to do: open it" in ended["cause"]
    assert (ended["restore"], ended["reject"]) == (1, 1)

    goes_on = written(make_job(rejected="leave_out"))
    assert "error" not in goes_on
    assert listing.left_out(storage.records, "logs") == {"shut"}


def test_where_all_is_left_out_nothing_is_moved(
    source: Side, written: Plan, make_job: MakeJob
) -> None:
    source.cluster.indices = {"shut": CLOSED}

    ended = written(make_job(rejected="leave_out"))

    assert ended["error"] == "PlanRejected"
    assert "logs: nothing of what matches can be moved" in ended["cause"]


def test_what_is_named_is_never_left_out(source: Side, written: Plan, make_job: MakeJob) -> None:
    source.cluster.indices = {"logs": FakeIndex(), "shut": CLOSED}

    ended = written(make_job(rejected="leave_out", domain__indices={"include": ["logs*", "shut"]}))

    assert ended["error"] == "PlanRejected"


def test_two_domains_with_an_index_of_one_name(
    source: Side, storage: Storage, written: Plan, make_job: MakeJob
) -> None:
    source.cluster.indices = {"shared": FakeIndex()}
    jobs = [make_job(domain__name=name) for name in ("logs", "orders")]

    for _ in range(2):
        ended = written(*jobs)

        assert "the domains logs, orders all have an index of this name" in ended["cause"]
        assert ended["reject"] == 2
    assert listing.left_out(storage.records, "orders") == {"shared"}


def test_domains_of_several_destinations_are_in_nobodys_way(
    source: Side, destination: Side, storage: Storage, written: Plan, make_job: MakeJob
) -> None:
    source.cluster.indices = {"shared": FakeIndex(shards=2, aliases={"all": WRITES})}
    destination.cluster.room["cluster.max_shards_per_node"] = "1"
    elsewhere = FakeCluster({})
    jobs = [
        make_job(domain__name="logs"),
        make_job(domain__name="orders", domain__destination=DOMAIN_AS_DESTINATION),
    ]
    clusters = {
        jobs[0].destination.endpoint: destination.client,
        jobs[1].destination.endpoint: elsewhere.client("elsewhere"),
    }

    ended = written(*jobs, connect=lambda target: clusters[target.endpoint])

    assert (ended["restore"], ended["reject"]) == (2, 0)
    made = storage.records.read("plan")
    assert [one["endpoint"] for one in made["destinations"]] == [
        job.destination.endpoint for job in jobs
    ]
    [lack] = made["lacks"]
    assert lack["destination"] == jobs[0].destination.endpoint
    assert f"{lack['destination']}: the destination has 0 shards and takes 2" in ended["cause"]


def test_two_domains_with_a_write_index_of_one_alias(
    source: Side, planned: Plan, write: Plan, make_job: MakeJob
) -> None:
    jobs = [make_job(domain__name=name) for name in ("logs", "orders")]
    for job in jobs:
        source.cluster.indices = {
            f"{job.domain.name}-1": FakeIndex(aliases={"all": {"is_write_index": True}})
        }
        planned(job)

    ended = write(*jobs)

    assert "its alias all would have several write indices: logs, orders" in ended["cause"]


@pytest.mark.parametrize("mode", ["snapshot_only", "rehearse"])
def test_snapshots_and_rehearsals_give_the_destination_no_names(
    source: Side, written: Plan, make_job: MakeJob, mode: str
) -> None:
    source.cluster.indices = {"shared": FakeIndex()}

    ended = written(*(make_job(domain__name=name, mode=mode) for name in ("logs", "orders")))

    assert (ended["restore"], ended["reject"]) == (2, 0)


@pytest.mark.parametrize(
    ("of_logs", "of_orders", "rejected"),
    [
        (
            {},
            {},
            {
                "logs-1": "writes to it by its alias all would be refused: logs, orders all have",
                "orders-1": "writes to it by its alias all would be refused: logs, orders all have",
            },
        ),
        (WRITES, {}, {"orders-1": "writes to it by its alias all would go to that of logs: "}),
        (WRITES, {"is_write_index": False}, {}),
    ],
)
def test_two_domains_with_an_alias_of_a_single_index(
    source: Side,
    storage: Storage,
    planned: Plan,
    write: Plan,
    make_job: MakeJob,
    of_logs: dict[str, Any],
    of_orders: dict[str, Any],
    rejected: dict[str, str],
) -> None:
    jobs = [make_job(domain__name=name) for name in ("logs", "orders")]
    for job, definition in zip(jobs, (of_logs, of_orders), strict=True):
        source.cluster.indices = {f"{job.domain.name}-1": FakeIndex(aliases={"all": definition})}
        planned(job)

    ended = write(*jobs)

    assert ended["reject"] == len(rejected)
    plan_ = storage.records.read("plan")
    reasons = {
        index["index"]: index["reason"]
        for domain in plan_["domains"]
        for index in domain["indices"]
        if index["verdict"] == "reject"
    }
    assert reasons.keys() == rejected.keys()
    assert all(reasons[index].startswith(reason) for index, reason in rejected.items())
    noted = [] if rejected else ["the alias all will stand for indices of logs, orders"]
    assert plan_["notes"] == noted


def test_an_alias_through_which_nobody_can_write_at_the_source_is_noted_alone(
    source: Side, storage: Storage, planned: Plan, write: Plan, make_job: MakeJob
) -> None:
    """It is for reading: another index has it, too, that isn't moved."""
    jobs = [
        make_job(domain__name=name, domain__indices={"include": [f"{name}-*"]})
        for name in ("logs", "orders")
    ]
    for job in jobs:
        names = f"{job.domain.name}-1", "stays"
        source.cluster.indices = {name: FakeIndex(aliases={"all": {}}) for name in names}
        planned(job)

    ended = write(*jobs)

    assert (ended["restore"], ended["reject"]) == (2, 0)
    assert storage.records.read("plan")["notes"] == [
        "the alias all will stand for indices of logs, orders"
    ]


def test_an_alias_that_is_named_as_an_index_of_another_domain(
    source: Side, storage: Storage, planned: Plan, write: Plan, make_job: MakeJob
) -> None:
    jobs = [make_job(domain__name=name) for name in ("logs", "orders")]
    for job, index in zip(
        jobs, ({"orders": FakeIndex()}, {"v1": FakeIndex(aliases={"orders": {}})}), strict=True
    ):
        source.cluster.indices = index
        planned(job)

    ended = write(*jobs)

    assert (ended["restore"], ended["reject"]) == (1, 1)
    assert "the domain logs has an index named as its alias orders" in ended["cause"]
    assert listing.left_out(storage.records, "orders") == {"v1"}


def test_an_alias_that_will_stand_for_indices_of_others_too_is_noted(
    source: Side, destination: Side, storage: Storage, written: Plan, make_job: MakeJob
) -> None:
    reads: dict[str, Any] = {"all": {}}
    source.cluster.indices = {
        "logs-1": FakeIndex(aliases=reads | {"own": WRITES}),
        "logs-2": FakeIndex(aliases=reads),
    }
    destination.cluster.indices = {
        "theirs": FakeIndex(aliases={"all": WRITES, "other": {}}),
        "more": FakeIndex(aliases=reads),
    }

    assert "error" not in written(make_job())

    assert storage.records.read("plan")["notes"] == [
        "logs: the alias all will stand for logs-1, logs-2 and for what the destination has by "
        "this name: more, theirs; what is written through it goes to theirs"
    ]


def test_a_policy_of_the_destination_that_will_act_on_what_comes_is_noted(
    source: Side, destination: Side, storage: Storage, written: Plan, make_job: MakeJob
) -> None:
    source.cluster.indices = {"logs": FakeIndex()}
    destination.cluster.artifacts.kept["policies"] = {
        "clean-up": {"ism_template": [{"index_patterns": ["*"], "last_updated_time": 1}]}
    }

    written(make_job())
    [note] = storage.records.read("plan")["notes"]
    assert note.startswith("logs: the destination's policy clean-up of ")

    written(make_job(mode="snapshot_only"))
    assert storage.records.read("plan")["notes"] == []


def test_a_destination_without_room(
    destination: Side, source: Side, written: Plan, job: DomainJob
) -> None:
    source.cluster.indices = {"logs": FakeIndex(shards=2, replicas=1)}
    destination.cluster.room["cluster.max_shards_per_node"] = "1"

    ended = written(job)

    assert "4 would come. What to do: add data nodes" in ended["cause"]


def test_what_was_restored_before_takes_no_more_room(
    destination: Side, source: Side, storage: Storage, written: Plan, job: DomainJob
) -> None:
    source.cluster.indices = {"logs": FakeIndex(shards=2, replicas=1)}
    destination.cluster.indices = {"logs": FakeIndex(shards=2, replicas=1)}
    destination.cluster.room["cluster.max_shards_per_node"] = "4"
    restored = {"logs": destination.listed("logs")[0]}
    ownership.Ownership(storage.records, job).confirm(restored)

    assert "error" not in written(job)


def test_what_earlier_migrations_left_is_named_with_what_becomes_of_it(
    destination: Side, source: Side, storage: Storage, written: Plan, make_job: MakeJob
) -> None:
    source.cluster.indices = {"a": FakeIndex(), "b": FakeIndex(shards=3), "new": FakeIndex()}
    destination.cluster.indices = {name: FakeIndex() for name in ("a", "b", "gone", "other", "x")}
    job = make_job(domain__indices={"include": ["*"], "exclude": ["x"]})
    kept = {index.name: index for index in destination.listed("a", "b", "gone", "x")}
    ownership.Ownership(storage.records, job).confirm(kept)

    page = storage.s3.objects[written(job)["page"]].decode()

    over, gone = storage.records.read("plan")["notes"]
    assert over.startswith(f"logs: {job.destination.endpoint} has a, b of an earlier migration")
    assert "written over" in over
    assert gone.startswith(f"logs: {job.destination.endpoint} has gone of an earlier migration")
    assert "stays" in gone
    assert over in page
    written(make_job(mode="rehearse"))
    assert storage.records.read("plan")["notes"] == []


def test_a_domain_whose_plan_failed_ends_it_with_its_error(
    destination: Side, storage: Storage, events: Events, job: DomainJob
) -> None:
    failed = {"domain": "logs", "status": "FAILED", "error": "AccessDenied", "cause": "no rights"}

    ended = plan.write(lambda _: destination.client, storage.records, events.bus, [job], [failed])

    assert (ended["error"], ended["cause"]) == ("AccessDenied", "no rights")
    # Who has no right to plan may have none to look for room.
    assert destination.cluster.requests == []
    assert events.fake.told == [("PlanReady", {"migration_id": "m-1", **ended})]


def test_of_several_domains_it_is_named(
    source: Side,
    destination: Side,
    storage: Storage,
    events: Events,
    planned: Plan,
    make_job: MakeJob,
) -> None:
    source.cluster.indices = {"logs": FakeIndex()}
    jobs = [make_job(domain__name=name) for name in ("logs", "orders")]
    planned(jobs[0])
    failed = {"domain": "orders", "status": "FAILED", "error": "AccessDenied", "cause": "no rights"}

    ended = plan.write(
        lambda _: destination.client, storage.records, events.bus, jobs, [PLANNED, failed]
    )

    assert ended["error"] == "PlanRejected"
    assert "orders: no rights" in ended["cause"]


def test_the_page_holds_the_plan_and_nothing_of_it_is_markup(
    source: Side, storage: Storage, written: Plan, make_job: MakeJob
) -> None:
    source.cluster.indices = {
        "logs": FakeIndex(primary_bytes=3_000_000_000),
        "shut": CLOSED,
        "old": FakeIndex(settings={"index.version.created": "6082399"}),
        "own": FakeIndex(
            settings={
                "index.version.created": "136408227",
                "index.analysis.filter.a.synonyms_path": "<script>",
            }
        ),
    }

    page_key = written(make_job())["page"]

    page = storage.s3.objects[page_key].decode()
    for text in ("PlanRejected", "logs", "3.0 GB", "it is closed", "Elasticsearch 6.8.23"):
        assert text in page
    assert "<script>" not in page
    assert "://" not in page
    said = plan.summary(storage.records)
    assert said["plan"].startswith("Indices to be moved: 1, 3.0 GB; skipped: 0; rejected: 3.")
    assert said["page"] == page_key


def test_how_long_it_takes_follows_from_sizes_and_nodes(
    source: Side, destination: Side, storage: Storage, written: Plan, make_job: MakeJob
) -> None:
    source.cluster.indices = {"logs": FakeIndex(primary_bytes=100_000_000_000)}
    destination.cluster.disks = [(10**12, 10**12)] * 2

    written(make_job(cutover__write_stop_seconds=7))
    slow = storage.records.read("plan")
    source.cluster.disks *= 4
    written(make_job(cutover__write_stop_seconds=7))
    fast = storage.records.read("plan")

    assert 0 < fast["copy_seconds"] < slow["copy_seconds"]
    # It goes by a last snapshot, so that writes stop for a copy at the most.
    assert slow["write_stop_seconds"] == slow["copy_seconds"] + 7


def test_no_name_and_no_room_stands_in_the_way_of_a_snapshot(
    source: Side, destination: Side, storage: Storage, written: Plan, make_job: MakeJob
) -> None:
    source.cluster.indices = {"logs": FakeIndex(shards=2, aliases={"all": WRITES})}
    destination.cluster.indices = {
        "logs": FakeIndex(),
        "theirs": FakeIndex(aliases={"all": WRITES}),
    }
    destination.cluster.room["cluster.max_shards_per_node"] = "1"

    assert "error" in written(make_job())
    assert "error" not in written(make_job(mode="snapshot_only"))
    changes = storage.records.read("plan")["changes"]
    assert not [change for change in changes if change.startswith(("restore limit", "write block"))]


def test_what_a_domain_as_destination_refuses_is_noted(
    source: Side, storage: Storage, written: Plan, make_job: MakeJob
) -> None:
    source.cluster.indices = {"logs": FakeIndex()}

    page = written(make_job(destination=DOMAIN_AS_DESTINATION))["page"]

    made = storage.records.read("plan")
    assert not [change for change in made["changes"] if change.startswith("restore limit")]
    [note] = made["notes"]
    assert "Amazon OpenSearch Service lets nobody change them" in note
    assert note in storage.s3.objects[page].decode()


@pytest.mark.parametrize("mode", ["rehearse", "snapshot_only"])
def test_what_does_not_happen_is_not_announced(
    source: Side, storage: Storage, written: Plan, make_job: MakeJob, mode: str
) -> None:
    source.cluster.indices = {"logs": FakeIndex(primary_bytes=3_000_000)}

    page = storage.s3.objects[written(make_job(mode=mode))["page"]].decode()

    made = storage.records.read("plan")
    assert made["mode"] == mode
    assert "write_stop_seconds" not in made
    assert "writes don't stop" in plan.summary(storage.records)["plan"]
    # They have no end, neither by catching up nor by a last snapshot.
    assert [index["last_snapshot"] for index in made["domains"][0]["indices"]] == [""]
    assert "3.0 MB" in page
    for absent in ("caught up", "last snapshot", "writes stop for"):
        assert absent not in page
    taken = [change for change in made["changes"] if change.startswith("running snapshot")]
    assert taken == ["running snapshot snapferry-m-1-logs/snapferry-m-1-logs-1 (source/logs)"]


def test_a_migration_may_take_a_snapshot_for_each_round_and_a_last_one(
    source: Side, storage: Storage, written: Plan, make_job: MakeJob
) -> None:
    source.cluster.indices = {"logs": FakeIndex()}

    written(make_job(cutover__rounds=2))

    made = storage.records.read("plan")
    assert made["mode"] == "migrate"
    changes = [change for change in made["changes"] if change.startswith("running snapshot")]
    assert len(changes) == 3


def test_a_snapshot_alone_is_copied_by_the_source_alone(
    source: Side, storage: Storage, written: Plan, make_job: MakeJob
) -> None:
    source.cluster.indices = {"logs": FakeIndex(primary_bytes=100_000_000_000)}

    written(make_job(mode="rehearse"))
    both = storage.records.read("plan")["copy_seconds"]
    written(make_job(mode="snapshot_only"))

    assert 0 < storage.records.read("plan")["copy_seconds"] < both


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "5.0 s"), (119, "1 min 59 s"), (10_987, "3 h 3 min"), (400_000, "4 d 15 h")],
)
def test_sizes_and_times_are_said_as_in_the_report(seconds: int, said: str) -> None:
    some_plan = {"restore": 0, "skip": 0, "reject": 0, "primary_store_bytes": 5 * 10**12}

    summary = plan_page.summary(
        some_plan | {"copy_seconds": seconds, "write_stop_seconds": seconds}
    )

    assert "5.0 TB;" in summary
    assert f"about {said}, writes stop for about {said}." in summary
