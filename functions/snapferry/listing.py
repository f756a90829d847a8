"""What a round moves: the indices that it has listed, and those of them that its snapshot takes."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.errors import NotFound
from snapferry.indices import Index
from snapferry.ownership import Ownership
from snapferry.records import Records
from snapferry.request import DomainJob
from snapferry.ways import Ways

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """What both sides have at one moment.

    Attributes:
        selected: the indices of the source that are to be moved, in the order of their names.
        owned: those at the destination that are the migrations' own, by name.
    """

    selected: list[Index]
    owned: Mapping[str, Index]

    def size(self) -> dict[str, int]:
        """How much there is to move: `indices` and `primary_store_bytes`."""
        return {
            "indices": len(self.selected),
            "primary_store_bytes": sum(index.primary_store_bytes for index in self.selected),
        }


def make(
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    job: DomainJob,
    round_number: int,
) -> Listing:
    """Lists what a round has to move, and stores it.

    Args:
        source: the domain.
        destination: the cluster that takes the indices.
        records: of the migration.
        job: the domain's.
        round_number: counted from 1.

    Returns:
        What both sides have.

    Raises:
        InvalidInput: where a name that was given isn't there.
        Conflict: where the destination has an index of such a name that isn't the migrations' own.
    """
    with ThreadPoolExecutor(1) as pool:
        at_destination = pool.submit(indices.list_all, destination)
        selected = indices.select(
            indices.list_all(source).values(),
            job.domain.indices,
            left_out(records, job.domain.name),
        )
        present = at_destination.result()
    owned = Ownership(records, job).find(destination, present)
    # Nothing else than a migration writes over indices.
    if job.mode == "migrate":
        indices.refuse_strangers(selected, present, owned)
    keep(records, job.domain.name, round_number, selected)
    return Listing(selected, {name: present[name] for name in sorted(owned)})


def keep(records: Records, domain: str, round_number: int, selected: Sequence[Index]) -> None:
    """Stores what a round has listed."""
    records.write(_name(domain, round_number), [index.record() for index in selected])


def selected(records: Records, domain: str, round_number: int) -> list[Index]:
    """What a round has listed."""
    return [Index(**index) for index in records.read(_name(domain, round_number))]


def keep_left_out(records: Records, domain: str, names: Iterable[str]) -> None:
    """Stores which indices the plan leaves at the source, though the input matches them."""
    records.write(_left_out(domain), sorted(names))


def left_out(records: Records, domain: str) -> set[str]:
    """The names of the indices that the plan leaves at the source."""
    return set(records.read(_left_out(domain), default=[]))


def forget_gone(
    source: OpenSearch, records: Records, domain: str, round_number: int
) -> list[Index]:
    """Takes out of a round what has gone since it was listed: a snapshot may wait for hours.

    Returns:
        Those that the round's snapshot takes, at least one: a snapshot of none would be of all.

    Raises:
        NotFound: where none of them is left.
    """
    present = indices.list_all(source)
    listed = selected(records, domain, round_number)
    gone = [index.name for index in listed if index.name not in present]
    left = [index for index in for_snapshot(records, domain, round_number) if index.name in present]
    if not left:
        raise NotFound(
            f"{indices.some(gone)}: deleted at the source since the round has listed them, and its "
            "snapshot would hold nothing else. What to do: start the migration again; what was "
            "copied is reused."
        )
    if gone:
        logger.warning("deleted at the source since the round has listed them: %s", gone)
        keep(records, domain, round_number, [index for index in listed if index.name in present])
    return left


def for_snapshot(records: Records, domain: str, round_number: int) -> list[Index]:
    """Those that the round's snapshot takes; the others are caught up."""
    already = set(Ways.of(records, domain).caught_up)
    listed = selected(records, domain, round_number)
    return [index for index in listed if index.name not in already]


def _name(domain: str, round_number: int) -> str:
    return f"{domain}/indices-{round_number}"


def _left_out(domain: str) -> str:
    return f"{domain}/left-out"
