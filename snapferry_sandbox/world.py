"""The world: what `sandbox up` brings up, how it is reached, and how it is taken down.

A supervisor (`snapferry_sandbox.supervisor`) owns all processes. It holds a lock, which the kernel
releases however it ends: so whether a world is up is never a matter of what lies on the disk.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Literal

from opensearchpy import OpenSearch
from pydantic import BaseModel, ConfigDict

from snapferry_sandbox.errors import SandboxError
from snapferry_sandbox.opensearch.cluster import Cluster

ROOT = Path(__file__).parents[1]
"""The clone."""
SANDBOX = ROOT / ".sandbox"
CACHE = SANDBOX / "cache"
"""What was downloaded or built; kept from one world to the next."""
RUN = SANDBOX / "run"
"""The present world's data, configuration and logs."""
NODES = RUN / "nodes"
"""The clusters' nodes and the objects in S3; a link when they have to be elsewhere."""
LOGS = RUN / "logs"
_WORLD = SANDBOX / "world.json"
_PARTS = RUN / "parts.json"
_LOCK = SANDBOX / "lock"

_DOWN_SECONDS = 60
_POLL_SECONDS = 0.1

type AccountName = Literal["source", "destination"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Options(_Model):
    """What kind of world is wanted."""

    source: str = "3.6.0"
    """Version of the source clusters; one of `opensearch.distribution.known_versions`."""
    destination: str = "3.6.0"
    """Version of the destination clusters; likewise."""
    destinations: int = 1
    """How many destination clusters there are."""
    destination_nodes: int = 1
    """How many nodes each of them has."""
    destination_domain: bool = False
    """Whether they are Amazon domains, too, besides clusters with users."""
    clusters: int = 1
    """How many source clusters there are, of one node each."""
    time_scale: float = 1.0
    """How long a second of a state machine's waiting takes, in seconds."""
    node_bytes_per_second: int | None = None
    """What each node's network carries, either way; as much as the machine does if left out."""
    destination_settings: dict[str, Any] = {}
    """More settings of the destinations' nodes, for their `opensearch.yml`."""


class Source(Cluster):
    """A source cluster: the node itself by basic authentication, and its Amazon domain by SigV4."""

    domain: str
    """The domain's name."""
    domain_endpoint: str


class Destination(Cluster):
    """A destination cluster, by basic authentication and, as an Amazon domain, by SigV4."""

    domain_endpoint: str = ""
    """Empty where it isn't a domain; one has the cluster's name."""


class S3Account(_Model):
    """An account's administrator in S3."""

    access_key: str
    secret_key: str
    canonical_id: str


class S3(_Model):
    """S3 as the two accounts see it."""

    endpoint: str
    gateway_endpoint: str
    """What lies behind it: knows no accounts, so only for looking at objects."""
    bucket: str
    accounts: dict[AccountName, S3Account]


class Aws(_Model):
    """The other services of AWS; an account's number is its administrator's access key."""

    endpoint: str
    region: Literal["eu-west-1"]
    accounts: dict[AccountName, str]


class World(_Model):
    """How to reach everything; `.sandbox/world.json`."""

    sources: tuple[Source, ...]
    destinations: tuple[Destination, ...]
    dashboards: str
    """Of all clusters; behind it comes the name of one."""
    s3: S3
    aws: Aws
    ca_bundle_file: Path
    """The public authorities and the world's own."""
    deployment: dict[str, Any] = {}
    """What the deployed stacks gave out; empty before `sandbox deploy`."""
    logs: Path
    supervisor_pid: int

    def dashboards_of(self, cluster: Cluster) -> OpenSearch:
        """Return a client of a cluster's Dashboards, as the cluster's administrator."""
        return OpenSearch(
            f"{self.dashboards}/{cluster.name}",
            http_auth=(cluster.user, cluster.password),
            ca_certs=str(cluster.ca_file),
            headers={"osd-xsrf": "true"},
        )

    def save(self) -> None:
        """Write it where `load` finds it."""
        write_atomically(_WORLD, self.model_dump_json(indent=2))


class Part(_Model):
    """A process of the world."""

    name: str
    url: str
    pid: int
    alive: bool
    log_file: Path


class Parts(_Model):
    """All processes of the world, as the supervisor saw them last."""

    parts: tuple[Part, ...]

    def save(self) -> None:
        """Write it where `parts` finds it."""
        write_atomically(_PARTS, self.model_dump_json(indent=2))


def load() -> World:
    """Return the world that is up.

    Raises:
        SandboxError: none is.
    """
    if not (_is_held() and _WORLD.exists()):
        raise SandboxError("No sandbox is up. `sandbox up` starts one.")
    return World.model_validate_json(_WORLD.read_bytes())


def parts() -> tuple[Part, ...]:
    """Return the processes of the world that is up."""
    return Parts.model_validate_json(_PARTS.read_bytes()).parts


def up(options: Options, report: Callable[[str], None]) -> World:
    """Bring a world up, and return it; one that is up already stays as it is.

    Args:
        options: what kind of world.
        report: takes lines that say how it goes.

    Raises:
        SandboxError: it can't be brought up; then nothing of it is left.
    """
    SANDBOX.mkdir(exist_ok=True)
    with _LOCK.open("a+") as lock:
        if not _acquire(lock, timeout_seconds=1):
            if not _WORLD.exists():
                raise SandboxError("Another `sandbox up` or `sandbox down` is at work.")
            report("The sandbox is up already.")
            return load()
        _remove_leftovers()
        LOGS.mkdir(parents=True)
        log_file = LOGS / "supervisor.log"
        os.set_inheritable(lock.fileno(), True)  # the lock goes to the supervisor
        with log_file.open("ab") as log:
            # Not a Popen, which warns when it is thrown away while its process goes on.
            supervisor = os.posix_spawn(
                sys.executable,
                # -P: of this clone, whatever lies in the present folder.
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "snapferry_sandbox.supervisor",
                    options.model_dump_json(),
                ],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                ],
                setsid=True,
            )
        lock.truncate(0)
        lock.write(str(supervisor))
    try:
        with log_file.open() as lines:
            while not _WORLD.exists():
                ended, _ = os.waitpid(supervisor, os.WNOHANG)
                for line in lines:
                    report(line.rstrip("\n"))
                if ended:
                    raise SandboxError(f"The sandbox didn't come up; see above, or {log_file}.")
                time.sleep(_POLL_SECONDS)
            for line in lines:
                report(line.rstrip("\n"))
    except BaseException:
        down()
        with contextlib.suppress(ChildProcessError):  # it has been waited for
            os.waitpid(supervisor, 0)
        raise
    return load()


