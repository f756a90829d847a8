"""Leases: one migration at a time changes a bucket, a domain or a destination."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from snapferry import table
from snapferry.errors import LeaseHeld

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

# All leases lie in one partition, so that a sweep finds them by one query. No migration has this
# name: `#` isn't allowed in an execution's.
_PARTITION = "#leases"
_RECORD = "lease#"
_OWN = "#execution_arn = :own"

LEASE_SECONDS = 3_600
"""How long a lease lasts. The sweep renews it far more often while the migration runs."""


@dataclass(frozen=True)
class Lease:
    """A lease as it stands in the table.

    Attributes:
        resource: what it is for, such as `bucket company-migration`.
        migration_id: who holds it.
        execution_arn: the execution of that migration.
        expires_at: in seconds of the epoch.
    """

    resource: str
    migration_id: str
    execution_arn: str
    expires_at: int


def acquire(
    items: "Table", resources: Sequence[str], migration_id: str, execution_arn: str
) -> None:
    """Takes leases, or renews them where the migration has them already.

    One that has expired isn't taken over: what its holder changed has to be given back first.

    Args:
        items: the table of the stack.
        resources: what they are for.
        migration_id: who takes them.
        execution_arn: its execution.

    Raises:
        LeaseHeld: naming the migration that has one of them. Those before it stay taken.
    """
    for resource in resources:
        lease = Lease(resource, migration_id, execution_arn, _until())
        if not _put(items, lease, f"attribute_not_exists(#record) OR {_OWN}"):
            held = table.get(items, _PARTITION, _RECORD + resource) or {}
            raise LeaseHeld(
                f"the {resource} is in use by the migration {held.get('holder', 'before')}. What "
                "to do: wait until it has ended, or end it with `snapferry abort` or `snapferry "
                "roll-back`; to move several domains at once, name them all in one input."
            )


def renew(items: "Table", lease: Lease) -> None:
    """Makes a lease last longer, if its holder still has it."""
    _put(items, replace(lease, expires_at=_until()), _OWN)


def held(items: "Table") -> Iterator[Lease]:
    """All leases."""
    for item in table.query(items, _PARTITION, _RECORD):
        yield _lease(item)


def release(items: "Table", migration_id: str) -> None:
    """Gives up all leases of a migration."""
    for lease in list(held(items)):
        if lease.migration_id == migration_id:
            items.delete_item(Key={"migration_id": _PARTITION, "record": _RECORD + lease.resource})


def _put(items: "Table", lease: Lease, condition: str) -> bool:
    return table.put_if(
        items,
        {
            "migration_id": _PARTITION,
            "record": _RECORD + lease.resource,
            "holder": lease.migration_id,
            "execution_arn": lease.execution_arn,
            "expires_at": lease.expires_at,
        },
        condition,
        own=lease.execution_arn,
    )


def _lease(item: dict[str, Any]) -> Lease:
    return Lease(
        item["record"].removeprefix(_RECORD),
        item["holder"],
        item["execution_arn"],
        int(item["expires_at"]),
    )


def _until() -> int:
    return int(time.time()) + LEASE_SECONDS
