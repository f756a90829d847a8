"""Nothing outlives what started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from snapferry_sandbox import processes
from snapferry_sandbox.errors import SandboxError

# Starts a process that starts another, writes the number of the first, and waits.
STARTER = """
import sys, time
from pathlib import Path
from snapferry_sandbox import processes
log, numbers = map(Path, sys.argv[1:])
process = processes.start("sleeper", ["sleep", "300"], log_file=log)
numbers.write_text(str(process.pid))
time.sleep(300)
"""


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_children_die_with_a_starter_that_is_killed(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers"
    starter = subprocess.Popen([sys.executable, "-c", STARTER, tmp_path / "log", numbers])
    deadline = time.monotonic() + 20
    while not numbers.exists() or not numbers.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child = int(numbers.read_text())
    assert psutil.pid_exists(child)

    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()

    wait_until_gone(child)


def test_stopping_ends_the_whole_group(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers"
    process = processes.start(
        "shell",
        ["sh", "-c", f"trap '' TERM; sleep 300 & echo $! > {numbers}; wait"],
        log_file=tmp_path / "log",
    )
    deadline = time.monotonic() + 20
    while not numbers.exists() or not numbers.read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.05)

    process.stop(timeout_seconds=0)

    assert not process.alive()
    wait_until_gone(int(numbers.read_text()))


def test_what_fails_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"(?s)builder failed with exit code 3.*out of cheese"):
        processes.run(
            "builder", ["sh", "-c", "echo out of cheese; exit 3"], log_file=tmp_path / "log"
        )
    with pytest.raises(SandboxError, match="can't be started"):
        processes.start("nothing", [tmp_path / "no-such-program"], log_file=tmp_path / "log")
