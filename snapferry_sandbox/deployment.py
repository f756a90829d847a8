"""Deploys Snapferry's stacks to a world, and does there what an operator does by hand."""

import contextlib
import hashlib
import json
import os
import platform
import re
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import boto3

from snapferry_sandbox import processes
from snapferry_sandbox.opensearch import security
from snapferry_sandbox.opensearch.cluster import Cluster
from snapferry_sandbox.world import CACHE, ROOT, SANDBOX, AccountName, World

_SOURCE_STACK = "snapferry-source"
_DESTINATION_STACK = "snapferry-destination"
_BUCKET_STACK = "snapferry-bucket"
_STACK = "snapferry"
_NAME = "snapferry"
"""Of the workflow's user at the destination."""
_MASTER_ROLE = "SnapferryDomainMaster"
"""By default the functions may assume a role of this name."""
_ARTIFACT_BUCKET = "snapferry-artifacts"
_EXTERNAL_ID = "snapferry-sandbox"
_BUILD = CACHE / "sam" / "build"
_BUILT = _BUILD.with_suffix(".sha256")
"""Of what was built, so that it isn't built again: SAM's own cache takes longer than building."""


def deploy(world: World, report: Callable[[str], None]) -> World:
    """Deploy all stacks, or bring them up to date; return the world with what they gave out.

    Args:
        world: one that is up.
        report: takes lines that say how it goes.

    Raises:
        SandboxError: building or deploying failed; with the end of the log.
    """
    sources = _digest_of_sources()
    if not (_BUILT.exists() and _BUILT.read_text() == sources):
        report("Building the functions")
        _BUILT.unlink(missing_ok=True)
        _run(
            world,
            "destination",
            [
                "make",
                "build",
                f"BUILD={_BUILD}",
                f"BUILD_OPTIONS=--no-cached --parameter-overrides Architecture={_architecture()}",
            ],
        )
        _BUILT.write_text(sources)
    report(f"Deploying {_SOURCE_STACK} to account {world.aws.accounts['source']}")
    roles = _deploy_roles(world, "source", _SOURCE_STACK, world.sources, "write")
    report(f"Deploying {_STACK} to account {world.aws.accounts['destination']}")
    outputs = _deploy_workflow(world, {})
    report(f"Deploying {_BUCKET_STACK} to account {world.aws.accounts['destination']}")
    bucket = _deploy_stack(
        world,
        "destination",
        _BUCKET_STACK,
        ROOT / "accounts" / "bucket.yaml",
        {
            "SnapferryAccountId": world.aws.accounts["destination"],
            "ExternalId": _EXTERNAL_ID,
            "BucketName": world.s3.bucket,
        },
    )
    destination_domains = _deploy_destination_domains(world, report)
    report("Making the users of the clusters")
    master_secrets = {source.name: _ensure_master_secret(world, source) for source in world.sources}
    deployed = world.model_copy(
        update={
            "deployment": {
                "state_machines": _state_machines(outputs),
                "table": outputs["TableName"],
                "topic": outputs["TopicArn"],
                "event_bus": outputs["EventBusName"],
                "records_bucket": outputs["RecordsBucketName"],
                "domain_access_role": roles["DomainAccessRoleArn"],
                "snapshot_role": roles["SnapshotRoleArn"],
                "domain_master_role": _ensure_master_role(world, "source", world.sources),
                "domain_master_secret": master_secrets[world.sources[0].name],
                "domain_master_secrets": master_secrets,
                "bucket_access": {
                    "role_arn": bucket["BucketAccessRoleArn"],
                    "external_id": _EXTERNAL_ID,
                },
                "destinations": [
                    {
                        "endpoint": urlsplit(destination.url).netloc,
                        "secret_arn": _ensure_destination_user(world, destination),
                        "master_user": {"secret_arn": _ensure_master_secret(world, destination)},
                        "dashboards_endpoint": f"{world.dashboards}/{destination.name}",
                    }
                    for destination in world.destinations
                ],
                "destination_domains": destination_domains,
            }
        }
    )
    deployed.save()
    return deployed


def schedule_snapshots(world: World, schedule: str, document: Any) -> None:
    """Deploy the workflow once more, so that it has a schedule of snapshots.

    The schedule stays: LocalStack removes nothing that goes by a condition.

    Args:
        world: one that is deployed.
        schedule: such as `rate(1 day)`.
        document: the input of the snapshots.
    """
    # Twice: the command line takes a text in quotes, and the input is a text in it.
    _deploy_workflow(
        world,
        {
            "SnapshotSchedule": json.dumps(schedule),
            "SnapshotInput": json.dumps(json.dumps(document)),
        },
    )


