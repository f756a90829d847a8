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

from snapferry import (
    catchup,
    clients,
    indices,
    repositories,
    request,
    restores,
    roll_back,
    security,
    snapshots,
)
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
        account = up.s3.accounts["destination"]
        os.environ |= {
            "AWS_ACCESS_KEY_ID": account.access_key,
            "AWS_SECRET_ACCESS_KEY": account.secret_key,
            "AWS_DEFAULT_REGION": up.aws.region,
            "AWS_ENDPOINT_URL": up.aws.endpoint,
            "REQUESTS_CA_BUNDLE": str(up.ca_bundle_file),
            "RECORDS_BUCKET": up.deployment["records_bucket"],
            "TABLE_NAME": up.deployment["table"],
        }
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
    migration_id = f"bench-{uuid.uuid4().hex[:12]}"
    [job], _ = request.parse(
        sandbox.request(migration_id, bucket__base_path=f"snapferry/{migration_id}"), migration_id
    )
    source, destination = clients.source(job.domain), clients.destination(job.destination)
    records, journal = clients.records(migration_id), clients.journal(migration_id)
    domain, names = job.domain.name, [migration_id]
    sandbox.source.indices.create(
        index=migration_id,
        body={
            "settings": {
                "number_of_shards": _SHARDS,
                "number_of_replicas": 0,
                "refresh_interval": "30s",
            },
            "mappings": {"properties": {"text": {"type": "keyword", "index": False}}},
        },
    )
    bulk(sandbox.source, before, index=migration_id, chunk_size=5_000)
    records.write("jobs", [job.model_dump(mode="json")])
    security.grant_at_source(journal, source, clients.source_administrator(job.domain), job)
    security.grant_at_destination(
        journal,
        destination,
        clients.destination_administrator(job.destination),
        job,
        clients.destination_user(job.destination),
    )
    repositories.register_source(journal, source, job)
    repositories.register_destination(journal, destination, job)
    try:
        selected = [indices.list_all(source)[migration_id]]
        catchup.keep_base(source, records, domain, names, 1, _PATIENCE_SECONDS)
        snapshot = snapshots.start(journal, source, job, 1, names)
        assert snapshots.check(source, job, snapshot, _PATIENCE_SECONDS).ended
        started_at = time.time()
        restores.start(destination, Ownership(records, job), job, 1, selected, names)
        assert restores.check(destination, selected, started_at, _PATIENCE_SECONDS).ended
        catchup.tune(destination, records, domain, names, 1)
        assert not catchup.begin(source, destination, records, domain, names, 1)
        bulk(sandbox.source, after, index=migration_id, chunk_size=5_000)

        profiler = cProfile.Profile()
        if profile:
            profiler.enable()
        done = catchup.run_round(source, destination, records, domain, names, _PATIENCE_SECONDS)
        profiler.disable()
        if profile:
            profiler.print_stats("cumulative")
        print(done)
        assert all(index.sealed for index in done.indices)
        return done.seconds
    finally:
        roll_back.give_back(journal, records, clients.sides(records), float("inf"))
        for cluster in (sandbox.source, sandbox.destination):
            cluster.indices.delete(index=migration_id, ignore_unavailable=True)


if __name__ == "__main__":
    main()
