"""Measures how long writes stop, by Snapferry and by what people use otherwise.

    make bench

Two clusters, the same data and the same churn for all. At each of three sizes a base snapshot is
taken, then clients write (the churn), then each contender in its turn takes the indices from there
to the first write at the destination, and its copy is compared. The churn is the same number of
operations at each size, so that only the data grow: as many documents as a hundredth of the largest
size are appended; with `random` two thousandths are updated and a thousandth is deleted besides,
all over the documents. Until writes stop, a client does the same a hundred times a second.

Every node has the same limited network (`snapferry_sandbox.network`), for snapshots, restores and
documents alike. To save time, what is the same for several is measured once, or isn't limited:

- loading the data isn't measured, and the first snapshot, which no write stop has, isn't limited;
- guide_default, guide_tuned, reindex_from_remote and elasticdump copy everything in the write stop,
  whatever was written before it: they are measured with the first churn, and count for the others;
- warm_restore and bare_api restore the base while clients write: that counts for as long as the
  restore of guide_tuned took, which is the same work, and isn't limited;
- snapferry and bare_api stop writes for so short that chance shows: theirs is the median of several
  write stops. What comes before the others than the first isn't limited, and doesn't count.
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
from bench.workload import INDICES, Churn, Workload, create, write
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
    """Measure contenders, all of them at one size and churn before the next.

    Args:
        up: a world with limited network.
        sizes: numbers of documents, ascending: the indices grow from one to the next.
        churns: which.
        contenders: which; if snapferry is one, then the first.
    """
    workload = Workload()
    figures = {churn: Figures() for churn in churns}
    with network.lifted():
        sandbox = Sandbox(deployment.deploy(up, print))
        sandbox.source.indices.delete(
            index=",".join(INDICES), params={"ignore_unavailable": "true"}
        )
        create(sandbox.source)
    os.environ |= sandbox.function_environment
    for size in sizes:
        with network.lifted():
            write(sandbox.source, workload.appends(size - workload.documents))
            sandbox.source.indices.flush(index=",".join(INDICES))
        shared: dict[str, Measured] = {}
        bulk_seconds = None
        for churn in churns:
            with contextlib.ExitStack() as stack:
                with network.lifted():
                    base = stack.enter_context(taken_base(sandbox, INDICES))
                figures[churn].sizes_bytes.append(base.size_bytes)
                appended = round(sizes[-1] * _APPENDED_SHARE)
                lab = Lab(sandbox, workload, churn, appended, base, bulk_seconds)
                for name in contenders:
                    measured = shared.get(name) or _measure(lab, name)
                    if name in COPY_EVERYTHING:
                        shared[name] = measured
                    figures[churn].add(name, measured.write_stop_seconds, measured.total_seconds)
                    print(
                        f"{churn}, {base.size_bytes / 1e6:,.0f} MB, {name}: writes stop for "
                        f"{measured.write_stop_seconds:.1f} s, {measured.total_seconds:.1f} s in "
                        "all",
                        flush=True,
                    )
                bulk_seconds = lab.bulk_seconds
    return figures


def _measure(lab: Lab, name: str) -> Measured:
    first, *others = (_measure_once(lab, name) for _ in range(WRITE_STOPS.get(name, 1)))
    write_stop_seconds = statistics.median(
        measured.write_stop_seconds for measured in (first, *others)
    )
    return replace(first, write_stop_seconds=write_stop_seconds)


def _measure_once(lab: Lab, name: str) -> Measured:
    try:
        return CONTENDERS[name](lab)
    finally:
        lab.clean()


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
        "--sizes", type=int, nargs="+", default=_SIZES, help="in documents (default: %(default)s)"
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
