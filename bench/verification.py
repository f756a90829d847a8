"""Measures the comparison of documents: how many a second, and in how much memory.

`python -m bench.verification` brings the sandbox up, unless it is, has the deployed function
compare what is on both sides, and writes the figures to bench/verification.json. Both clusters,
the domain's front and the function share the processors of this machine.
"""

import argparse
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from opensearchpy import OpenSearch

from snapferry import clients, indices, listing, request, verification
from snapferry.request import DomainJob
from snapferry_sandbox import deployment, world
from tests.sandbox.migrations import Sandbox, granted

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

FIGURES = Path(__file__).with_suffix(".json")
_INDEX = "bench-verification"
_SHARDS = 3
_ROUND = 1
_MOST_BYTES = 256 * 1024 * 1024
_BULK_DOCUMENTS = 5_000
# Longer than a function lives.
_FUNCTION = Config(read_timeout=960, retries={"total_max_attempts": 1})


def main() -> None:
    """Runs the measurement, prints a line for each part, and keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000, help="of 200 bytes")
    parser.add_argument("--caught-up", type=int, default=100_000, help="compared one by one")
    options = parser.parse_args()
    with world.running(world.Options(), print) as up:
        sandbox = Sandbox(deployment.deploy(up, print))
        os.environ |= sandbox.function_environment
        migration_id = f"bench-{uuid.uuid4().hex[:12]}"
        [job], _ = request.parse(sandbox.request(_INDEX, verification="full"), migration_id)
        function = _Function.deployed()
        figures = {}
        try:
            with granted(job):
                for part, documents, one_by_one in (
                    ("digests", options.documents, False),
                    ("one by one", options.caught_up, True),
                ):
                    _fill((sandbox.source, sandbox.destination), documents)
                    # Records of its own: nothing was compared earlier.
                    of_part = job.model_copy(
                        update={"migration_id": f"{migration_id}-{one_by_one}"}
                    )
                    figures[part] = _compare(function, of_part, documents, one_by_one=one_by_one)
                    print(part, figures[part])
        finally:
            for cluster in (sandbox.source, sandbox.destination):
                cluster.indices.delete(index=_INDEX, ignore_unavailable=True)
        FIGURES.write_text(json.dumps(figures, indent=2) + "\n")


class _Function:
    """A deployed function, and the processes that are its execution environments."""

    def __init__(self, client: "LambdaClient", name: str) -> None:
        self._client = client
        self._name = name

    @classmethod
    def deployed(cls) -> "_Function":
        """The one of the state "Verify documents"."""
        resource = boto3.client("cloudformation").describe_stack_resource(
            StackName="snapferry", LogicalResourceId="VerifyDocumentsFunction"
        )
        name = resource["StackResourceDetail"]["PhysicalResourceId"]
        return cls(boto3.client("lambda", config=_FUNCTION), name)

    def __call__(self, event: dict[str, Any]) -> Any:
        """Invokes it, and gives back its answer."""
        answer = self._client.invoke(FunctionName=self._name, Payload=json.dumps(event))
        payload = json.load(answer["Payload"])
        assert not answer.get("FunctionError"), payload
        return payload

    def most_bytes(self) -> int:
        """The most memory that one of its processes has taken."""
        variable = f"AWS_LAMBDA_FUNCTION_NAME={self._name}".encode()
        peaks = [
            int(line.split()[1]) * 1024
            for process in Path("/proc").glob("[0-9]*")
            if variable in _read(process / "environ").split(b"\0")
            for line in _read(process / "status").decode().splitlines()
            if line.startswith("VmHWM:")
        ]
        return max(peaks)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # The process has ended.
        return b""


def _fill(clusters: Iterable[OpenSearch], documents: int) -> None:
    """Writes the same to all, in the same order, so that sequence numbers are the same."""

    def fill(cluster: OpenSearch) -> None:
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
        for lines in batched(_lines(documents), _BULK_DOCUMENTS, strict=False):
            answer = cluster.bulk(
                index=_INDEX, body="".join(lines), params={"filter_path": "errors"}
            )
            assert not answer["errors"]
        cluster.indices.refresh(index=_INDEX)

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, clusters))


def _lines(number: int) -> Iterator[str]:
    text = "x" * 160
    return (
        f'{{"index":{{"_id":"{n}"}}}}\n{{"number":{n},"text":"{text}"}}\n' for n in range(number)
    )


def _compare(
    function: _Function, job: DomainJob, documents: int, *, one_by_one: bool
) -> dict[str, Any]:
    """Has the function compare all documents, as after the clients have moved."""
    source, destination = clients.source(job.domain), clients.destination(job.destination)
    records, domain = clients.records(job.migration_id), job.domain.name
    listing.keep(records, domain, _ROUND, [indices.list_all(source)[_INDEX]])
    verification.keep_ends(source, destination, records, domain, [_INDEX], ())
    if one_by_one:
        ends = records.read(f"{domain}/ends")
        # As if nothing had come by the snapshot.
        records.write(f"{domain}/ends", {_INDEX: [end | {"base": -1} for end in ends[_INDEX]]})
    event = {"job": job.model_dump(mode="json"), "round": _ROUND, "moment": "after"}
    calls = 0
    began_at = time.monotonic()
    while True:
        calls += 1
        answer = function(event)
        if answer["ended"]:
            break
    seconds = time.monotonic() - began_at
    assert answer["documents"] == documents, answer
    most_bytes = function.most_bytes()
    assert most_bytes < _MOST_BYTES, most_bytes
    return {
        "documents": documents,
        "differences": 0,
        "calls": calls,
        "seconds": round(seconds, 1),
        "documents_per_second": round(documents / seconds),
        "most_mebibytes": round(most_bytes / 1024**2),
    }


if __name__ == "__main__":
    main()
