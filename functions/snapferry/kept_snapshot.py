"""A snapshot that lies in the bucket, restored without the source that it is of.

Nothing can be compared with the source then: what a snapshot says of itself is all that is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opensearchpy import OpenSearch

from snapferry import indices, listing
from snapferry.errors import InvalidInput
from snapferry.indices import Index
from snapferry.ownership import Ownership
from snapferry.records import Records
from snapferry.request import DomainJob
from snapferry.verification import Verdict, keep_verdicts
from snapferry.versions import Version

# The status of what has ended is read from the bucket, a file for each shard. Less than a function
# of the plan has.
_STATUS_TIMEOUT_SECONDS = 240


@dataclass(frozen=True)
class KeptSnapshot:
    """What a snapshot says of itself.

    Attributes:
        name: its name.
        version_id: of the engine that took it.
        indices: in it, system indices included.
        data_streams: in it; none where Snapferry has taken it.
        lacking: those that are wanted and that other snapshots of this name or pattern have, with
            the newest of these.
    """

    name: str
    version_id: int
    indices: list[Index]
    data_streams: list[str]
    lacking: Mapping[str, str]

    @property
    def version(self) -> Version:
        """Of the engine that took it; the indices in it were created by none that is newer."""
        return Version.of_id(self.version_id)


def find(destination: OpenSearch, records: Records, job: DomainJob) -> KeptSnapshot:
    """Finds the snapshot that a job restores, and notes its name and what is in it.

    Sources: https://docs.opensearch.org/latest/api-reference/snapshots/get-snapshot/ and
    https://docs.opensearch.org/latest/api-reference/snapshots/get-snapshot-status/

    Args:
        destination: where the repository is registered.
        records: of the migration.
        job: whose snapshot; the newest complete one that its name or pattern stands for.

    Raises:
        InvalidInput: there is none.
    """
    answer = destination.snapshot.get(
        repository=job.repository, snapshot=job.domain.snapshot, ignore_unavailable=True
    )
    complete = sorted(
        (each for each in answer["snapshots"] if each["state"] == "SUCCESS"),
        key=lambda each: each["start_time_in_millis"],
    )
    if not complete:
        raise InvalidInput(
            f"domains[].snapshot: {job.domain.snapshot!r}: there is no complete snapshot of this "
            f"name below {job.base_path} in the bucket; incomplete are "
            f"{indices.some(each['snapshot'] for each in answer['snapshots'])}. Correct it, or "
            "domains[].base_path"
        )
    newest = complete[-1]
    name = newest["snapshot"]
    present = set(newest["indices"])
    lacking = {
        index: each["snapshot"]
        for each in complete
        for index in each["indices"]
        if index not in present
        and not index.startswith(".")
        and indices.is_wanted(index, job.domain.indices)
    }
    status = destination.snapshot.status(
        repository=job.repository, snapshot=name, request_timeout=_STATUS_TIMEOUT_SECONDS
    )
    held = [
        Index(
            name=index,
            uuid="",
            open=True,
            shards=found["shards_stats"]["total"],
            replicas=job.domain.replicas or 0,
            primary_store_bytes=found["stats"]["total"]["size_in_bytes"],
            created_at_milliseconds=0,
        )
        for index, found in sorted(status["snapshots"][0]["indices"].items())
    ]
    noted = {"snapshot": name, "indices": [index.record() for index in held]}
    records.write(_name(job.domain.name), noted)
    return KeptSnapshot(name, newest["version_id"], held, newest.get("data_streams", []), lacking)


def chosen(records: Records, job: DomainJob) -> DomainJob:
    """The job with the name of the snapshot that `find` has found."""
    name = records.read(_name(job.domain.name))["snapshot"]
    return job.model_copy(update={"domain": job.domain.model_copy(update={"snapshot": name})})


def list_indices(destination: OpenSearch, records: Records, job: DomainJob) -> dict[str, int]:
    """Lists what is restored of the snapshot that the plan has found, and stores it.

    Returns:
        How much that is: `indices` and `primary_store_bytes`.

    Raises:
        Conflict: where the destination has an index of such a name that isn't the migrations' own.
    """
    selected = indices.select(
        [Index(**index) for index in records.read(_name(job.domain.name))["indices"]],
        job.domain.indices,
        listing.left_out(records, job.domain.name),
    )
    present = indices.list_all(destination)
    owned = Ownership(records, job).find(destination, present)
    indices.refuse_strangers(selected, present, owned)
    listing.keep(records, job.domain.name, 1, selected)
    return listing.Listing(selected, {}).size()


def verify(
    destination: OpenSearch, records: Records, job: DomainJob, selected: Sequence[Index]
) -> int:
    """Counts the documents of what was restored, looks at its health, and hands it over.

    Args:
        destination: where all its shards are active.
        records: of the migration; they take a verdict for each index.
        job: whose snapshot.
        selected: the indices, as the snapshot has them.

    Returns:
        How many documents there are.

    Raises:
        Unavailable: a shard doesn't answer.
    """
    documents = indices.count(destination, [index.name for index in selected])
    health = indices.health(destination)
    verdicts = [
        Verdict(
            index=index.name,
            source_documents=None,
            destination_documents=documents[index.name],
            shards=index.shards,
            health=health[index.name]["status"],
            faults=[],
        )
        for index in selected
    ]
    keep_verdicts(records, job.domain.name, verdicts)
    # Nothing is restored over them any more.
    Ownership(records, job).hand_over()
    return sum(documents.values())


def _name(domain: str) -> str:
    return f"{domain}/snapshot"
