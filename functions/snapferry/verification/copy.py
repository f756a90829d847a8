"""What is verified while writes are stopped: structure, health, and every document counted."""

import contextlib
import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices, metrics
from snapferry.errors import Unavailable, VerificationFailed
from snapferry.indices import Index
from snapferry.ownership import Ownership
from snapferry.records import Records
from snapferry.request import DomainJob
from snapferry.verification.ends import keep_ends
from snapferry.verification.structure import alias_faults, structural_faults

_STALE = "the source has it no more: an earlier round restored it"
# For all indices together.
_LONGEST_WAIT_SECONDS = 90
_REQUEST_TIMEOUT_SECONDS = _LONGEST_WAIT_SECONDS + 30
_BUILDING_SECONDS = 10


@dataclass(frozen=True)
class Verdict:
    """What was found out about one index.

    Attributes:
        index: its name.
        source_documents: counted at the source; None where that isn't asked.
        destination_documents: counted at the destination; None where the index is missing.
        shards: primaries at the destination.
        health: of the index at the destination: `green`, `yellow`, `red` or `missing`.
        faults: what is wrong, in words; empty where nothing is.
    """

    index: str
    source_documents: int | None
    destination_documents: int | None
    shards: int
    health: str
    faults: list[str]

    def record(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def prove(
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    job: DomainJob,
    selected: Sequence[Index],
    caught_up: Collection[str],
) -> int:
    """Verifies the copy of a domain while writes are stopped, and stores what was found.

    Args:
        source: where writes have stopped.
        destination: where everything was restored.
        records: of the migration.
        job: the domain's.
        selected: the indices that were moved.
        caught_up: the names of those that were caught up; the others were just restored.

    Returns:
        The number of documents, equal on both sides.

    Raises:
        VerificationFailed: where a fault was found.
    """
    domain = job.domain.name
    names = [index.name for index in selected]
    with ThreadPoolExecutor(1) as pool:
        # Clients are waiting.
        verified = pool.submit(verify, source, destination, Ownership(records, job), selected)
        keep_ends(source, destination, records, domain, names, caught_up)
    verdicts = verified.result()
    keep_verdicts(records, domain, verdicts)
    metrics.emit(
        {"DifferencesFound": sum(len(verdict.faults) for verdict in verdicts)},
        migration_id=records.migration_id,
        domain=domain,
    )
    raise_faults(verdicts)
    return sum(verdict.destination_documents or 0 for verdict in verdicts)


def verify(
    source: OpenSearch, destination: OpenSearch, ownership: Ownership, selected: Sequence[Index]
) -> list[Verdict]:
    """Compares the structure, health and number of documents of indices on both sides.

    Args:
        source: where writes have stopped.
        destination: where everything was restored.
        ownership: of what was restored there.
        selected: the indices that were moved.

    Returns:
        A verdict for each index, and for each that an earlier round has restored and that isn't
        moved any more.
    """
    names = [index.name for index in selected]
    present = indices.list_all(destination)
    there = [name for name in names if name in present]
    # Clients are waiting: everything is asked at the same time.
    with ThreadPoolExecutor() as pool:
        healths = pool.submit(_health, destination, there)
        at_source = pool.submit(indices.count, source, names)
        at_destination = pool.submit(indices.count, destination, there)
        structures = pool.submit(structural_faults, source, destination, there)
        aliases = pool.submit(alias_faults, source, destination, names, present.keys())
        health, source_documents = healths.result(), at_source.result()
        destination_documents, structure = at_destination.result(), structures.result()
        in_the_way = aliases.result()
    replicas = ownership.job.domain.replicas
    wanted = {index.name: index.replicas if replicas is None else replicas for index in selected}
    others = [name for name in there if present[name].replicas != wanted[name]]
    for name, settings in indices.settings(destination, others).items():
        if indices.has_replicas_by_nodes(settings):
            wanted[name] = present[name].replicas
    verdicts = [
        _judge(
            index,
            present.get(index.name),
            health.get(index.name, {}),
            source_documents[index.name],
            destination_documents.get(index.name),
            wanted[index.name],
            [*structure.get(index.name, []), *in_the_way.get(index.name, [])],
        )
        for index in selected
    ]
    return verdicts + [
        Verdict(name, 0, None, present[name].shards, "unknown", [_STALE])
        for name in sorted(ownership.of(present) - set(names))
        # What an earlier migration restored and this one leaves out isn't gone.
        if indices.is_wanted(name, ownership.job.domain.indices)
    ]


def keep_verdicts(records: Records, domain: str, verdicts: Iterable[Verdict]) -> None:
    """Stores what was found out about the indices of a domain."""
    records.write(_name(domain), [verdict.record() for verdict in verdicts])


def kept_verdicts(records: Records, domain: str) -> list[dict[str, Any]]:
    """What was found out about the indices of a domain, as plain JSON; nothing before."""
    verdicts: list[dict[str, Any]] = records.read(_name(domain), default=[])
    return verdicts


def raise_faults(verdicts: Sequence[Verdict]) -> None:
    """Raises VerificationFailed, naming the indices and what is wrong with them, if any is."""
    faulty = [verdict for verdict in verdicts if verdict.faults]
    if faulty:
        named = "; ".join(
            f"{verdict.index}: {', '.join(verdict.faults)}" for verdict in faulty[:10]
        )
        raise VerificationFailed(
            f"{len(faulty)} of {len(verdicts)} indices differ from the source: {named}. What to "
            "do: make sure that nothing writes to the source nor to the destination, then start "
            "the migration again."
        )


def _health(destination: OpenSearch, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The health of each index, once the replicas of restored primaries had time to be built."""
    leave_at = time.monotonic() + _LONGEST_WAIT_SECONDS
    for path in indices.paths(names):
        # The verdict names an index that isn't green yet.
        _wait(destination, path, leave_at - time.monotonic(), wait_for_status="green")
    return indices.health(destination)


def replicas_are_built(destination: OpenSearch, names: Iterable[str]) -> bool:
    """Whether no shard is being built any more, after some seconds if need be.

    One that no node may take isn't waited for; `prove` will name its index.
    """
    for path in indices.paths(names):
        _wait(destination, path, _BUILDING_SECONDS, wait_for_no_initializing_shards="true")
        if destination.cluster.health(index=path)["initializing_shards"]:
            return False
    return True


def _wait(destination: OpenSearch, path: str, seconds: float, **until: str) -> None:
    """Waits until the health of indices is as wanted, or the time is over.

    Source: https://docs.opensearch.org/latest/api-reference/cluster-api/cluster-health/
    """
    # An answer with 408 says that it isn't so yet.
    with contextlib.suppress(Unavailable):
        destination.cluster.health(
            index=path,
            params={
                **until,
                "timeout": f"{max(0, round(1000 * seconds))}ms",
                # Without it the client takes `timeout` for its own, and doesn't send it.
                "request_timeout": _REQUEST_TIMEOUT_SECONDS,
            },
        )


def _judge(
    index: Index,
    copy: Index | None,
    health: dict[str, Any],
    source_documents: int,
    destination_documents: int | None,
    replicas: int,
    structure: Sequence[str],
) -> Verdict:
    faults: list[str] = []
    status = health.get("status", "missing")
    if copy is None:
        faults.append("the index is missing at the destination")
    else:
        if copy.created_at_milliseconds != index.created_at_milliseconds:
            faults.append("it is the copy of an index that the source has no more")
        if copy.shards != index.shards:
            faults.append(f"{copy.shards} shards instead of {index.shards}")
        if copy.replicas != replicas:
            faults.append(f"{copy.replicas} replicas instead of {replicas}")
        if destination_documents != source_documents:
            faults.append(f"{destination_documents} documents instead of {source_documents}")
        if status != "green":
            faults.append(
                f"health is {status}: {health.get('unassigned_shards', 'some')} shards are "
                "unassigned; add nodes or set domains[].replicas"
            )
        faults += structure
    return Verdict(
        index=index.name,
        source_documents=source_documents,
        destination_documents=destination_documents,
        shards=copy.shards if copy else 0,
        health=status,
        faults=faults,
    )


def _name(domain: str) -> str:
    return f"{domain}/verification"
