"""Whether the copy is right: every document counted, every shard there, every index healthy."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.errors import Unavailable, VerificationFailed
from snapferry.indices import Index
from snapferry.records import Records

# Below the time-out of a request.
_LONGEST_WAIT_SECONDS = 90


@dataclass(frozen=True)
class Verdict:
    """What was found out about one index.

    Attributes:
        index: its name.
        source_documents: counted at the source.
        destination_documents: counted at the destination; None where the index is missing.
        shards: primaries at the destination.
        health: of the index at the destination: `green`, `yellow`, `red` or `missing`.
        faults: what is wrong, in words; empty where nothing is.
    """

    index: str
    source_documents: int
    destination_documents: int | None
    shards: int
    health: str
    faults: list[str]

    def record(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def verify(source: OpenSearch, destination: OpenSearch, selected: Sequence[Index]) -> list[Verdict]:
    """Compares the documents, shards and health of indices on both sides.

    Args:
        source: where writes have stopped.
        destination: where everything was restored.
        selected: the indices that were moved.

    Returns:
        A verdict for each index.
    """
    present = indices.list_all(destination)
    there = [index.name for index in selected if index.name in present]
    _wait_for_replicas(destination, there)
    health = destination.cluster.health(
        params={"level": "indices", "filter_path": "indices.*.status,indices.*.unassigned_shards"}
    ).get("indices", {})
    source_documents = count(source, [index.name for index in selected])
    destination_documents = count(destination, there)
    return [
        _judge(
            index,
            present.get(index.name),
            health.get(index.name, {}),
            source_documents[index.name],
            destination_documents.get(index.name),
        )
        for index in selected
    ]


def prove(
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    domain: str,
    selected: Sequence[Index],
) -> int:
    """Verifies the copy of a domain, and stores what was found.

    Returns:
        The number of documents, equal on both sides.

    Raises:
        VerificationFailed: where a fault was found.
    """
    verdicts = verify(source, destination, selected)
    records.write(f"{domain}/verification", [verdict.record() for verdict in verdicts])
    raise_faults(verdicts)
    return sum(verdict.source_documents for verdict in verdicts)


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


def count(cluster: OpenSearch, names: Iterable[str]) -> dict[str, int]:
    """Counts the documents of each index after a refresh, nested ones not counted apart.

    One search counts many indices. Partial answers are refused, since an empty answer isn't an
    empty index.

    Raises:
        Unavailable: where a shard didn't answer.
    """
    documents: dict[str, int] = {}
    for path in indices.paths(names):
        piece = path.split(",")
        _complete(cluster.indices.refresh(index=path), path)
        answer = cluster.search(
            index=path,
            body={
                "size": 0,
                "track_total_hits": True,
                "aggs": {"indices": {"terms": {"field": "_index", "size": len(piece)}}},
            },
            params={"allow_partial_search_results": "false"},
        )
        _complete(answer, path)
        counted = {
            bucket["key"]: bucket["doc_count"]
            for bucket in answer["aggregations"]["indices"]["buckets"]
        }
        documents |= {name: counted.get(name, 0) for name in piece}
    return documents


def _wait_for_replicas(destination: OpenSearch, names: Iterable[str]) -> None:
    """Gives the replicas of restored primaries time to be built."""
    for path in indices.paths(names):
        # An answer with 408 says that they aren't there yet; the verdict names the index.
        with contextlib.suppress(Unavailable):
            destination.cluster.health(
                index=path,
                params={"wait_for_status": "green", "timeout": f"{_LONGEST_WAIT_SECONDS}s"},
            )


def _complete(answer: dict[str, Any], path: str) -> None:
    if answer["_shards"]["failed"] or answer.get("timed_out"):
        raise Unavailable(f"{path}: not every shard answered: {answer['_shards']}")


def _judge(
    index: Index,
    copy: Index | None,
    health: dict[str, Any],
    source_documents: int,
    destination_documents: int | None,
) -> Verdict:
    faults: list[str] = []
    status = health.get("status", "missing")
    if copy is None:
        faults.append("the index is missing at the destination")
    else:
        if copy.shards != index.shards:
            faults.append(f"{copy.shards} shards instead of {index.shards}")
        if destination_documents != source_documents:
            faults.append(f"{destination_documents} documents instead of {source_documents}")
        if status != "green":
            faults.append(
                f"health is {status}: {health.get('unassigned_shards', 'some')} shards are "
                "unassigned; add nodes or set domains[].replicas"
            )
    return Verdict(
        index=index.name,
        source_documents=source_documents,
        destination_documents=destination_documents,
        shards=copy.shards if copy else 0,
        health=status,
        faults=faults,
    )
