"""Measures what the handlers take in a domain of thousands of indices, at two sizes.

    python -m bench.scale

Each handler runs once, in a process of its own, through the product's own clients: against two
clusters that are simulated in this process and answer over HTTPS, and against the
few services of AWS that functions call, which are simulated as well.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from bench import aws
from bench.estate import SHARDS, Estate, serving
from snapferry import request
from snapferry_sandbox.certificates import create_authority

_CLONE = Path(__file__).parents[1]
RESULTS = _CLONE / "bench" / "scale.json"
DOCUMENT = _CLONE / "docs" / "scale.md"
_BETWEEN_MARKERS = re.compile(r"(?<=<!-- scale -->\n).*(?=<!-- /scale -->)", re.DOTALL)
_ACCOUNT = "arn:aws:iam::111111111111"
_REGION = "eu-west-1"
_DOMAIN = "logs"
_SECRET_ARN = f"arn:aws:secretsmanager:{_REGION}:222222222222:secret:snapferry/destination-a1"
# One index of so many is written to while the migration runs.
_WRITTEN = 100
_STARTED_AT = "2027-01-15T08:00:00.000Z"


@dataclass
class Lab:
    """What the handlers meet.

    Attributes:
        source: the domain.
        destination: the cluster.
        memory: what AWS keeps.
        input: of the migration.
        environment: of each handler's process.
        migration_id: of the migration.
        results: what each call took, by its name.
    """

    source: Estate
    destination: Estate
    memory: aws.Memory
    input: dict[str, Any]
    environment: dict[str, str]
    migration_id: str
    results: dict[str, dict[str, Any]]

    @property
    def job(self) -> dict[str, Any]:
        """The job of its only domain."""
        [job], _ = request.parse(self.input, self.migration_id)
        return job.model_dump(mode="json")

    def call(self, handler: str, name: str = "", **event: Any) -> Any:
        """Calls a handler and notes what it took, of several calls the most; returns its answer."""
        for estate in (self.source, self.destination):
            estate.requests.clear()
        self.memory.calls = 0
        finished = subprocess.run(
            [sys.executable, "-m", "bench.call_handler", handler],
            input=json.dumps(event),
            capture_output=True,
            text=True,
            cwd=_CLONE,
            env=self.environment,
            check=False,
        )
        if finished.returncode:
            raise RuntimeError(f"{handler}: {finished.stderr[-4000:]}")
        measured = json.loads(finished.stdout.splitlines()[-1])
        answer = measured.pop("answer")
        measured |= {
            "requests": len(self.source.requests) + len(self.destination.requests),
            "aws_calls": self.memory.calls,
            "event_bytes": len(json.dumps(event)),
            "answer_bytes": len(json.dumps(answer)),
        }
        most = self.results.get(name or handler, measured)
        self.results[name or handler] = max(most, measured, key=itemgetter("cpu_seconds"))
        print(f"  {name or handler:26}{_line(measured)}", flush=True)
        return answer

    def take_step(self, step: str, round_number: int) -> Any:
        """Calls the handler of the cut-over for one of its steps."""
        return self.call(
            "cut_over",
            step,
            job=self.job,
            round=round_number,
            step=step,
            entered_at=_STARTED_AT,
        )

    def catch_up(self, until: str, number: int, name: str = "") -> Any:
        """Calls the handler that catches a slice up."""
        return self.call(
            "catch_up", name, job=self.job, until=until, slice=number, entered_at=_STARTED_AT
        )

    def close(self) -> None:
        """Has the migration rolled back from here on."""
        for item in self.memory.items.values():
            if item.get("state") == {"S": "running"}:
                item["state"] = {"S": "rolling_back"}


def main() -> None:
    """Runs the migration at both sizes, and stores what each call took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_500, 10_000], help="indices")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    sizes = {}
    for indices in options.sizes:
        print(f"{indices:,} indices, {indices * SHARDS:,} shards")
        with _lab(indices) as lab:
            _migrate(lab)
            sizes[str(indices)] = lab.results
    options.output.write_text(json.dumps(sizes, indent=1) + "\n")
    if options.output == RESULTS:
        DOCUMENT.write_text(shown(DOCUMENT.read_text(), sizes))


