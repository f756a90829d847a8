import pytest

from snapferry.indices import Index
from snapferry.ownership import Ownership
from snapferry.request import DomainJob
from tests.unit.conftest import MakeJob, Storage

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


def test_index_whose_restore_was_not_noted_any_more_is_known_by_its_original(
    ownership: Ownership,
) -> None:
    ownership.announce({}, [index("logs", "at the source"), index("orders", "at the source")])

    present = by_name(index("logs", "restored"), index("orders", "theirs", CREATED_AT + 1))
    assert ownership.of(present) == {"logs"}


def test_original_says_nothing_once_the_restore_is_noted(ownership: Ownership) -> None:
    ownership.announce({}, [index("logs", "at the source")])
    ownership.confirm(by_name(index("logs", "ours")))

    # Somebody deleted it, and restored it from a snapshot of their own.
    assert ownership.of(by_name(index("logs", "theirs"))) == set()


def test_announcement_forgets_nothing_that_is_still_there(ownership: Ownership) -> None:
    kept = by_name(index("logs", "ours"))
    ownership.confirm(kept)
    ownership.announce(kept, [index("logs", "at the source", 7), index("orders", "x", 8)])

    present = by_name(index("logs", "ours"), index("orders", "restored", 8))
    assert ownership.of(present) == {"logs", "orders"}


def test_what_was_handed_over_is_nobodys_to_restore_over(ownership: Ownership) -> None:
    present = by_name(index("logs", "ours"))
    ownership.confirm(present)
    ownership.hand_over()

    assert ownership.of(present) == set()


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
