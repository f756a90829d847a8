"""Stands in for the OpenSearch Dashboards of the clusters, which isn't published for the sandbox.

One process has all of them, each below a base path. What they have is their saved objects, by the
documented REST API, kept in memory; who may see and change them is asked of the cluster.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from snapferry_sandbox import processes
from snapferry_sandbox.opensearch.security import IdentityHeaders
from snapferry_sandbox.processes import Process


class Configuration(BaseModel):
    """What the process is told at its start."""

    model_config = ConfigDict(frozen=True)

    port: int
    """Of 127.0.0.1, where it listens."""
    certificate_file: Path
    key_file: Path
    clusters: dict[str, str]
    """The URL of each cluster by its name, which is the base path of its Dashboards."""
    ca_file: Path
    """Of the clusters."""
    identity_headers: IdentityHeaders
    """By which a domain's front states who is calling."""


@dataclass(frozen=True)
class Dashboards:
    """A running stand-in."""

    endpoint: str
    """Its URL; behind it comes the name of a cluster."""
    process: Process


def start(configuration: Configuration, *, folder: Path, log_file: Path) -> Dashboards:
    """Start it and wait until it listens.

    Args:
        configuration: of the process.
        folder: takes the configuration's file, which only this user can read.
        log_file: takes its output.

    Raises:
        SandboxError: it doesn't start.
    """
    process = processes.start_server(
        "dashboards",
        __name__,
        configuration,
        configuration.port,
        file=folder / "dashboards.json",
        log_file=log_file,
    )
    return Dashboards(f"https://127.0.0.1:{configuration.port}", process)
