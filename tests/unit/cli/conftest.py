"""The command line, in front of an AWS of its own."""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.handlers
import botocore.loaders
import botocore.session
import pytest

from snapferry_cli.main import main
from tests.unit.cli.aws import FakeAws
from tests.unit.tables import table

type Run = Callable[..., "Said"]

# Descriptions of the services, which every session would read anew.
_LOADER = botocore.loaders.create_loader()


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[Any]:
        """What programs got to know."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def document(self) -> Any:
        """What programs got to know, if it is one document."""
        [document] = self.documents
        return document


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeAws]:
    """AWS, with credentials and a region in the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("SNAPFERRY_STACK", raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    # Addresses that moto leaves alone.
    for service in ("CLOUDFORMATION", "SFN", "STS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", "https://aws.invalid")
    monkeypatch.setattr(botocore.session, "create_loader", lambda *_: _LOADER)
    with table() as items:
        s3 = boto3.client("s3", aws_access_key_id="test", aws_secret_access_key="test")
        s3.create_bucket(
            Bucket="records", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        aws = FakeAws(items, s3)
        # As moto does: whatever session is made from here on asks it.
        monkeypatch.setattr(
            botocore.handlers,
            "BUILTIN_HANDLERS",
            [
                *(
                    (f"before-send.{service}", aws.answer)
                    for service in ("cloudformation", "dynamodb", "s3", "sfn", "sts")
                ),
                *botocore.handlers.BUILTIN_HANDLERS,
            ],
        )
        monkeypatch.setattr(time, "sleep", aws.wait)
        clock = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: clock() + aws.waited_seconds)
        yield aws


@pytest.fixture
def run(aws: FakeAws, capsys: pytest.CaptureFixture[str]) -> Run:  # noqa: ARG001
    """Runs a command."""

    def run(*arguments: str) -> Said:
        capsys.readouterr()  # What functions have logged isn't the command's.
        code = main(arguments)
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run
