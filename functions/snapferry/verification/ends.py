"""Up to which operations both sides are compared once clients write again."""

import contextlib
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from opensearchpy import OpenSearch

from snapferry import indices
from snapferry.catchup import marks, primaries
from snapferry.catchup.primaries import Primary
from snapferry.engines import Engine
from snapferry.errors import AccessDenied, RequestRefused, SourceChanged
from snapferry.records import Records
from snapferry.verification.slices import Ends


def keep_ends(
    source: OpenSearch,
    destination: OpenSearch,
    records: Records,
    domain: str,
    names: Sequence[str],
    caught_up: Collection[str],
) -> None:
    """Notes the last operation of each shard, while nobody writes to either side.

    Where the source is too old to be caught up, or doesn't let everybody look at its shards,
    nothing is noted.

    Args:
        source: the domain.
        destination: where the indices are.
        records: of the migration.
        domain: the domain's name.
        names: of the indices.
        caught_up: those of them that were caught up; the others were just restored.

    Raises:
        SourceChanged: where a client has written to one of these after its snapshot.
    """
    if Engine.of(source).needs_types:
        return
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(primaries.look, destination, names)
        at_source: dict[str, list[Primary]] = {}
        with contextlib.suppress(AccessDenied, RequestRefused):
            at_source = primaries.look(source, names)
        at_destination = answer.result()
    already = set(caught_up)
    bases = {
        stored.index: [shard.base for shard in stored.shards]
        for stored in marks.load(records, domain, already)
    }
    late = []
    ends = {}
    for name, here in at_source.items():
        there = at_destination.get(name, [])
        if len(here) != len(there):
            continue  # Which is a fault of its own.
        if name not in already:
            late += [
                f"{name}[{original.shard}]"
                for original, copy in zip(here, there, strict=True)
                if original.max_seq_no != copy.max_seq_no
            ]
        ends[name] = [
            asdict(
                Ends(
                    base=base,
                    source=original.max_seq_no,
                    destination=copy.max_seq_no,
                    deletions=copy.deletions,
                    lineage=copy.lineage,
                )
            )
            for original, copy, base in zip(
                here, there, bases.get(name, [copy.max_seq_no for copy in there]), strict=True
            )
        ]
    if late:
        raise SourceChanged(
            f"{indices.some(late)}: written to at the source after the last snapshot was taken"
        )
    records.write(_name(domain), ends)


def kept_ends(records: Records, domain: str) -> dict[str, list[Ends]]:
    """Those of each index; empty where none could be noted."""
    return {
        name: list(map(Ends.of, shards))
        for name, shards in records.read(_name(domain), default={}).items()
    }


def _name(domain: str) -> str:
    return f"{domain}/ends"
