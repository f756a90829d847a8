"""Deploys Snapferry's stacks to a world, and does there what an operator does by hand."""

import hashlib
import json
import os
import platform
import re
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
from opensearchpy import OpenSearch

from snapferry_sandbox import processes
from snapferry_sandbox.opensearch import security
from snapferry_sandbox.opensearch.cluster import Cluster
from snapferry_sandbox.world import CACHE, ROOT, SANDBOX, AccountName, World

_SOURCE_STACK = "snapferry-source"
_STACK = "snapferry"
_NAME = "snapferry"
"""Of the workflow's role at both clusters, and of its user at the destination."""
_BUILD = CACHE / "sam" / "build"
_BUILT = _BUILD.with_suffix(".sha256")
"""Of what was built, so that it isn't built again: SAM's own cache takes longer than building."""


def deploy(world: World, report: Callable[[str], None]) -> World:
    """Deploy both stacks, or bring them up to date; return the world with what they gave out.

    Args:
        world: one that is up.
        report: takes lines that say how it goes.

    Raises:
        SandboxError: building or deploying failed; with the end of the log.
    """
    architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    sources = _digest_of_sources()
    if not (_BUILT.exists() and _BUILT.read_text() == sources):
        report("Building the functions")
        _BUILT.unlink(missing_ok=True)
        _sam(
            world,
            "destination",
            "build",
            "--template-file",
            ROOT / "template.yaml",
            "--build-dir",
            _BUILD,
            "--no-cached",
            "--parameter-overrides",
            f"Architecture={architecture}",
        )
        _BUILT.write_text(sources)
    report(f"Deploying {_SOURCE_STACK} to account {world.aws.accounts['source']}")
    domains = [
        f"arn:aws:es:{world.aws.region}:{world.aws.accounts['source']}:domain/{source.domain}"
        for source in world.sources
    ]
    roles = _deploy_stack(
        world,
        "source",
        _SOURCE_STACK,
        ROOT / "accounts" / "source.yaml",
        {
            "SnapferryAccountId": world.aws.accounts["destination"],
            "DomainArns": ",".join(domains),
            "DomainPathArns": ",".join(f"{domain}/*" for domain in domains),
            "BucketName": world.s3.bucket,
        },
    )
    report(f"Deploying {_STACK} to account {world.aws.accounts['destination']}")
    outputs = _deploy_stack(
        world,
        "destination",
        _STACK,
        _BUILD / "template.yaml",
        {"Architecture": architecture},
        "--resolve-s3",
    )
    report("Giving rights to the roles")
    for source in world.sources:
        _map_domain_access_role(source.client(), roles["DomainAccessRoleArn"])
    _let_write(world, roles["SnapshotRoleArn"])
    deployed = world.model_copy(
        update={
            "deployment": {
                "state_machines": _state_machines(outputs),
                "table": outputs["TableName"],
                "topic": outputs["TopicArn"],
                "records_bucket": outputs["RecordsBucketName"],
                "domain_access_role": roles["DomainAccessRoleArn"],
                "snapshot_role": roles["SnapshotRoleArn"],
                "destination_secret": _ensure_destination_user(world, world.destinations[0]),
            }
        }
    )
    deployed.save()
    return deployed


def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    folders = (ROOT / "functions", ROOT / "statemachine")
    files = [file for folder in folders for file in sorted(folder.rglob("*"))]
    for file in [ROOT / "template.yaml", *files]:
        if file.is_file() and file.suffix != ".pyc":
            digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _deploy_stack(
    world: World,
    account: AccountName,
    stack: str,
    template: Path,
    parameters: Mapping[str, str],
    *options: str,
) -> dict[str, str]:
    """Deploy a stack, and return its outputs."""
    _sam(
        world,
        account,
        "deploy",
        "--template-file",
        template,
        "--stack-name",
        stack,
        "--capabilities",
        "CAPABILITY_IAM",
        "CAPABILITY_NAMED_IAM",
        "--no-confirm-changeset",
        "--no-fail-on-empty-changeset",
        "--no-progressbar",
        "--parameter-overrides",
        *(f"{name}={value}" for name, value in parameters.items()),
        *options,
    )
    cloudformation = boto3.client("cloudformation", **_client_options(world, account))
    (description,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in description["Outputs"]}


