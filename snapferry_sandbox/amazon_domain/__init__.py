"""An Amazon OpenSearch Service domain in front of a node of ours.

It takes what Amazon's takes: requests signed for the service `es`, from identities that IAM allows
`es:ESHttp*`; and refuses what Amazon's refuses. The node then decides by the caller's ARN. Where
its access policy lets everybody in, it also takes passwords of the node's internal users.
"""

from dataclasses import dataclass
from pathlib import Path
from sys import executable

from snapferry_sandbox import processes
from snapferry_sandbox.amazon_domain.configuration import Configuration
from snapferry_sandbox.processes import Process

__all__ = ["AmazonDomain", "Configuration", "start"]

_START_SECONDS = 30


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
    file = folder / f"{configuration.name}.json"
    file.touch(mode=0o600)
    file.write_text(configuration.model_dump_json(indent=2))
    process = processes.start(
        f"domain {configuration.name}",
        [executable, "-m", "snapferry_sandbox.amazon_domain", "--config", file],
        log_file=log_file,
    )
    try:
        processes.wait_until(lambda: processes.listens(configuration.port), process, _START_SECONDS)
    except BaseException:
        process.stop()
        raise
    return AmazonDomain(f"https://127.0.0.1:{configuration.port}", process)
