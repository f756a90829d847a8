"""Measures how long writes stop, by Snapferry and by what people use otherwise.

    make bench

Two clusters, the same data and the same churn for all. There are indices of three sizes. Of each a
base snapshot is taken, then clients write (the churn), then each contender in its turn takes the
indices of each size from there to the first write at the destination, and its copy is compared. The
churn is the same number of operations at each size, so that only the data grow: as many documents
as a hundredth of the largest size are appended; with `random` two thousandths are updated and a
thousandth is deleted besides, all over the documents. Until writes stop, a client does the same a
hundred times a second.

Every node has the same limited network (`snapferry_sandbox.network`), for snapshots, restores and
documents alike. To save time, what is the same for several is measured once, or isn't limited:

- loading the data isn't measured, and the first snapshot, which no write stop has, isn't limited;
- guide_default, guide_tuned, reindex_from_remote and elasticdump copy everything in the write stop,
  whatever was written before it: they are measured with the first churn, and count for the others;
- warm_restore and bare_api restore the base while clients write: that counts for as long as the
  restore of guide_tuned took, which is the same work, and isn't limited;
- snapferry and bare_api stop writes for so short that chance shows: theirs is the median of several
  write stops, at which the sizes take turns, so that no size has the quicker half of an hour
  for itself. What comes before the others than the first isn't limited, and doesn't count.
"""

import argparse
import contextlib
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from bench import results
from bench.contenders import CONTENDERS, COPY_EVERYTHING, WRITE_STOPS
from bench.lab import Lab, Measured, taken_base
from bench.results import Figures, Results
from bench.workload import Churn, Workload, write
from snapferry_sandbox import deployment, network, world
from snapferry_sandbox.world import ROOT, World
from tests.sandbox.migrations import Sandbox

_CHURNS: tuple[Churn, ...] = ("random", "appends")
_SIZES = (325_000, 650_000, 1_300_000)
_CAP_BYTES_PER_SECOND = 4_000_000
_APPENDED_SHARE = 0.01


def main() -> None:
    """Run the measurements, and store them."""
    options = _parser().parse_args()
    wanted = world.Options(
        node_bytes_per_second=options.cap,
        destination_settings={
            # Only so it may read from the source by reindex.
            "reindex.remote.allowlist": "127.0.0.1:*",
            "reindex.ssl.certificate_authorities": "certificates/ca.pem",
        },
    )
    with world.running(wanted, print) as up:
        figures = measure(
            up,
            options.sizes,
            [churn for churn in _CHURNS if churn in options.churns],
            [name for name in CONTENDERS if name in options.contenders],
        )
        Results(
            versions={
                "opensearch": up.sources[0].version,
                "elasticdump": _elasticdump_version(),
                "snapferry": version("snapferry"),
            },
            cap={"bytes_per_second_per_node_and_direction": options.cap},
            appends=figures.get("appends", Figures()),
            random=figures.get("random", Figures()),
        ).save(options.output)


def measure(
    up: World, sizes: Sequence[int], churns: Sequence[Churn], contenders: Sequence[str]
) -> dict[Churn, Figures]:
    """Measure contenders, each of them at all sizes before the next.

    Args:
        up: a world with limited network.
        sizes: numbers of documents; each has indices of its own.
        churns: which.
        contenders: which; if snapferry is one, then the first.
    """
    workloads = [Workload(str(size)) for size in sizes]
    with network.lifted():
        sandbox = Sandbox(deployment.deploy(up, print))
        for size, workload in zip(sizes, workloads, strict=True):
            sandbox.source.indices.delete(
                index=",".join(workload.indices), params={"ignore_unavailable": "true"}
            )
            workload.create(sandbox.source)
            write(sandbox.source, workload.appends(size))
            sandbox.source.indices.flush(index=",".join(workload.indices))
    os.environ |= sandbox.function_environment
    figures = {churn: Figures() for churn in churns}
    shared: dict[str, list[Measured]] = {}
    bulk_seconds: list[float | None] = [None] * len(sizes)
    for churn in churns:
        with contextlib.ExitStack() as stack:
            with network.lifted():
                bases = [
                    stack.enter_context(taken_base(sandbox, workload.indices))
                    for workload in workloads
                ]
            figures[churn].sizes_bytes = [base.size_bytes for base in bases]
            appended = round(max(sizes) * _APPENDED_SHARE)
            labs = [
                Lab(sandbox, workload, churn, appended, base, seconds)
                for workload, base, seconds in zip(workloads, bases, bulk_seconds, strict=True)
            ]
            for name in contenders:
                measured = shared.get(name) or _measure_in_turns(labs, name)
                if name in COPY_EVERYTHING:
                    shared[name] = measured
                for each in measured:
                    figures[churn].add(name, each.write_stop_seconds, each.total_seconds)
            bulk_seconds = [lab.bulk_seconds for lab in labs]
    return figures


def _measure_in_turns(labs: Sequence[Lab], name: str) -> list[Measured]:
    """Measure a contender at each size; where several write stops count, the sizes take turns."""
    turns = [[_measure_once(lab, name) for lab in labs] for _ in range(WRITE_STOPS.get(name, 1))]
    return [_median(write_stops) for write_stops in zip(*turns, strict=True)]


def _median(write_stops: Sequence[Measured]) -> Measured:
    write_stop_seconds = statistics.median(each.write_stop_seconds for each in write_stops)
    return replace(write_stops[0], write_stop_seconds=write_stop_seconds)


def _measure_once(lab: Lab, name: str) -> Measured:
    try:
        measured = CONTENDERS[name](lab)
    finally:
        lab.clean()
    print(
        f"{lab.churn}, {lab.base.size_bytes / 1e6:,.0f} MB, {name}: writes stop for "
        f"{measured.write_stop_seconds:.2f} s, {measured.total_seconds:.1f} s in all",
        flush=True,
    )
    return measured


def _elasticdump_version() -> str:
    package = json.loads((ROOT / "package.json").read_text())
    pinned: str = package["devDependencies"]["elasticdump"]
    return pinned


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.write_stop",
        description="Measure how long writes stop, by several ways to move indices",
    )
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=_SIZES,
        help="in documents, ascending (default: %(default)s)",
    )
    parser.add_argument("--churns", nargs="+", choices=_CHURNS, default=_CHURNS)
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument(
        "--cap",
        type=int,
        default=_CAP_BYTES_PER_SECOND,
        help="of each node's network either way, in bytes a second (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, default=results.FILE, help="where to (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    main()
