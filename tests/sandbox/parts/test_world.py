"""One world at a time, of which nothing stays behind; with a supervisor that starts one process."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from snapferry_sandbox import world
from snapferry_sandbox.errors import SandboxError
from snapferry_sandbox.world import S3, Aws, Options, World
from tests.sandbox.parts.test_processes import wait_until_gone

SUPERVISOR = """\
#!{python}
import os, shutil, time
from pathlib import Path
from snapferry_sandbox import processes
print("starting", flush=True)
part = processes.start("part", ["sleep", "300"], log_file=Path("{folder}/part.log"))
Path("{folder}/part").write_text(str(part.pid))
shutil.copy("{folder}/prepared.json", "{folder}/copied.json")
os.rename("{folder}/copied.json", "{folder}/world.json")
time.sleep(300)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the world is, in place of the clone's own."""
    monkeypatch.setattr(world, "SANDBOX", tmp_path)
    monkeypatch.setattr(world, "RUN", tmp_path / "run")
    monkeypatch.setattr(world, "NODES", tmp_path / "run/nodes")
    monkeypatch.setattr(world, "LOGS", tmp_path / "run/logs")
    monkeypatch.setattr(world, "_LOCK", tmp_path / "lock")
    monkeypatch.setattr(world, "_WORLD", tmp_path / "prepared.json")
    World(
        sources=(),
        destinations=(),
        dashboards="",
        s3=S3(endpoint="", gateway_endpoint="", bucket="", accounts={}),
        aws=Aws(endpoint="", region="eu-west-1", accounts={}),
        ca_bundle_file=tmp_path,
        logs=tmp_path,
        supervisor_pid=0,
    ).save()
    monkeypatch.setattr(world, "_WORLD", tmp_path / "world.json")
    supervise(tmp_path, monkeypatch, SUPERVISOR)
    return tmp_path


def supervise(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Have the next world's supervisor be this program."""
    python = folder / "supervisor"
    # Not over the program that may be running.
    python.unlink(missing_ok=True)
    python.write_text(program.format(python=Path(sys.prefix) / "bin/python", folder=folder))
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))


def part(folder: Path) -> int:
    return int((folder / "part").read_text())


def test_a_second_up_leaves_the_world_as_it_is(folder: Path) -> None:
    lines: list[str] = []
    try:
        world.up(Options(), lines.append)
        first = part(folder)
        world.up(Options(source="other"), lines.append)

        assert part(folder) == first
        assert psutil.pid_exists(first)
        assert lines == ["starting", "The sandbox is up already."]
    finally:
        world.down()


def test_down_ends_all_processes_and_may_be_repeated(folder: Path) -> None:
    assert not world.down()
    world.up(Options(), print)

    assert world.down()
    assert not world.down()

    wait_until_gone(part(folder))
    with pytest.raises(SandboxError, match="No sandbox is up"):
        world.load()


def test_a_supervisor_that_is_killed_leaves_nothing_behind(folder: Path) -> None:
    world.up(Options(), print)
    first = part(folder)
    os.kill(int((folder / "lock").read_text()), signal.SIGKILL)
    wait_until_gone(first)

    with pytest.raises(SandboxError, match="No sandbox is up"):
        world.load()
    try:
        world.up(Options(), print)
        assert part(folder) != first
    finally:
        assert world.down()


def test_a_world_that_does_not_come_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supervise(folder, monkeypatch, "#!/bin/sh\necho no cheese\nexit 1\n")
    lines: list[str] = []

    with pytest.raises(SandboxError, match="didn't come up"):
        world.up(Options(), lines.append)

    assert lines == ["no cheese"]
    assert not world.down()


def test_another_up_is_at_work(folder: Path) -> None:
    with (folder / "lock").open("w") as lock:
        assert world._acquire(lock, timeout_seconds=0)

        with pytest.raises(SandboxError, match="Another `sandbox up`"):
            world.up(Options(), print)


def test_a_world_that_was_up_before_stays_up(folder: Path) -> None:
    with world.running(Options(), print):
        with world.running(Options(), print):
            pass
        assert world.load()
    with pytest.raises(SandboxError, match="No sandbox is up"):
        world.load()
    wait_until_gone(part(folder))
