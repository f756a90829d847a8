import pytest

from snapferry.indices import Index
from snapferry.ownership import Ownership
from snapferry.request import DomainJob
from tests.unit.conftest import MakeJob, Side, Storage
from tests.unit.fakes import FakeIndex

CREATED_AT = 1_800_000_000_000


def by_name(*listed: Index) -> dict[str, Index]:
    return {index.name: index for index in listed}


def index(name: str, uuid: str, created_at_milliseconds: int = CREATED_AT) -> Index:
    return Index(name, uuid, True, 1, 1, 1_000, created_at_milliseconds)


@pytest.fixture
def ownership(storage: Storage, job: DomainJob) -> Ownership:
    return Ownership(storage.records, job)


def test_before_anything_is_restored_everything_is_somebody_elses(ownership: Ownership) -> None:
    assert ownership.of(by_name(index("logs", "a"))) == set()


def test_restored_index_is_known_by_its_uuid(ownership: Ownership) -> None:
    ownership.confirm(by_name(index("logs", "ours")))

    present = by_name(index("logs", "ours"), index("orders", "theirs"))
    assert ownership.of(present) == {"logs"}


def test_index_that_was_made_anew_under_the_name_is_somebody_elses(ownership: Ownership) -> None:
    ownership.confirm(by_name(index("logs", "ours")))

    assert ownership.of(by_name(index("logs", "theirs", CREATED_AT + 1))) == set()


def test_uuid_of_another_name_counts_for_nothing(ownership: Ownership) -> None:
    ownership.confirm(by_name(index("logs", "ours")))

    assert ownership.of(by_name(index("orders", "ours"))) == set()


def test_index_whose_restore_was_not_noted_any_more_is_known_by_its_repository(
    destination: Side, ownership: Ownership, job: DomainJob
) -> None:
    """Its original's age says nothing: people restore it from snapshots of their own, too."""
    ownership.announce({}, ["logs", "made", "orders", "not there"])
    destination.cluster.indices = {
        "logs": FakeIndex(restored_from="s", restored_by=job.repository),
        "made": FakeIndex(),
        "orders": FakeIndex(restored_from="s", restored_by="nightly"),
    }
    present = by_name(*destination.listed())

    assert ownership.find(destination.client, present) == {"logs"}
    assert ownership.of(present) == set()


def test_repository_says_nothing_once_the_restore_is_noted(
    destination: Side, ownership: Ownership, job: DomainJob
) -> None:
    ownership.announce({}, ["logs"])
    ownership.confirm(by_name(index("logs", "ours")))
    destination.cluster.indices = {"logs": FakeIndex(restored_by=job.repository, restored_from="s")}

    # Somebody deleted it, and restored it by the migration's repository.
    assert ownership.find(destination.client, by_name(*destination.listed())) == set()
    assert not destination.cluster.sent("GET .*/_recovery")


def test_announcement_forgets_nothing_that_is_still_there(
    destination: Side, ownership: Ownership, job: DomainJob
) -> None:
    restored = FakeIndex(restored_from="s", restored_by=job.repository)
    destination.cluster.indices = {"logs": FakeIndex(), "orders": restored}
    kept = by_name(*destination.listed("logs"))
    ownership.confirm(kept)
    ownership.announce(kept, ["logs", "orders"])

    assert ownership.find(destination.client, by_name(*destination.listed())) == {"logs", "orders"}


def test_what_was_handed_over_is_nobodys_to_restore_over(ownership: Ownership) -> None:
    present = by_name(index("logs", "ours"))
    ownership.confirm(present)
    ownership.hand_over()

    assert ownership.of(present) == set()


def test_what_another_migration_of_the_domain_restored_is_not_forgotten(
    storage: Storage, make_job: MakeJob, ownership: Ownership
) -> None:
    present = by_name(index("logs-1", "a"), index("orders", "b"))
    ownership.confirm(present)
    of_logs = Ownership(storage.records, make_job(domain__indices={"include": ["logs-*"]}))

    of_logs.hand_over()

    assert ownership.of(present) == {"orders"}


@pytest.mark.parametrize(
    "elsewhere",
    [{"domain__host": "search-other.example.com"}, {"destination__endpoint": "other.example.com"}],
    ids=["domain", "destination"],
)
def test_each_domain_has_its_own_at_each_destination(
    storage: Storage, make_job: MakeJob, ownership: Ownership, elsewhere: dict[str, str]
) -> None:
    present = by_name(index("logs", "ours"))
    ownership.confirm(present)
    other = Ownership(storage.records, make_job(**elsewhere))

    assert other.of(present) == set()
    other.hand_over()
    assert ownership.of(present) == {"logs"}


def test_next_migration_goes_on_with_what_one_before_restored(
    storage: Storage, job: DomainJob, ownership: Ownership
) -> None:
    present = by_name(index("logs", "ours"))
    ownership.confirm(present)

    later = Ownership(storage.records_of("m-2"), job.model_copy(update={"migration_id": "m-2"}))

    assert later.of(present) == {"logs"}
