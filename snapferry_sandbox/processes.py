"""Child processes: started in a group of their own, ended by id, never outliving their starter."""

import ctypes
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from snapferry_sandbox.errors import SandboxError

_SERVER_START_SECONDS = 30
_POLL_SECONDS = 0.1
_LOG_TAIL_LINES = 20
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Process:
    """A child process and the process group it leads."""

    name: str
    log_file: Path
    _popen: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Id of the process, and of its group."""
        return self._popen.pid

    def alive(self) -> bool:
        """Whether the process still runs."""
        if self._popen.returncode is not None:
            return False
        # An ended process is left unreaped until `stop`: so its number stays taken, and what is
        # left of its group can be signalled without hitting a stranger's.
        options = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, self.pid, options) is None

    def wait(self) -> int:
        """Wait until the process ends by itself; end what it left; return its exit code."""
        while self.alive():
            time.sleep(_POLL_SECONDS)
        self.stop()
        return self._popen.returncode

    def stop(self, timeout_seconds: float = 10) -> None:
        """End the process and everything it started; return when the process is gone.

        Args:
            timeout_seconds: how long it may take to end by itself before it is killed.
        """
        if self._popen.returncode is not None:
            return
        os.killpg(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout_seconds
        while self.alive() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()


def start(
    name: str,
    command: Sequence[str | Path],
    *,
    log_file: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    user: int | None = None,
) -> Process:
    """Start a child process that dies with its starter, even when that one is killed.

    To the kernel the starter is the calling thread: call this from one that outlives the child.

    Args:
        name: what messages call it.
        command: program and arguments.
        log_file: takes its output, standard error included.
        environment: its whole environment; this process's own by default.
        directory: its working directory; this process's own by default.
        user: id of the user to run it as; only root may choose.

    Raises:
        SandboxError: the program can't be started.
    """
    starter = os.getpid()

    def die_with_starter() -> None:
        # The kernel clears the signal when the user changes, and subprocess changes it before
        # this hook, so setting it here holds for every user.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != starter:
            os.kill(os.getpid(), signal.SIGKILL)

    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as log:
        try:
            popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=directory,
                user=user,
                group=None if user is None else pwd.getpwuid(user).pw_gid,
                extra_groups=None if user is None else [],
                start_new_session=True,
                preexec_fn=die_with_starter,
            )
        except OSError as error:
            raise SandboxError(f"{name} can't be started: {error}") from error
    return Process(name, log_file, popen)


def start_server(
    name: str, module: str, configuration: BaseModel, port: int, *, file: Path, log_file: Path
) -> Process:
    """Start a server of the sandbox's own, and wait until it listens; `serving` is its other end.

    Args:
        name: what messages call it.
        module: that is run.
        configuration: what it is told.
        port: of 127.0.0.1, where it listens.
        file: takes the configuration, so that only this user can read it.
        log_file: takes its output.

    Raises:
        SandboxError: it doesn't start.
    """
    file.touch(mode=0o600)
    file.write_text(configuration.model_dump_json(indent=2))
    process = start(name, [sys.executable, "-m", module, "--config", file], log_file=log_file)
    try:
        wait_until(lambda: listens(port), process, _SERVER_START_SECONDS)
    except BaseException:
        process.stop()
        raise
    return process


def run(
    name: str,
    command: Sequence[str | Path],
    *,
    log_file: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    user: int | None = None,
) -> None:
    """Run a program to its end; the arguments are those of `start`.

    Raises:
        SandboxError: it can't be started, or failed; with the end of its log.
    """
    process = start(
        name,
        command,
        log_file=log_file,
        environment=environment,
        directory=directory,
        user=user,
    )
    try:
        exit_code = process.wait()
    finally:
        process.stop()
    if exit_code != 0:
        raise SandboxError(f"{name} failed with exit code {exit_code}.\n{_log_tail(process)}")


def wait_until(ready: Callable[[], bool], process: Process, timeout_seconds: float) -> None:
    """Wait until a process is ready.

    Args:
        ready: says whether it is; called several times a second.
        process: the process that is waited for.
        timeout_seconds: how long it may take.

    Raises:
        SandboxError: the process ended, or took too long; with the end of its log.
    """
    deadline = time.monotonic() + timeout_seconds
    while not ready():
        if not process.alive():
            raise SandboxError(f"{process.name} ended while starting.\n{_log_tail(process)}")
        if time.monotonic() > deadline:
            raise SandboxError(
                f"{process.name} was not ready after {timeout_seconds:.0f} s.\n{_log_tail(process)}"
            )
        time.sleep(_POLL_SECONDS)


def listens(port: int) -> bool:
    """Return whether something listens on a TCP port of 127.0.0.1."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _log_tail(process: Process) -> str:
    lines = process.log_file.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    return "\n".join([f"The end of {process.log_file}:", *lines])
