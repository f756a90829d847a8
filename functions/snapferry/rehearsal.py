"""A rehearsal: the bulk of a migration with other names at the destination, and nothing is left.

The copies are changes of the migration like any other: the roll-back at its end deletes them.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from opensearchpy import OpenSearch

from snapferry import indices, restores
from snapferry.catchup import primaries
from snapferry.errors import AccessDenied, RequestRefused
from snapferry.indices import Index
from snapferry.journal import Changeable, Journal, Place, destination_side
from snapferry.request import DomainJob
from snapferry.verification import Verdict

_KIND = "rehearsed_copy"


@dataclass(frozen=True)
class RehearsedCopies:
    """Indices that a rehearsal restores, as values that change.

    Attributes:
        cluster: where they are restored.
        names: those that they have there, with commas between them.
    """

    cluster: OpenSearch
    names: str

    def read(self) -> dict[str, bool | None]:
        """Whether each is there: True or None."""
        names = self.names.split(",")
        present = indices.settings(self.cluster, names, ignore_unavailable="true")
        return {name: name in present or None for name in names}

    def write(self, value: Iterable[str]) -> None:
        """Deletes those that are named; a restore makes them."""
        for path in indices.paths(value):
            self.cluster.indices.delete(index=path, params={"ignore_unavailable": "true"})


CHANGEABLES: Mapping[str, Callable[[OpenSearch, str], Changeable]] = {_KIND: RehearsedCopies}


def foresee(job: DomainJob, selected: Sequence[Index]) -> list[Place]:
    """What `start` will change."""
    return [_place(job, copy.name) for copy in copies(job, selected)]


def copies(job: DomainJob, selected: Sequence[Index]) -> list[Index]:
    """The indices with the names that their copies have."""
    return [replace(index, name=job.rehearsal_prefix + index.name) for index in selected]


def start(
    journal: Journal,
    destination: OpenSearch,
    job: DomainJob,
    round_number: int,
    selected: Sequence[Index],
) -> None:
    """Starts to restore a round's snapshot under other names.

    Args:
        journal: of the migration.
        destination: the cluster that takes the copies.
        job: whose snapshot.
        round_number: of the round whose snapshot is restored.
        selected: the indices in it.

    Raises:
        SnapshotInProgress: a snapshot of the destination is in the way; try again later.
    """
    names = [copy.name for copy in copies(job, selected)]
    there = indices.list_all(destination).keys() & set(names)
    if restores.started_before(destination, job, round_number, there):
        return
    journal.note_all(dict.fromkeys(_place(job, name) for name in names), value=True)
    restores.restore(
        destination,
        job,
        round_number,
        [index.name for index in selected],
        rename_pattern="(.+)",
        rename_replacement=f"{job.rehearsal_prefix}$1",
    )


@indices.may_go()
def verify(
    source: OpenSearch, destination: OpenSearch, job: DomainJob, selected: Sequence[Index]
) -> list[Verdict]:
    """Compares the documents of the copies with those of the source.

    Clients write on, so that only an index whose sequence numbers are still those of its copy has
    to have the same documents. One that they have deleted, closed or made anew isn't asked for.

    Args:
        source: the domain.
        destination: where all shards of the copies are active.
        job: whose copies.
        selected: the indices.

    Returns:
        A verdict for each index.

    Raises:
        Unavailable: where one is deleted or closed at this moment; then call again.
    """
    present = indices.list_all(source)
    there = [
        index.name
        for index in selected
        if (now := present.get(index.name)) and now.open and now.uuid == index.uuid
    ]
    at_source = indices.count(source, there)
    at_destination = indices.count(destination, [copy.name for copy in copies(job, selected)])
    health = indices.health(destination)
    verdicts = []
    for index, copy in zip(selected, copies(job, selected), strict=True):
        expected, found = at_source.get(index.name), at_destination[copy.name]
        differs = (
            expected is not None
            and found != expected
            and _is_unchanged(source, index, destination, copy)
        )
        verdicts.append(
            Verdict(
                index=index.name,
                source_documents=expected,
                destination_documents=found,
                shards=index.shards,
                health=health[copy.name]["status"],
                faults=[f"{found} documents instead of {expected}"] if differs else [],
            )
        )
    return verdicts


def _is_unchanged(source: OpenSearch, index: Index, destination: OpenSearch, copy: Index) -> bool:
    """Whether nothing has been written to an index since the snapshot."""
    # Where the domain doesn't let itself be asked, that isn't known.
    with contextlib.suppress(AccessDenied, RequestRefused):
        original, copied = (
            [primary.max_seq_no for primary in primaries.look(cluster, [name]).get(name, [])]
            for cluster, name in ((source, index.name), (destination, copy.name))
        )
        return original == copied
    return False


def _place(job: DomainJob, name: str) -> Place:
    return Place(destination_side(job.destination.endpoint), _KIND, name)