def shown(document: str, sizes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """A document with the figures between its markers.

    Args:
        document: its text.
        sizes: what each call took, by its name and the number of indices.
    """
    return _BETWEEN_MARKERS.sub(lambda _: "\n".join([*_table(sizes), ""]), document)


def _table(sizes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    small, large = sizes
    yield (
        f"| | CPU, {int(small):,} indices | CPU, {int(large):,} | ratio | memory | answer "
        "| requests | calls to AWS |"
    )
    yield "|---" + "|--:" * 7 + "|"
    for name, measured in sizes[large].items():
        before, after = (sizes[size][name]["cpu_seconds"] for size in (small, large))
        yield (
            f"| {name.replace('_', ' ')} | {before:.2f} s | {after:.2f} s | {after / before:.1f} "
            f"| {measured['most_bytes'] / 2**20:.0f} MiB | {measured['answer_bytes']:,} B "
            f"| {measured['requests']:,} | {measured['aws_calls']:,} |"
        )


def _migrate(lab: Lab) -> None:
    jobs = [lab.job]
    began = {"migration_id": lab.migration_id, "started_at": _STARTED_AT}
    lab.call("check_input", input=lab.input, **began)
    lab.call("plan_domain", job=lab.job)
    lab.call("write_plan", jobs=jobs, outcomes=[{"domain": _DOMAIN, "status": "PLANNED"}])
    lab.call("begin_migration", jobs=jobs, execution_arn=f"arn:aws:states:::{lab.migration_id}")
    lab.call("register_source_repository", job=lab.job)
    lab.call("register_destination_repository", job=lab.job)
    lab.call("list_indices", job=lab.job, round=1)
    snapshot = lab.call("start_snapshot", job=lab.job, round=1)["snapshot"]
    lab.call("check_snapshot", job=lab.job, round=1, snapshot=snapshot, hold_seconds=5)
    started_at = lab.call("start_restore", job=lab.job, round=1)["started_at"]
    lab.call("check_restore", job=lab.job, round=1, started_at=started_at, hold_seconds=5)
    begun = lab.take_step("begin_catch_up", 1)
    assert begun["by_snapshot"] == 0
    slices = range(begun["slices"])
    lab.source.write(_WRITTEN)
    for number in slices:
        while not lab.catch_up("lag fits", number)["ended"]:
            pass
    lab.source.write(_WRITTEN)
    lab.take_step("freeze_source", 1)
    for number in slices if len(slices) > 1 else ():
        lab.catch_up("last", number, "catch_up_slice")
    moved = lab.take_step("catch_up_last", 2)
    assert moved["by_snapshot"] == 0
    lab.take_step("verify_copy", 2)
    lab.take_step("hand_over_indices", 2)
    lab.take_step("move_aliases", 2)
    lab.call("release_source", job=lab.job)
    lab.close()
    given_back = lab.call("give_back_changes", migration_id=lab.migration_id)
    assert (given_back["waiting"], given_back["failed"]) == (0, [])
    lab.call(
        "write_report",
        **began,
        domains=[{"domain": _DOMAIN, "status": "SUCCEEDED", **moved}],
        given_back={"given_back": given_back["done"], "foreign": [], "kept": [], "reason": ""},
        failure=None,
    )


@contextlib.contextmanager
def _lab(indices: int) -> Iterator[Lab]:
    bucket: dict[str, Any] = {}
    source = Estate(bucket)
    source.fill(indices)
    destination = Estate(bucket, origin=source)
    memory = aws.Memory()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        authority = create_authority(folder)
        certificate = authority.issue("estate", folder)
        hosts = [stack.enter_context(serving(each, certificate)) for each in (source, destination)]
        endpoint = stack.enter_context(aws.serving(memory))
        yield Lab(
            source,
            destination,
            memory,
            {
                "domains": [
                    {
                        "name": _DOMAIN,
                        "host": hosts[0],
                        "region": _REGION,
                        "access_role_arn": f"{_ACCOUNT}:role/access",
                        "snapshot_role_arn": f"{_ACCOUNT}:role/snapshot",
                    }
                ],
                "bucket": {"name": "company-migration", "region": _REGION},
                "destination": {"endpoint": hosts[1], "secret_arn": _SECRET_ARN},
                "cutover": {"gates": []},
            },
            _environment(endpoint, str(authority.bundle_file)),
            f"scale-{indices}",
            {},
        )


def _environment(endpoint: str, bundle_file: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": _REGION,
        "REQUESTS_CA_BUNDLE": bundle_file,
        "RECORDS_BUCKET": "records",
        "TABLE_NAME": "snapferry",
        "EVENT_BUS_NAME": "snapferry",
        "POWERTOOLS_TRACE_DISABLED": "true",
    }


def _line(measured: Mapping[str, Any]) -> str:
    return (
        f"{measured['cpu_seconds']:7.2f} s CPU {measured['seconds']:7.2f} s "
        f"{measured['most_bytes'] / 2**20:6.0f} MiB {measured['requests']:7,} requests "
        f"{measured['aws_calls']:7,} calls to AWS"
    )


if __name__ == "__main__":
    main()
