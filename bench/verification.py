"""Measures the comparison of documents: how many a second, and in how much memory.

`python -m bench.verification` brings the sandbox up, unless it is. Both clusters, the domain's
front and the product share the processors of this machine. The product runs in a process of its
own, as a function does.
"""

import argparse
import multiprocessing
import os
import resource
import time
import uuid
from collections.abc import Iterator
from typing import Any

from opensearchpy.helpers import bulk

from snapferry import clients, indices, request, roll_back, security, verification
from snapferry.request import DomainJob
from snapferry_sandbox import deployment, world
from tests.sandbox.migrations import Sandbox

_INDEX = "bench-verification"
_SHARDS = 3
_MOST_BYTES = 256 * 1024 * 1024


def main() -> None:
    """Runs the measurement, and prints a line for each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000, help="of 200 bytes")
    parser.add_argument("--caught-up", type=int, default=100_000, help="compared one by one")
    options = parser.parse_args()
    with world.running(world.Options(), print) as up:
        sandbox = Sandbox(deployment.deploy(up, print))
        os.environ |= sandbox.function_environment
        migration_id = f"bench-{uuid.uuid4().hex[:12]}"
        [job], _ = request.parse(sandbox.request(_INDEX, verification="full"), migration_id)
        journal, records = clients.journal(migration_id), clients.records(migration_id)
        records.write("jobs", [job.model_dump(mode="json")])
        source, destination = clients.source(job.domain), clients.destination(job.destination)
        security.grant_at_source(journal, source, clients.source_administrator(job.domain), job)
        security.grant_at_destination(
            journal,
            destination,
            clients.destination_administrator(job.destination),
            job,
            clients.destination_user(job.destination),
        )
        try:
            for part, documents, one_by_one in (
                ("digests", options.documents, False),
                ("one by one", options.caught_up, True),
            ):
                _fill(sandbox, documents)
                seconds, most_bytes = _in_process(job, one_by_one)
                print(
                    f"{part}: {documents:,} documents in {seconds:.1f} s, "
                    f"{documents / seconds:,.0f} a second, {most_bytes / 1024**2:.0f} MiB at most"
                )
                assert most_bytes < _MOST_BYTES
        finally:
            roll_back.give_back(journal, records, clients.sides(records), float("inf"))
            for cluster in (sandbox.source, sandbox.destination):
                cluster.indices.delete(index=_INDEX, ignore_unavailable=True)


def _fill(sandbox: Sandbox, documents: int) -> None:
    """Writes the same on both sides, in the same order, so that sequence numbers are the same."""
    for cluster in (sandbox.source, sandbox.destination):
        cluster.indices.delete(index=_INDEX, ignore_unavailable=True)
        cluster.indices.create(
            index=_INDEX,
            body={
                "settings": {
                    "number_of_shards": _SHARDS,
                    "number_of_replicas": 0,
                    "refresh_interval": "30s",
                },
                "mappings": {"properties": {"text": {"type": "keyword", "index": False}}},
            },
        )
        bulk(cluster, _documents(documents), index=_INDEX, chunk_size=5_000)
        cluster.indices.refresh(index=_INDEX)


def _documents(number: int) -> Iterator[dict[str, Any]]:
    text = "x" * 160
    return ({"_id": n, "number": n, "text": text} for n in range(number))


def _in_process(job: DomainJob, one_by_one: bool) -> tuple[float, int]:
    """Compares in a new process; returns the seconds and the most memory that it took."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_compare, (job, one_by_one))


def _compare(job: DomainJob, one_by_one: bool) -> tuple[float, int]:
    source, destination = clients.source(job.domain), clients.destination(job.destination)
    # A migration of its own each time: nothing is compared twice.
    records = clients.records(f"{job.migration_id}-{time.time():.0f}")
    domain, listed = job.domain.name, indices.list_all(source)[_INDEX]
    verification.keep_ends(source, destination, records, domain, [_INDEX], ())
    if one_by_one:
        ends = records.read(f"{domain}/ends")
        # As if nothing had come by the snapshot.
        records.write(f"{domain}/ends", {_INDEX: [end | {"base": -1} for end in ends[_INDEX]]})
    began_at = time.monotonic()
    done = verification.run(source, destination, records, job, "after", [listed])
    seconds = time.monotonic() - began_at
    assert done.has_ended
    done.raise_differences()
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