def _sam(world: World, account: AccountName, *arguments: str | Path) -> None:
    # Not what the person at the terminal has set for AWS or for Python.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))
    }
    programs = Path(sys.executable).parent
    processes.run(
        f"sam {arguments[0]}",
        [programs / "sam", *arguments],
        log_file=world.logs / "deployment.log",
        environment={
            **inherited,
            # `sam build` looks for a python3.13 on PATH and needs a real one, not a shim.
            "PATH": f"{programs}:{os.environ['PATH']}",
            "AWS_ACCESS_KEY_ID": world.s3.accounts[account].access_key,
            "AWS_SECRET_ACCESS_KEY": world.s3.accounts[account].secret_key,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_DEFAULT_REGION": world.aws.region,
            "AWS_ENDPOINT_URL": world.aws.endpoint,
            # All functions have the same code: build and pack it once, not for each of them.
            "SAM_CLI_BETA_BUILD_PERFORMANCE": "1",
            "SAM_CLI_BETA_PACKAGE_PERFORMANCE": "1",
            "SAM_CLI_POLL_DELAY": "1",
            "SAM_CLI_TELEMETRY": "0",
            "__SAM_CLI_APP_DIR": str(SANDBOX / "sam"),
        },
        directory=ROOT,
    )


def _client_options(world: World, account: AccountName) -> dict[str, Any]:
    return {
        "endpoint_url": world.aws.endpoint,
        "region_name": world.aws.region,
        "aws_access_key_id": world.s3.accounts[account].access_key,
        "aws_secret_access_key": world.s3.accounts[account].secret_key,
    }


def _state_machines(outputs: Mapping[str, str]) -> dict[str, str]:
    """Return the state machines by their files' names: `MigrateDomain...` is `migrate_domain`."""
    suffix = "StateMachineArn"
    return {
        re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix(suffix)).lower(): arn
        for name, arn in outputs.items()
        if name.endswith(suffix)
    }


def _map_domain_access_role(domain: OpenSearch, role_arn: str) -> None:
    """Map an IAM role to what the workflow may do on a domain."""
    domain.security.create_role(
        role=_NAME,
        body={
            "cluster_permissions": ["cluster_composite_ops_ro", "cluster_monitor"],
            "index_permissions": [
                {
                    "index_patterns": ["*"],
                    "allowed_actions": [
                        "indices:admin/aliases/get",
                        "indices:admin/get",
                        "indices:admin/mappings/get",
                        "indices:admin/refresh*",
                        "indices_monitor",
                        "read",
                    ],
                }
            ],
        },
    )
    for role in (_NAME, "manage_snapshots"):
        domain.security.create_role_mapping(role=role, body={"backend_roles": [role_arn]})


def _let_write(world: World, snapshot_role: str) -> None:
    """Let the role with which the domains write into the bucket, by the bucket's policy."""
    account = world.s3.accounts["destination"]
    bucket = f"arn:aws:s3:::{world.s3.bucket}"
    statements = [
        {
            "Sid": "SnapferryList",
            "Effect": "Allow",
            "Principal": {"AWS": snapshot_role},
            "Action": ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            "Resource": bucket,
        },
        {
            "Sid": "SnapferryWrite",
            "Effect": "Allow",
            "Principal": {"AWS": snapshot_role},
            "Action": [
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:GetObject",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
                "s3:PutObjectAcl",
            ],
            "Resource": f"{bucket}/*",
        },
    ]
    boto3.client(
        "s3",
        endpoint_url=world.s3.endpoint,
        region_name=world.aws.region,
        aws_access_key_id=account.access_key,
        aws_secret_access_key=account.secret_key,
    ).put_bucket_policy(
        Bucket=world.s3.bucket,
        Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )


def _ensure_destination_user(world: World, destination: Cluster) -> str:
    """Have a user for the workflow at the destination; return the ARN of its secret.

    A user that is there already keeps its password: the functions that run know it.
    """
    secretsmanager = boto3.client("secretsmanager", **_client_options(world, "destination"))
    name = f"snapferry/{destination.name}"
    try:
        return secretsmanager.describe_secret(SecretId=name)["ARN"]
    except secretsmanager.exceptions.ResourceNotFoundException:
        pass
    password = secrets.token_urlsafe(24)
    client = destination.client()
    security.ensure_user(client, _NAME, password)
    security.ensure_role(
        client,
        _NAME,
        cluster_permissions=["cluster_composite_ops", "cluster_monitor", "manage_snapshots"],
        index_permissions={"*": ["indices_all"]},
        users=[_NAME],
    )
    secret = {
        "username": _NAME,
        "password": password,
        "ca_certificate": destination.ca_file.read_text(),
    }
    return secretsmanager.create_secret(Name=name, SecretString=json.dumps(secret))["ARN"]
