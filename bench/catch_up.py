"""Measures the tail: documents copied a second, and how long it takes to find deletes.

`python -m bench.catch_up` brings the sandbox up, unless it is. Both clusters, the domain's front
and the product share the processors of this machine. With `--profile`, cProfile says where the
product's own time goes.
"""

import argparse
import cProfile
import os
import random
import time
import uuid
from collections.abc import Iterable
from typing import Any

from opensearchpy.helpers import bulk

from bench.lab import ROUND, taken_base
from snapferry import catchup, clients, restores
from snapferry.ownership import Ownership
from snapferry_sandbox import deployment, world
from tests.sandbox.migrations import Sandbox

_PATIENCE_SECONDS = 300.0
_SHARDS = 3


def main() -> None:
    """Runs the measurements, and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000, help="of 1 KB, to be copied")
    parser.add_argument("--stored", type=int, default=1_000_000, help="among which deletes are")
    parser.add_argument("--deletes", type=int, default=1_000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with world.running(world.Options(), print) as up:
        sandbox = Sandbox(deployment.deploy(up, print))
        os.environ |= sandbox.function_environment
        text = "x" * 960
        seconds = _measure(
            sandbox,
            before=[{"_id": "first", "number": 0}],
            after=({"_id": n, "number": n, "text": text} for n in range(options.documents)),
            profile=options.profile,
        )
        print(
            f"{options.documents:,} documents of 1 KB: {seconds:.2f} s, "
            f"{options.documents / seconds:,.0f} a second"
        )
        chosen = random.Random(1).sample(range(options.stored), options.deletes)  # noqa: S311
        seconds = _measure(
            sandbox,
            before=({"_id": n, "number": n} for n in range(options.stored)),
            after=({"_op_type": "delete", "_id": n} for n in chosen),
            profile=options.profile,
        )
        print(f"{options.deletes:,} deletes among {options.stored:,} documents: {seconds:.2f} s")


def _measure(
    sandbox: Sandbox,
    before: Iterable[dict[str, Any]],
    after: Iterable[dict[str, Any]],
    *,
    profile: bool,
) -> float:
    """Restores an index, changes it at the source; returns the seconds of the round."""
    name = f"bench-{uuid.uuid4().hex[:12]}"
    sandbox.source.indices.create(
        index=name,
        body={
            "settings": {
                "number_of_shards": _SHARDS,
                "number_of_replicas": 0,
                "refresh_interval": "30s",
            },
            "mappings": {"properties": {"text": {"type": "keyword", "index": False}}},
        },
    )
    bulk(sandbox.source, before, index=name, chunk_size=5_000)
    try:
        with taken_base(sandbox, [name]) as base:
            source = clients.source(base.job.domain)
            destination = clients.destination(base.job.destination)
            sides = source, destination, base.records, base.job.domain.name
            started_at = time.time()
            ownership = Ownership(base.records, base.job)
            restores.start(destination, ownership, base.job, ROUND, base.selected, [name])
            assert restores.check(destination, base.selected, started_at, _PATIENCE_SECONDS).ended
            assert not catchup.begin(*sides, [name], ROUND)
            catchup.tune(*sides[1:], [name], ROUND)
            bulk(sandbox.source, after, index=name, chunk_size=5_000)

            profiler = cProfile.Profile()
            if profile:
                profiler.enable()
            done = catchup.run_round(*sides, [name], _PATIENCE_SECONDS)
            profiler.disable()
            if profile:
                profiler.print_stats("cumulative")
            print(done)
            assert all(index.sealed for index in done.indices)
            return done.seconds
    finally:
        for cluster in (sandbox.source, sandbox.destination):
            cluster.indices.delete(index=name, ignore_unavailable=True)


if __name__ == "__main__":
    main()
