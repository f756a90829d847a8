"""Starts LocalStack."""

import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from snapferry_sandbox import environments, faults, processes
from snapferry_sandbox.localstack.plugin.settings import Settings

_PLUGIN = Path(__file__).parent / "plugin"
_FUNCTIONS = Path(__file__).parent / "functions"
_CLONE = Path(__file__).parents[2]
_START_TIMEOUT_SECONDS = 120
CALLS = "aws-calls.jsonl"
"""Among the logs: who called what of AWS, a JSON object a line."""

_SERVICES = (
    "cloudformation",
    "cloudwatch",
    "dynamodb",
    "events",
    "iam",
    "kms",
    "lambda",
    "logs",
    "s3",
    "scheduler",
    "secretsmanager",
    "sns",
    "sqs",
    "ssm",
    "stepfunctions",
    "sts",
)


@dataclass(frozen=True)
class LocalStack:
    """A LocalStack that runs. A 12-digit access key id is the number of the account it acts for."""

    endpoint: str
    """All services; `GET /_snapferry/identities/<access key id>` tells whose a key is."""
    process: processes.Process
    faults: faults.Faults
    """What is to go wrong."""


def start(
    folder: Path,
    logs: Path,
    *,
    lambda_environment: Mapping[str, str],
    buckets: Mapping[str, str] | None = None,
    time_scale: float = 1,
) -> LocalStack:
    """Start LocalStack, creating its environments where they don't stand yet.

    Args:
        folder: takes all its files.
        logs: takes localstack.log, aws-calls.jsonl and
            lambda/<function>/<execution environment>.log.
        lambda_environment: variables that all functions get, on top of their own.
        buckets: endpoints of the buckets that another S3 keeps; requests for them are passed on.
        time_scale: how long a second of a Wait state or of a Retry takes, in seconds.

    Raises:
        SandboxError: it can't be installed or started.
    """
    python = environments.ensure("localstack") / "bin" / "python"
    settings = Settings(
        lambda_python=str(environments.ensure("lambda") / "bin" / "python"),
        lambda_logs=str(logs / "lambda"),
        lambda_environment={
            "PYTHONPATH": str(_FUNCTIONS),
            faults.VARIABLE: str(folder / "faults"),
            **lambda_environment,
        },
        buckets=buckets or {},
        time_scale=time_scale,
        faults=str(folder / "faults"),
        calls=str(logs / CALLS),
    )
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    port = processes.free_port()
    process = processes.start(
        "LocalStack",
        [python, "-m", "localstack.runtime.main"],
        log_file=logs / "localstack.log",
        environment={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{_CLONE}:{_PLUGIN / 'entry_points'}",
            # Wherever it could write.
            "HOME": str(folder),
            "TMPDIR": str(temporary),
            "FILESYSTEM_ROOT": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
            # Nothing goes out, nothing listens but this port.
            "DISABLE_EVENTS": "1",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DNS_ADDRESS": "0",
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "LOCALSTACK_HOST": f"127.0.0.1:{port}",
            "SQS_ENDPOINT_STRATEGY": "path",
            "SERVICES": ",".join(_SERVICES),
            "LAMBDA_RUNTIME_EXECUTOR": "process",
            "LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT": "60",  # seconds, for a machine with much to do
            "PROVIDER_OVERRIDE_DYNAMODB": "moto",
            **settings.to_environment(),
        },
    )
    endpoint = f"http://127.0.0.1:{port}"
    processes.wait_until(lambda: _healthy(endpoint), process, _START_TIMEOUT_SECONDS)
    return LocalStack(endpoint, process, faults.Faults(Path(settings.faults)))


def _healthy(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint}/_localstack/health", timeout=5):  # noqa: S310
            return True
    except (urllib.error.URLError, TimeoutError):
        return False
