"""Snapshots that a schedule takes, one after the other."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from snapferry_sandbox import deployment, schedules
from snapferry_sandbox.demo import leftovers
from tests.sandbox.migrations import Sandbox, Started, fill, wait_until

INDEX = "scheduled-1"
PATH = "snapferry/scheduled"
DOCUMENTS = 2_000

type Fire = Callable[[], Started]


@pytest.fixture
def fire(sandbox: Sandbox) -> Iterator[Fire]:
    """Has the schedule's time come."""
    sandbox.faults.clear()
    document = sandbox.request(
        INDEX,
        mode="snapshot_only",
        bucket__base_path=PATH,
        cutover={"gates": []},
        series={"name": "nightly", "retention": {"count": 1}},
    )
    deployment.schedule_snapshots(sandbox.world, "cron(0 2 * * ? *)", document)

    def start() -> Started:
        execution_arn = schedules.fire(sandbox.world, "snapferry", "snapshots")
        return Started(execution_arn.rpartition(":")[2], execution_arn)

    yield start
    sandbox.faults.clear()


def in_the_bucket(sandbox: Sandbox) -> list[str]:
    """The names of the snapshots of the series, as the bucket's list of them has them."""
    answer = sandbox.bucket.list_objects_v2(
        Bucket=sandbox.world.s3.bucket, Prefix=f"{PATH}/source/index-"
    )
    keys = [item["Key"] for item in answer["Contents"]]
    newest = max(keys, key=lambda key: int(key.rpartition("-")[2]))
    body = sandbox.bucket.get_object(Bucket=sandbox.world.s3.bucket, Key=newest)["Body"]
    listed: dict[str, Any] = json.loads(body.read())
    return [snapshot["name"] for snapshot in listed["snapshots"]]


def test_scheduled_snapshots_are_incremental_expire_and_never_overlap(
    sandbox: Sandbox, fire: Fire
) -> None:
    fill(sandbox.source, INDEX, DOCUMENTS)
    before = leftovers.look(sandbox.world)

    first = sandbox.end(fire())
    fill(sandbox.source, INDEX, 10, first=DOCUMENTS)
    second = sandbox.end(fire())

    for outcome in (first, second):
        assert (outcome.status, outcome.output["status"]) == ("SUCCEEDED", "SUCCEEDED")
    reports = [sandbox.record(each.migration_id, "report") for each in (first, second)]
    [[bulk], [increment]] = [report["domains"][0]["rounds"] for report in reports]
    assert bulk["snapshot"]["bytes_reused"] == 0
    assert increment["snapshot"]["bytes_reused"] > increment["snapshot"]["bytes_new"] > 0
    [kept] = in_the_bucket(sandbox)
    [expired] = reports[1]["domains"][0]["expired_snapshots"]
    assert reports[0]["domains"][0]["expired_snapshots"] == []
    assert expired < kept
    assert kept.startswith("snapferry-nightly-")

    sandbox.faults.pause_at("snapferry-snapshot", "Check snapshot")
    third = fire()
    wait_until(sandbox.faults.has_paused)
    refused = sandbox.end(fire())
    sandbox.faults.go_on()

    assert (refused.status, refused.output["status"]) == ("SUCCEEDED", "SKIPPED")
    assert third.migration_id in refused.output["cause"]
    assert sandbox.end(third).output["status"] == "SUCCEEDED"
    assert len(in_the_bucket(sandbox)) == 1
    assert leftovers.difference(before, leftovers.look(sandbox.world)) == []
