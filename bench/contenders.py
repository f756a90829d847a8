"""Ways to move indices, each from the base to a client that writes to the destination.

Those that are done by hand elsewhere are done here as well as can be: one call follows the other at
once, waits inside the cluster where it can, and nobody looks anything up.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from bench.lab import GATE_ANSWERED_AFTER_SECONDS, ROUND, Lab, Measured
from snapferry import aliases, catchup, clients, verification
from snapferry.ownership import Ownership
from snapferry_cli.migration import Migration
from snapferry_sandbox import network
from snapferry_sandbox.demo.operator import AnsweredGate, measure_write_stop
from snapferry_sandbox.demo.writer import Ledger
from snapferry_sandbox.opensearch.cluster import Cluster
from snapferry_sandbox.world import ROOT

_LOOK_SECONDS = 0.1
_ROUNDS_OF_CATCHING_UP = 3
_ROUND_SECONDS = 600
_ELASTICDUMP = ROOT / "node_modules" / ".bin" / "elasticdump"
_DUMP_DOCUMENTS = 1_000


def snapferry(lab: Lab) -> Measured:
    """The deployed workflow, whole; the churn is written while it restores its first snapshot.

    Where that was so before, with this churn, the network isn't limited until writes stop.
    Documents are counted, not compared one with the other, which the other ways don't do either.
    """
    sandbox = lab.sandbox
    started = sandbox.start(
        sandbox.request(
            *lab.workload.indices,
            bucket__base_path=f"snapferry/bench-{time.time_ns()}",
            cutover={"gates": ["stop_writes", "clients_moved"]},
            verification="quick",
        )
    )
    migration = Migration(
        started.migration_id, started.execution_arn, sandbox.executions, sandbox.table
    )
    answered: list[AnsweredGate] = []
    resumed_at = 0.0
    with contextlib.ExitStack() as unlimited:
        unlimited.enter_context(network.lifted())
        while not _has_taken_snapshot(lab, migration):
            time.sleep(_LOOK_SECONDS)
        if not lab.has_churned:
            unlimited.close()
        lab.write_churn()
        lab.client.start(sandbox.source)
        while (look := migration.look()).status == "RUNNING":
            for gate in look.open_gates:
                if gate.name == "stop_writes":
                    unlimited.close()
                    time.sleep(next(lab.seconds_until_answer))
                    lab.client.stop()
                else:
                    resumed_at = lab.workload.first_write(sandbox.destination)
                    lab.compare()
                migration.approve(gate, by="bench")
                answered.append(AnsweredGate(gate.name, gate.announced_at, time.time()))
            time.sleep(_LOOK_SECONDS)
    assert look.status == "SUCCEEDED", look
    assert look.ended_at
    write_stop = measure_write_stop(
        Ledger(last_accepted_at=lab.client.last_accepted_at),
        Ledger(first_accepted_at=resumed_at),
        answered,
    )
    waited_seconds = sum(gate.answered_at - gate.announced_at for gate in answered)
    return Measured(write_stop.seconds, look.ended_at - look.started_at - waited_seconds)


def _has_taken_snapshot(lab: Lab, migration: Migration) -> bool:
    look = migration.look()
    assert look.status == "RUNNING", look
    return any(
        snapshot["status"] == "SUCCESS"
        for repository in lab.sandbox.source.snapshot.get_repository()
        if migration.migration_id in repository
        for snapshot in lab.sandbox.source.cat.snapshots(
            repository=repository, format="json", ignore_unavailable="true"
        )
        if snapshot["id"] == f"{repository}-1"
    )


def guide_default(lab: Lab) -> Measured:
    """By hand as the manual goes: last incremental snapshot and whole restore in the write stop."""
    lab.write_until_stop()
    lab.bulk_seconds = lab.restore(lab.take_snapshot())
    return lab.resume(lab.base.snapshot_seconds)


def guide_tuned(lab: Lab) -> Measured:
    """The same with the destination's limits of recoveries lifted."""
    with lab.tuned():
        return guide_default(lab)


def warm_restore(lab: Lab) -> Measured:
    """The last snapshot is restored over closed indices, which have the base: what differs."""
    with lab.tuned():
        bulk_seconds = lab.restore_base()
        lab.sandbox.destination.indices.close(index=",".join(lab.workload.indices))
        lab.write_until_stop()
        lab.restore(lab.take_snapshot())
        return lab.resume(lab.base.snapshot_seconds + bulk_seconds)


