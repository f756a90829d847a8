"""An Amazon OpenSearch Service domain in front of a node of ours.

It takes what Amazon's takes: requests signed for the service `es`, from identities that IAM allows
`es:ESHttp*`; and refuses what Amazon's refuses. The node then decides by the caller's ARN. Where
its access policy lets everybody in, it also takes passwords of the node's internal users.
"""

from dataclasses import dataclass
from pathlib import Path

from snapferry_sandbox import processes
from snapferry_sandbox.amazon_domain.configuration import Configuration
from snapferry_sandbox.processes import Process

__all__ = ["AmazonDomain", "Configuration", "start"]


@dataclass(frozen=True)
class AmazonDomain:
    """A running domain."""

    endpoint: str
    """Its URL."""
    process: Process


def start(configuration: Configuration, *, folder: Path, log_file: Path) -> AmazonDomain:
    """Start a domain and wait until it listens.

    Args:
        configuration: of the domain.
        folder: takes the configuration's file, which only this user can read.
        log_file: takes what the domain logs.

    Raises:
        SandboxError: it doesn't start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    process = processes.start_server(
        f"domain {configuration.name}",
        __name__,
        configuration,
        configuration.port,
        file=folder / f"{configuration.name}.json",
        log_file=log_file,
    )
    return AmazonDomain(f"https://127.0.0.1:{configuration.port}", process)
