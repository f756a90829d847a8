"""Builds and starts versitygw, an S3 server over a folder.

https://github.com/versity/versitygw
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from snapferry_sandbox import processes
from snapferry_sandbox.cache import kept

_MODULE = "github.com/versity/versitygw"
_VERSION = "v1.8.0"
_START_SECONDS = 30


@dataclass(frozen=True)
class Gateway:
    """A running versitygw."""

    endpoint: str
    access_key: str
    """Of its root account, which may do everything."""
    secret_key: str
    objects_folder: Path
    """Has a folder for each bucket, in which an object is a file."""
    process: processes.Process


def build(cache: Path) -> Path:
    """Return versitygw's executable; compile it if it isn't there, which takes minutes.

    Args:
        cache: folder that keeps it.

    Raises:
        SandboxError: Go is missing, or fails.
    """

    def make(folder: Path) -> Path:
        processes.run(
            "Go",
            [
                "go",
                "install",
                "-trimpath",
                "-ldflags=-s -w",
                f"{_MODULE}/cmd/versitygw@{_VERSION}",
            ],
            log_file=folder / "go.log",
            environment=os.environ | {"GOBIN": str(folder.resolve()), "CGO_ENABLED": "0"},
        )
        return folder / "versitygw"

    return kept(cache / f"versitygw-{_VERSION}", make)


def start(executable: Path, folder: Path, *, region: str, log_file: Path) -> Gateway:
    """Start versitygw on a free port of 127.0.0.1, without buckets.

    Args:
        executable: see `build`.
        folder: keeps its objects, what is known of them, and its accounts.
        region: the region it stands for.
        log_file: takes its output.

    Raises:
        SandboxError: it can't be started.
    """
    objects, metadata, accounts = (folder / name for name in ("objects", "metadata", "accounts"))
    for each in (objects, metadata, accounts):
        each.mkdir(parents=True)
    port = processes.free_port()
    access_key, secret_key = "gateway-root", secrets.token_urlsafe()
    process = processes.start(
        "versitygw",
        [
            executable,
            f"--port=127.0.0.1:{port}",
            f"--region={region}",
            f"--iam-dir={accounts}",
            "--keep-alive",
            "--quiet",
            "posix",
            # Extended attributes, its other way, hold less than a bucket policy may have.
            f"--sidecar={metadata}",
            objects,
        ],
        log_file=log_file,
        environment=os.environ
        | {"ROOT_ACCESS_KEY_ID": access_key, "ROOT_SECRET_ACCESS_KEY": secret_key},
    )
    processes.wait_until(lambda: processes.listens(port), process, _START_SECONDS)
    return Gateway(f"http://127.0.0.1:{port}", access_key, secret_key, objects, process)
