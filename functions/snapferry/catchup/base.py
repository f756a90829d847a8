"""What a snapshot surely holds, noted before it is requested.

It is an object of the records, written once: an earlier attempt may have requested the snapshot,
and a later base would promise too much. The restored shards don't say it. A snapshot taken while
clients write can hold an operation and lack one before it, and the restore fills the gap.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

from opensearchpy import OpenSearch

from snapferry.catchup import primaries
from snapferry.catchup.primaries import Lineage, Primary
from snapferry.errors import Unavailable
from snapferry.records import Records

_LOOK_EVERY_SECONDS = 0.5


def keep_base(
    source: OpenSearch,
    records: Records,
    domain: str,
    names: Sequence[str],
    round_number: int,
    hold_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Notes the base of a snapshot before it is requested, unless an earlier attempt has.

    Args:
        source: the domain.
        records: of the migration.
        domain: the domain's name.
        names: the indices that the snapshot will hold.
        round_number: of the snapshot.
        hold_seconds: how long to wait for a checkpoint that isn't known yet.
        sleep: waits.

    Raises:
        Unavailable: where a shard's checkpoint isn't known by then.
    """
    leave_at = time.monotonic() + hold_seconds
    while True:
        found = primaries.look(source, names)
        unknown = [
            name
            for name, index_primaries in found.items()
            if any(
                primary.global_checkpoint == primaries.UNKNOWN_CHECKPOINT
                for primary in index_primaries
            )
        ]
        if not unknown:
            break
        if time.monotonic() >= leave_at:
            raise Unavailable(f"{unknown[0]}: the checkpoint of its primaries isn't known yet")
        sleep(_LOOK_EVERY_SECONDS)
    records.write_once(
        _name(domain, round_number),
        {
            name: [asdict(primary) for primary in index_primaries]
            for name, index_primaries in found.items()
        },
    )


def kept_base(records: Records, domain: str, round_number: int) -> dict[str, list[Primary]]:
    """The base of a snapshot by index; empty where none was kept."""
    return {
        name: [
            Primary(**{**primary, "lineage": Lineage(**primary["lineage"])})
            for primary in index_primaries
        ]
        for name, index_primaries in records.read(_name(domain, round_number), default={}).items()
    }


def _name(domain: str, round_number: int) -> str:
    return f"{domain}/base-{round_number}"
