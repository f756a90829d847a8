from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import pytest

from snapferry import leases, migration, roll_back
from snapferry.errors import Conflict, LeaseHeld, SnapshotSkipped
from snapferry.fence import Fence
from snapferry.records import Records
from snapferry.request import DomainJob
from tests.unit.conftest import DOMAIN_AS_DESTINATION, Events, MakeJob, Storage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

EXECUTIONS = "arn:aws:states:eu-west-1:222222222222:execution:snapferry-migrate"
BUCKET = "bucket company-migration"
DESTINATION = "cluster search.example.com:9200"
HOST = "search-logs-abc.eu-west-1.es.amazonaws.com"
SOURCE = f"cluster {HOST}"
OTHER_HOST = HOST.replace("logs", "orders")


def begin(
    storage: Storage,
    *jobs: DomainJob,
    migration_id: str = "m-1",
    records: Records | None = None,
) -> None:
    fence = Fence(storage.table, migration_id)
    migration.begin(
        fence,
        storage.table,
        records or storage.records_of(migration_id),
        jobs,
        f"{EXECUTIONS}:{migration_id}",
        fence.effect("r-1", 60_000),
    )


def holders(storage: Storage) -> dict[str, str]:
    return {lease.resource: lease.migration_id for lease in leases.held(storage.table)}


def test_a_migration_that_has_begun_holds_what_it_uses(storage: Storage, job: DomainJob) -> None:
    begin(storage, job)

    assert holders(storage) == dict.fromkeys((BUCKET, DESTINATION, SOURCE), "m-1")
    [kept] = storage.records.read("jobs")
    assert DomainJob.model_validate(kept) == job
    mark = storage.fence.mark()
    assert mark is not None
    assert (mark.state, mark.execution_arn) == ("running", f"{EXECUTIONS}:m-1")


def test_every_destination_is_held(storage: Storage, make_job: MakeJob) -> None:
    begin(
        storage,
        make_job(),
        make_job(domain__name="orders", domain__destination=DOMAIN_AS_DESTINATION),
    )

    other = f"cluster {DOMAIN_AS_DESTINATION['endpoint']}"
    assert holders(storage) == dict.fromkeys((BUCKET, DESTINATION, SOURCE, other), "m-1")


def test_beginning_twice_is_beginning_once(storage: Storage, job: DomainJob) -> None:
    begin(storage, job)
    begin(storage, job)

    assert holders(storage) == dict.fromkeys((BUCKET, DESTINATION, SOURCE), "m-1")


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"destination__endpoint": "other.example.com", "domain__host": OTHER_HOST}, BUCKET),
        ({"bucket__name": "another-bucket", "domain__host": OTHER_HOST}, DESTINATION),
        ({"bucket__name": "another-bucket", "destination__endpoint": "other.example.com"}, SOURCE),
    ],
    ids=["bucket", "destination", "domain"],
)
def test_what_another_migration_uses_is_refused_by_its_name(
    storage: Storage, make_job: MakeJob, changes: dict[str, str], refused: str
) -> None:
    begin(storage, make_job())

    with pytest.raises(LeaseHeld, match=rf"^the {refused} is in use by the migration m-1\."):
        begin(storage, make_job(**changes), migration_id="m-2")
    assert holders(storage)[refused] == "m-1"


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"domain__host": "search.example.com:9200"}, DESTINATION),
        ({"destination__endpoint": HOST, "domain__host": OTHER_HOST}, SOURCE),
    ],
    ids=["source", "destination"],
)
def test_a_cluster_is_not_the_source_of_one_migration_and_the_destination_of_another(
    storage: Storage, make_job: MakeJob, changes: dict[str, str], refused: str
) -> None:
    elsewhere = {"bucket__name": "another-bucket", "destination__endpoint": "other.example.com"}
    begin(storage, make_job())

    with pytest.raises(LeaseHeld, match=rf"^the {refused} is in use by the migration m-1\."):
        begin(storage, make_job(**elsewhere | changes), migration_id="m-2")


def test_a_snapshot_of_a_series_is_skipped_while_another_run_is_not_over(
    storage: Storage, make_job: MakeJob
) -> None:
    nightly = make_job(mode="snapshot_only", cutover__gates=[], series={"name": "nightly"})
    begin(storage, nightly)

    with pytest.raises(SnapshotSkipped, match=r"no snapshot .* in use by the migration m-1\."):
        begin(storage, nightly, migration_id="m-2")


def test_migrations_that_share_nothing_run_side_by_side(
    storage: Storage, make_job: MakeJob
) -> None:
    begin(storage, make_job())
    elsewhere = {"destination__endpoint": "other.example.com", "bucket__name": "another-bucket"}
    begin(storage, make_job(**elsewhere, domain__host=OTHER_HOST), migration_id="m-2")
    assert Counter(holders(storage).values()) == {"m-1": 3, "m-2": 3}

    # A restore without its source leaves that alone.
    elsewhere = {"destination__endpoint": "third.example.com", "bucket__name": "third-bucket"}
    begin(storage, make_job(mode="restore_only", **elsewhere), migration_id="m-3")
    assert Counter(holders(storage).values()) == {"m-1": 3, "m-2": 3, "m-3": 2}


def test_a_migration_that_was_refused_gives_up_what_it_took(
    storage: Storage, events: Events, make_job: MakeJob
) -> None:
    begin(storage, make_job())
    with pytest.raises(LeaseHeld):
        begin(storage, make_job(bucket__name="another-bucket"), migration_id="m-2")
    assert holders(storage)["bucket another-bucket"] == "m-2"

    roll_back.end(Fence(storage.table, "m-2"), storage.table, events.bus)

    assert holders(storage) == dict.fromkeys((BUCKET, DESTINATION, SOURCE), "m-1")


def test_a_roll_back_waits_until_no_lease_is_taken_any_more(
    storage: Storage, job: DomainJob
) -> None:
    seconds_until_quiet = []

    class Storing(Records):
        def write(self, name: str, value: Any) -> str:
            seconds_until_quiet.append(storage.fence.seconds_until_quiet())
            return super().write(name, value)

    begin(storage, job, records=Storing(**vars(storage.records)))

    assert seconds_until_quiet == [pytest.approx(60, abs=2)]
    assert storage.fence.seconds_until_quiet() == 0


def test_a_migration_has_not_ended_before_its_leases_are_given_up(
    storage: Storage, events: Events, job: DomainJob
) -> None:
    class Throttled:
        """A table that deletes nothing at the moment."""

        def __getattr__(self, name: str) -> Any:
            return getattr(storage.table, name)

        def delete_item(self, **_: Any) -> None:
            raise TimeoutError

    begin(storage, job)

    with pytest.raises(TimeoutError):
        roll_back.end(storage.fence, cast("Table", Throttled()), events.bus)

    mark = storage.fence.mark()
    assert mark is not None
    assert mark.state != "ended"


def test_a_name_is_used_once(storage: Storage, events: Events, job: DomainJob) -> None:
    begin(storage, job)
    roll_back.end(storage.fence, storage.table, events.bus)

    with pytest.raises(Conflict, match="start the execution with another name"):
        begin(storage, job)
    assert holders(storage) == {}