def bare_api(lab: Lab) -> Measured:
    """The last steps of Snapferry by bare calls: what the workflow around them adds is missing."""
    base = lab.base
    domain, names = base.job.domain.name, lab.workload.indices
    source, destination = clients.source(base.job.domain), clients.destination(base.job.destination)
    sides = source, destination, base.records, domain
    with lab.tuned():
        seconds_before = base.snapshot_seconds + lab.restore_base()
    started_at = time.monotonic()
    assert not catchup.begin(*sides, names, ROUND)
    catchup.tune(destination, base.records, domain, names, ROUND)

    def catch_up() -> None:
        for _ in range(_ROUNDS_OF_CATCHING_UP):
            catchup.run_round(*sides, names, _ROUND_SECONDS)

    lab.write_until_stop(catch_up)
    seconds_before += time.monotonic() - started_at
    catchup.freeze(base.journal, source, domain, names, _ROUND_SECONDS)
    catchup.run_last_round(*sides, names, _ROUND_SECONDS)
    catchup.give_back(destination, base.records, domain, names, ROUND)
    ownership = Ownership(base.records, base.job)
    verification.raise_faults(verification.verify(source, destination, ownership, base.selected))
    aliases.move(source, destination, names)
    return lab.resume(seconds_before)


def reindex_from_remote(lab: Lab) -> Measured:
    """The destination reads all documents from the source, its indices side by side."""
    source, destination = lab.sandbox.world.sources[0], lab.sandbox.destination
    lab.workload.create(destination, refresh_interval="-1")
    lab.write_until_stop()
    lab.sandbox.source.indices.refresh(index=",".join(lab.workload.indices))
    tasks = [
        destination.reindex(
            body={
                "source": {
                    "remote": {
                        "host": source.url,
                        "username": source.user,
                        "password": source.password,
                    },
                    "index": index,
                },
                "dest": {"index": index},
            },
            params={"wait_for_completion": "false"},
        )["task"]
        for index in lab.workload.indices
    ]
    while tasks:
        answer = destination.tasks.get(task_id=tasks[0])
        if answer["completed"]:
            assert not answer["response"]["failures"], answer
            tasks.pop(0)
        else:
            time.sleep(_LOOK_SECONDS)
    return lab.resume()


def elasticdump(lab: Lab) -> Measured:
    """The tool of this name reads all documents and writes them, an index for each process."""
    source, destination = lab.sandbox.world.sources[0], lab.sandbox.world.destinations[0]
    lab.workload.create(lab.sandbox.destination, refresh_interval="-1")
    lab.write_until_stop()
    lab.sandbox.source.indices.refresh(index=",".join(lab.workload.indices))
    environment = os.environ | {"NODE_EXTRA_CA_CERTS": str(source.ca_file)}
    dumps = [
        subprocess.Popen(
            [
                _ELASTICDUMP,
                f"--input={_with_password(source)}/{index}",
                f"--output={_with_password(destination)}/{index}",
                "--type=data",
                f"--limit={_DUMP_DOCUMENTS}",
                "--noRefresh",
                "--quiet",
            ],
            env=environment,
        )
        for index in lab.workload.indices
    ]
    for dump in dumps:
        assert dump.wait() == 0
    return lab.resume()


def _with_password(cluster: Cluster) -> str:
    address = urlsplit(cluster.url)
    return f"{address.scheme}://{cluster.user}:{cluster.password}@{address.netloc}"


CONTENDERS: dict[str, Callable[[Lab], Measured]] = {
    contender.__name__: contender
    for contender in (
        snapferry,
        guide_default,
        guide_tuned,
        warm_restore,
        reindex_from_remote,
        elasticdump,
        bare_api,
    )
}
COPY_EVERYTHING = {"guide_default", "guide_tuned", "reindex_from_remote", "elasticdump"}
"""These copy everything in the write stop, so what was written before makes no difference."""
WRITE_STOPS = {"snapferry": len(GATE_ANSWERED_AFTER_SECONDS), "bare_api": 3}
"""So many of these are measured: they stop writes for so short that chance shows in it."""