def down() -> bool:
    """End all processes of the world; return whether there was one.

    Raises:
        SandboxError: they can't be ended.
    """
    if not _LOCK.exists():
        return False
    with _LOCK.open("r+") as lock:
        was_up = not _acquire(lock, timeout_seconds=0)
        if was_up:
            supervisor = int(lock.read())
            os.kill(supervisor, signal.SIGTERM)
            if not _acquire(lock, _DOWN_SECONDS):
                os.kill(supervisor, signal.SIGKILL)  # its children die with it
                if not _acquire(lock, _DOWN_SECONDS):
                    raise SandboxError(f"The supervisor (process {supervisor}) can't be ended.")
        _remove_leftovers(keep_logs=True)
    return was_up


@contextlib.contextmanager
def running(options: Options, report: Callable[[str], None]) -> Iterator[World]:
    """Have a world up for a while; one that was up before stays up after."""
    was_up = _is_held()
    try:
        yield up(options, report)
    finally:
        if not was_up:
            down()


def write_atomically(file: Path, text: str) -> None:
    """Replace a file's content at once; only its owner can read it."""
    beside = file.with_name(f".{file.name}")
    beside.unlink(missing_ok=True)
    beside.touch(mode=0o600)
    beside.write_text(text)
    beside.replace(file)


def _is_held() -> bool:
    if not _LOCK.exists():
        return False
    with _LOCK.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _acquire(lock: IO[str], timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True


def _remove_leftovers(*, keep_logs: bool = False) -> None:
    _WORLD.unlink(missing_ok=True)
    if NODES.is_symlink():
        shutil.rmtree(NODES.readlink(), ignore_errors=True)
        NODES.unlink()
    for path in RUN.glob("*"):
        if path == LOGS and keep_logs:
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
