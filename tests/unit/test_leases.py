from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from snapferry import leases
from snapferry.errors import LeaseHeld
from tests.unit.tables import table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

BOTH = ["bucket company-migration", "destination search.example.com"]


@pytest.fixture
def items() -> Iterator["Table"]:
    with table() as made:
        yield made


def test_second_migration_is_refused_and_told_of_the_first(items: "Table") -> None:
    leases.acquire(items, BOTH, "m-1", "arn-1")
    with pytest.raises(LeaseHeld, match=r"bucket company-migration is in use.* m-1\b"):
        leases.acquire(items, BOTH, "m-2", "arn-2")
    leases.acquire(items, BOTH, "m-1", "arn-1")


def test_each_resource_is_leased_by_itself(items: "Table") -> None:
    leases.acquire(items, BOTH[:1], "m-1", "arn-1")
    leases.acquire(items, BOTH[1:], "m-2", "arn-2")
    assert {(lease.resource, lease.migration_id) for lease in leases.held(items)} == {
        (BOTH[0], "m-1"),
        (BOTH[1], "m-2"),
    }


def test_released_lease_can_be_taken(items: "Table") -> None:
    leases.acquire(items, BOTH, "m-1", "arn-1")
    leases.release(items, "m-2")
    leases.release(items, "m-1")
    leases.acquire(items, BOTH, "m-2", "arn-2")


def test_expired_lease_stays_until_its_changes_are_given_back(
    items: "Table", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", -10)
    leases.acquire(items, BOTH[:1], "m-1", "arn-1")
    monkeypatch.undo()
    with pytest.raises(LeaseHeld, match="m-1"):
        leases.acquire(items, BOTH, "m-2", "arn-2")

    [expired] = leases.held(items)
    leases.renew(items, expired)
    [renewed] = leases.held(items)
    assert renewed.expires_at > expired.expires_at


def test_released_lease_is_not_renewed(items: "Table") -> None:
    leases.acquire(items, BOTH[:1], "m-1", "arn-1")
    [old] = leases.held(items)
    leases.release(items, "m-1")
    leases.renew(items, old)
    assert list(leases.held(items)) == []
    leases.acquire(items, BOTH[:1], "m-2", "arn-2")
    leases.renew(items, old)
    assert [lease.migration_id for lease in leases.held(items)] == ["m-2"]
