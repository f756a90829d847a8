"""Measures how well the write stop is predicted, over many cut-overs.

`python -m bench.cut_overs` brings the sandbox up, unless it is, and moves two indices again and
again, while clients write at a rate that differs each time; so does the time in which people answer
the gate. What is compared is what was predicted when the writes were stopped, and how long they
stopped. The figures are written to bench/cut_overs.json.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snapferry_sandbox import deployment, world
from snapferry_sandbox.demo.data import Document
from snapferry_sandbox.demo.writer import NEW_DOCUMENTS, Writer
from tests.sandbox.migrations import Sandbox, fill

FIGURES = Path(__file__).with_suffix(".json")
_INDICES = ("cut-over-1", "cut-over-2")
_DOCUMENTS = 5_000
_RATES_PER_SECOND = (20, 400)
_GATE_ANSWERED_AFTER_SECONDS = (0.0, 15.0)


def main() -> None:
    """Runs the cut-overs, and prints a line for each and one for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cut-overs", type=int, default=12)
    options = parser.parse_args()
    chance = random.Random(1)  # noqa: S311
    with world.running(world.Options(), print) as up:
        sandbox = Sandbox(deployment.deploy(up, print))
        _clean(sandbox)
        for index in _INDICES:
            fill(sandbox.source, index, _DOCUMENTS, shards=3)
        sandbox.source.indices.put_alias(
            index=_INDICES[0], name=NEW_DOCUMENTS, body={"is_write_index": True}
        )
        try:
            figures = [_cut_over(sandbox, chance) for _ in range(options.cut_overs)]
        finally:
            _clean(sandbox)
    print(summary(figures))
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


def summary(figures: Sequence[dict[str, Any]]) -> str:
    """How far off the predictions were, in words."""
    rates = [each["writes_per_second"] for each in figures]
    errors = [abs(each["predicted_seconds"] / each["seconds"] - 1) for each in figures]
    inside = sum(
        low <= each["seconds"] <= high
        for each in figures
        for low, high in [each["predicted_interval_seconds"]]
    )
    return (
        f"{len(figures)} cut-overs with {min(rates)} to {max(rates)} writes a second: the median "
        f"error of the prediction was {statistics.median(errors):.0%}, and {inside} write stops "
        "lay inside the interval"
    )


def _clean(sandbox: Sandbox) -> None:
    for cluster in (sandbox.source, sandbox.destination):
        cluster.indices.delete(index=",".join(_INDICES), ignore_unavailable=True)


def _cut_over(sandbox: Sandbox, chance: random.Random) -> dict[str, Any]:
    """Moves the indices once; returns what was predicted and what came of it."""
    sandbox.destination.indices.delete(index=",".join(_INDICES), ignore_unavailable=True)
    content = {"number": 0, "country": "", "parts": [{"a": 1}]}
    documents = [
        Document(index, str(number), None, content)
        for index in _INDICES
        for number in range(_DOCUMENTS)
    ]
    rate = chance.uniform(*_RATES_PER_SECOND)
    with Writer(documents, rate) as writer:

        def stop_after_a_while() -> None:
            time.sleep(chance.uniform(*_GATE_ANSWERED_AFTER_SECONDS))
            writer.stop()

        writer.start(sandbox.source)
        outcome = sandbox.migrate(
            sandbox.request(*_INDICES), at_gate={"stop_writes": stop_after_a_while}
        )
    assert outcome.status == "SUCCEEDED", outcome.cause
    [domain] = sandbox.record(outcome.migration_id, "report")["domains"]
    write_stop: dict[str, Any] = domain["write_stop"] | {
        "writes_per_second": round(rate),
        "rounds": domain["catch_up"]["rounds"],
        "steps": domain["catch_up"]["write_stop_steps"],
    }
    low, high = write_stop["predicted_interval_seconds"]
    print(
        f"{rate:.0f} writes/s: predicted {write_stop['predicted_seconds']} s ({low} to {high}), "
        f"actual {write_stop['seconds']} s"
    )
    return write_stop


if __name__ == "__main__":
    main()