def _deploy_destination_domains(
    world: World, report: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Deploy the roles of the destinations that are domains; return these as an input has them."""
    domains = [one for one in world.destinations if one.domain_endpoint]
    if not domains:
        return []
    report(f"Deploying {_DESTINATION_STACK} to account {world.aws.accounts['destination']}")
    roles = _deploy_roles(world, "destination", _DESTINATION_STACK, domains, "read")
    master_role = _ensure_master_role(world, "destination", domains)
    return [
        {
            "endpoint": urlsplit(domain.domain_endpoint).netloc,
            "region": world.aws.region,
            "access_role_arn": roles["DomainAccessRoleArn"],
            "snapshot_role_arn": roles["SnapshotRoleArn"],
            "master_user": {"role_arn": master_role},
        }
        for domain in domains
    ]


def _deploy_roles(
    world: World,
    account: AccountName,
    stack: str,
    domains: Iterable[Cluster],
    bucket_use: Literal["write", "read"],
) -> dict[str, str]:
    """Deploy the roles of an account with domains, and return the stack's outputs."""
    arns = [
        f"arn:aws:es:{world.aws.region}:{world.aws.accounts[account]}:domain/{domain.name}"
        for domain in domains
    ]
    return _deploy_stack(
        world,
        account,
        stack,
        ROOT / "accounts" / "source.yaml",
        {
            "SnapferryAccountId": world.aws.accounts["destination"],
            "DomainArns": ",".join(arns),
            "DomainPathArns": ",".join(f"{arn}/*" for arn in arns),
            "BucketName": world.s3.bucket,
            "BucketUse": bucket_use,
        },
    )


def _deploy_workflow(world: World, parameters: Mapping[str, str]) -> dict[str, str]:
    """Deploy the stack of the workflow, which was built, and return its outputs."""
    return _deploy_stack(
        world,
        "destination",
        _STACK,
        _BUILD / "template.yaml",
        {"Architecture": _architecture(), **parameters},
        "--s3-bucket",
        _ensure_artifact_bucket(world),
    )


def _architecture() -> str:
    return {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _ensure_artifact_bucket(world: World) -> str:
    """Have a bucket for what SAM uploads; `--resolve-s3` would wait for a stack of its own."""
    s3 = boto3.client("s3", **_client_options(world, "destination"))
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(
            Bucket=_ARTIFACT_BUCKET,
            CreateBucketConfiguration={"LocationConstraint": world.aws.region},
        )
    return _ARTIFACT_BUCKET


def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    folders = (ROOT / "functions", ROOT / "statemachine")
    files = [file for folder in folders for file in sorted(folder.rglob("*"))]
    for file in [ROOT / "Makefile", ROOT / "template.yaml", *files]:
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
    _run(
        world,
        account,
        [
            "sam",
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
        ],
    )
    cloudformation = boto3.client("cloudformation", **_client_options(world, account))
    (description,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in description["Outputs"]}


def _run(world: World, account: AccountName, command: Sequence[str | Path]) -> None:
    # Not what the person at the terminal has set for AWS or for Python.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))
    }
    programs = Path(sys.executable).parent
    processes.run(
        f"{command[0]} {command[1]}",
        command,
        log_file=world.logs / "deployment.log",
        environment={
            **inherited,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "AWS_ACCESS_KEY_ID": world.s3.accounts[account].access_key,
            "AWS_SECRET_ACCESS_KEY": world.s3.accounts[account].secret_key,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_DEFAULT_REGION": world.aws.region,
            "AWS_ENDPOINT_URL": world.aws.endpoint,
            # All functions have the same code: pack it once, not for each of them.
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


def _ensure_master_secret(world: World, cluster: Cluster) -> str:
    """Have a secret with a cluster's administrator; return its ARN."""
    return _ensure_secret(
        world,
        f"snapferry/{cluster.name}-master",
        lambda: {
            "username": cluster.user,
            "password": cluster.password,
            "ca_certificate": cluster.ca_file.read_text(),
        },
    )


def _ensure_master_role(world: World, account: AccountName, domains: Iterable[Cluster]) -> str:
    """Have a role that is the IAM master user of an account's domains; return its ARN."""
    iam = boto3.client("iam", **_client_options(world, account))
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{world.aws.accounts['destination']}:root"},
        "Action": "sts:AssumeRole",
    }
    calls = {"Effect": "Allow", "Action": "es:ESHttp*", "Resource": "*"}
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(
            RoleName=_MASTER_ROLE,
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )
    iam.put_role_policy(
        RoleName=_MASTER_ROLE,
        PolicyName="CallDomains",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [calls]}),
    )
    arn = iam.get_role(RoleName=_MASTER_ROLE)["Role"]["Arn"]
    for domain in domains:
        domain.client().security.create_role_mapping(
            role="all_access", body={"backend_roles": ["admin", arn]}
        )
    return arn


def _ensure_destination_user(world: World, destination: Cluster) -> str:
    """Have a user without rights for the workflow at the destination; return its secret's ARN.

    A user that is there already keeps its password: the functions that run know it.
    """

    def create() -> dict[str, str]:
        password = secrets.token_urlsafe(24)
        security.ensure_user(destination.client(), _NAME, password)
        return {
            "username": _NAME,
            "password": password,
            "ca_certificate": destination.ca_file.read_text(),
        }

    return _ensure_secret(world, f"snapferry/{destination.name}", create)


def _ensure_secret(world: World, name: str, create: Callable[[], Mapping[str, str]]) -> str:
    """Have a secret of that name, made when there is none; return its ARN."""
    secretsmanager = boto3.client("secretsmanager", **_client_options(world, "destination"))
    try:
        return secretsmanager.describe_secret(SecretId=name)["ARN"]
    except secretsmanager.exceptions.ResourceNotFoundException:
        secret = json.dumps(create())
    return secretsmanager.create_secret(Name=name, SecretString=secret)["ARN"]
