"""Migrations as somebody drives them who has nothing but the command line."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.migrations import Sandbox, fill

SNAPFERRY = Path(sys.executable).with_name("snapferry")


class CommandLine:
    """A terminal of an operator, who knows the endpoint and has credentials."""

    def __init__(self, sandbox: Sandbox) -> None:
        world = sandbox.world
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ENDPOINT_URL": world.aws.endpoint,
            "AWS_REGION": world.aws.region,
            "AWS_ACCESS_KEY_ID": world.aws.accounts["destination"],
            "AWS_SECRET_ACCESS_KEY": world.s3.accounts["destination"].secret_key,
        }

    def run(self, *arguments: str, code: int = 0) -> Any:
        """Runs a command to its end; returns the document that it gives."""
        done = subprocess.run(
            [SNAPFERRY, *arguments, "--json"],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (code, ""), done.stdout
        return json.loads(done.stdout)

    @contextmanager
    def watch(self, migration_id: str, code: int) -> Iterator[Iterator[dict[str, Any]]]:
        """Watches a migration; gives each look."""
        with subprocess.Popen(
            [SNAPFERRY, "watch", migration_id, "--json"],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            try:
                yield (json.loads(line) for line in process.stdout)
            except BaseException:
                # It would be waited for as long as the migration runs.
                process.kill()
                raise
        assert process.returncode == code


@pytest.fixture
def operator(sandbox: Sandbox) -> CommandLine:
    return CommandLine(sandbox)


def start(sandbox: Sandbox, operator: CommandLine, folder: Path, index: str, **changes: Any) -> str:
    """Starts a migration of an index; returns its id."""
    file = folder / "input.json"
    file.write_text(json.dumps(sandbox.request(index, **changes)))
    migration_id = f"driven-{uuid.uuid4().hex[:8]}"
    started = operator.run("start", str(file), "--name", migration_id)
    assert started["migration_id"] == migration_id
    return migration_id


def test_a_migration_is_started_watched_and_approved(
    sandbox: Sandbox, operator: CommandLine, tmp_path: Path
) -> None:
    fill(sandbox.source, "driven-1", 100)
    migration_id = start(sandbox, operator, tmp_path, "driven-1")
    answered = []

    with operator.watch(migration_id, code=0) as looks:
        for look in looks:
            for gate in look["gates"]:
                name, domain = gate["gate"], gate["domain"]
                if (name, domain) not in answered:
                    answer = operator.run(
                        "approve", migration_id, name, "--domain", domain, "--yes"
                    )
                    assert answer["gates"] == [{"gate": name, "domain": domain}]
                    answered.append((name, domain))

    assert answered == [
        ("plan", "all domains"),
        ("stop_writes", "source"),
        ("clients_moved", "source"),
    ]
    assert (look["status"], look["output"]["status"]) == ("SUCCEEDED", "SUCCEEDED")
    [domain] = look["domains"]
    assert (domain["phase"], domain["ended"]) == ("documents compared: after", True)
    assert sandbox.destination.count(index="driven-1")["count"] == 100
    report = operator.run("report", migration_id)
    [(rounds, [index])] = [(each["rounds"], each["index_table"]) for each in report["domains"]]
    # What was written since is caught up, so there is no second restore.
    assert [each["round"] for each in rounds] == [1]
    assert (report["status"], index["index"], index["faults"]) == ("SUCCEEDED", "driven-1", [])
    assert index["source_documents"] == index["compared_before"] == 100
    late = operator.run("approve", migration_id, "--yes", code=3)
    assert "has ended" in late["message"]


def test_a_migration_that_is_aborted_is_rolled_back(
    sandbox: Sandbox, operator: CommandLine, tmp_path: Path
) -> None:
    fill(sandbox.source, "driven-2", 10)
    before = sandbox.repositories()
    # The first gate is one before which something was changed.
    migration_id = start(sandbox, operator, tmp_path, "driven-2", cutover__gates=["stop_writes"])
    with operator.watch(migration_id, code=1) as looks:
        while not next(looks)["gates"]:
            pass

        outcome = operator.run("abort", migration_id)

        assert list(looks)[-1]["status"] == "ABORTED"
    assert (outcome["state"], outcome["open"]) == ("ended", [])
    assert sandbox.repositories() == before
