"""Stands in for the plugins of a version of which none is published.

They are security, repository-s3 and Index State Management, whose policies don't act.

It is what clients take for the node: TLS, passwords or the identity that a domain's front states,
roles and their mappings by the documented REST API, kept in memory. A repository of the type `s3`
becomes one of the type `fs` in the folder that holds the objects of the sandbox's S3, so that the
other side finds the same objects, by S3 or in this way.

What it leaves out: documents and fields can't be hidden by roles, and since such a node reads and
writes the bucket's files itself, the bucket's permissions don't apply to it.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from snapferry_sandbox import processes
from snapferry_sandbox.opensearch.security import IdentityHeaders
from snapferry_sandbox.processes import Process


class Configuration(BaseModel):
    """What the stand-in's process is told at its start."""

    model_config = ConfigDict(frozen=True)

    port: int
    """Of 127.0.0.1, where it listens."""
    certificate_file: Path
    key_file: Path
    node_url: str
    objects_folder: Path
    """Has a folder for each bucket."""
    security_api: str
    """The path of the security plugin, such as `/_plugins/_security`."""
    user: str
    """Who may do everything from the start."""
    password: str
    identity_headers: IdentityHeaders | None = None
    """By which a front on this machine states who is calling."""


def start(name: str, configuration: Configuration, *, folder: Path, log_file: Path) -> Process:
    """Start a stand-in and wait until it listens.

    Args:
        name: of the cluster.
        configuration: of the stand-in.
        folder: takes the configuration's file, which only this user can read.
        log_file: takes its output.

    Raises:
        SandboxError: it doesn't start.
    """
    return processes.start_server(
        f"{name} stand-in",
        __name__,
        configuration,
        configuration.port,
        file=folder / "stand-in.json",
        log_file=log_file,
    )
