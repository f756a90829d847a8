"""The world's supervisor: starts all parts, watches them, ends them.

Started by `snapferry_sandbox.world.up`, which passes the world's lock on to it.
"""

import json
import logging
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import boto3

from snapferry_sandbox import amazon_domain, dashboards, java, localstack, network, processes
from snapferry_sandbox.certificates import Authority, Certificate, create_authority
from snapferry_sandbox.errors import SandboxError
from snapferry_sandbox.identities import Identity
from snapferry_sandbox.opensearch.cluster import (
    Cluster,
    S3Client,
    Software,
    StartedCluster,
    start_cluster,
)
from snapferry_sandbox.opensearch.distribution import assemble, has_plugins, product
from snapferry_sandbox.opensearch.security import IdentityHeaders
from snapferry_sandbox.processes import Process
from snapferry_sandbox.s3 import bridge, gateway
from snapferry_sandbox.s3.configuration import Account
from snapferry_sandbox.s3.configuration import Configuration as BridgeConfiguration
from snapferry_sandbox.world import (
    CACHE,
    LOGS,
    NODES,
    RUN,
    S3,
    AccountName,
    Aws,
    Destination,
    Options,
    Part,
    Parts,
    S3Account,
    Source,
    World,
)

REGION: Final = "eu-west-1"
SOURCE_ACCOUNT = "111111111111"
DESTINATION_ACCOUNT = "222222222222"
BUCKET = "snapferry-migration"
_ACCOUNTS: dict[AccountName, str] = {
    "source": SOURCE_ACCOUNT,
    "destination": DESTINATION_ACCOUNT,
}
# Of a domain, by what it runs.
_DASHBOARDS_PATHS = {"elasticsearch": "/_plugin/kibana", "opensearch": "/_dashboards"}
# Those of many nodes have to fit into the memory of a laptop.
_HEAP_MEGABYTES, _SMALL_HEAP_MEGABYTES = 512, 320
_LARGE_WORLD_NODES = 3
_WATCH_SECONDS = 1

logger = logging.getLogger("snapferry_sandbox.supervisor")  # this module runs as __main__


class _Parts:
    """The processes of the world, each ended when the stack is.

    Args:
        stack: ends them, the last first.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._parts: list[tuple[Process, str]] = []

    def add(self, process: Process, url: str) -> None:
        # All data is thrown away: no time for an orderly end.
        self._stack.callback(process.stop, timeout_seconds=0)
        self._parts.append((process, url))

    def present(self) -> Parts:
        return Parts(
            parts=tuple(
                Part(
                    name=process.name,
                    url=url,
                    pid=process.pid,
                    alive=process.alive(),
                    log_file=process.log_file,
                )
                for process, url in self._parts
            )
        )


@dataclass(frozen=True)
class _Clusters:
    """Starts clusters.

    Attributes:
        options: of the world.
        parts: take their processes.
        homes: of the engines, by version.
        java_homes: of what runs them, likewise.
        authority: signs their certificates.
        bridge_port: where S3 is.
        objects_folder: where the gateway keeps the objects.
        user: who runs them, where root can't.
    """

    options: Options
    parts: _Parts
    homes: Mapping[str, Path]
    java_homes: Mapping[str, Path]
    authority: Authority
    bridge_port: int
    objects_folder: Path
    user: int | None

    def start(
        self,
        name: str,
        version: str,
        identity: Identity,
        identity_headers: IdentityHeaders | None = None,
        nodes: int = 1,
        settings: Mapping[str, Any] | None = None,
    ) -> StartedCluster:
        """Start a cluster, with limited network if that is wanted."""
        logger.info("%s: starting %s", name, self.homes[version].name)
        limit = self.options.node_bytes_per_second
        if limit is not None and (nodes > 1 or not has_plugins(version)):
            raise SandboxError(
                f"{name}: only a cluster of one node that reaches S3 by its plugin can have a "
                "limited network."
            )
        s3_port = self.bridge_port if limit is None else processes.free_port()
        cluster = start_cluster(
            name,
            Software(version, self.homes[version], self.java_homes[version]),
            folder=NODES.resolve(),
            logs=LOGS,
            authority=self.authority,
            s3_client=S3Client(
                endpoint=f"http://127.0.0.1:{s3_port}",
                region=REGION,
                access_key=identity.access_key_id,
                secret_key=identity.secret_access_key,
                objects_folder=self.objects_folder,
            ),
            identity_headers=identity_headers,
            nodes=nodes,
            settings=settings,
            heap_megabytes=self._heap_megabytes,
            user=self.user,
        )
        for process in cluster.nodes:
            self.parts.add(process, cluster.cluster.url)
        if cluster.stand_in:
            self.parts.add(cluster.stand_in, cluster.cluster.url)
        return cluster if limit is None else self._limit_network(cluster, limit, s3_port)

    @property
    def _heap_megabytes(self) -> int:
        options = self.options
        nodes = options.clusters + options.destinations * options.destination_nodes
        return _SMALL_HEAP_MEGABYTES if nodes >= _LARGE_WORLD_NODES else _HEAP_MEGABYTES

    def _limit_network(
        self, started: StartedCluster, bytes_per_second: int, s3_port: int
    ) -> StartedCluster:
        """Have a node's traffic pass relays; return the cluster as it is reached through them."""
        name, url = started.cluster.name, urlsplit(started.cluster.url)
        port = processes.free_port()
        connection = network.Connection(
            bytes_per_second=bytes_per_second,
            relays=(
                network.Relay(port=port, target=url.port or 443, caller="others"),
                network.Relay(port=s3_port, target=self.bridge_port, caller="node"),
            ),
        )
        limited = started.cluster.model_copy(update={"url": f"https://127.0.0.1:{port}"})
        relays = network.start(name, connection, log_file=LOGS / f"{name}-network.log")
        self.parts.add(relays, limited.url)
        return replace(started, cluster=limited)


@dataclass(frozen=True)
class _Domains:
    """Starts the domains that clusters are.

    Attributes:
        parts: take their processes.
        certificate: of each of them.
        ca_file: of the authority that has signed it and those of the nodes.
        identity_headers: by which nodes know who calls.
        dashboards: where Dashboards are.
        aws: where the rest of AWS is.
        identities: who may call besides roles.
        bridge_url: where S3 is.
        bridge_token: with which a domain tells it which role a repository has.
    """

    parts: _Parts
    certificate: Certificate
    ca_file: Path
    identity_headers: IdentityHeaders
    dashboards: str
    aws: str
    identities: tuple[Identity, ...]
    bridge_url: str
    bridge_token: str

    def start(self, cluster: Cluster, account: str, nodes: Identity) -> str:
        """Start the domain that a cluster is, and return its endpoint."""
        domain = amazon_domain.start(
            amazon_domain.Configuration(
                name=cluster.name,
                account=account,
                region=REGION,
                port=processes.free_port(),
                certificate_file=self.certificate.certificate_file,
                key_file=self.certificate.key_file,
                node_url=cluster.url,
                node_ca_file=self.ca_file,
                node_identity_headers=self.identity_headers,
                node_access_key_id=nodes.access_key_id,
                dashboards_path=_DASHBOARDS_PATHS[product(cluster.version)],
                dashboards_url=f"{self.dashboards}/{cluster.name}",
                aws_endpoint=self.aws,
                identities=self.identities,
                bridge_url=self.bridge_url,
                bridge_token=self.bridge_token,
                internal_users=True,
            ),
            folder=RUN / "domains",
            log_file=LOGS / f"{cluster.name}-domain.log",
        )
        self.parts.add(domain.process, domain.endpoint)
        logger.info("%s: Amazon domain ready at %s", cluster.name, domain.endpoint)
        return domain.endpoint


def main() -> None:
    """Bring the world up, and keep it up until this process is told to end."""
    options = Options.model_validate_json(sys.argv[1])
    logging.basicConfig(format="%(message)s")
    logging.getLogger("snapferry_sandbox").setLevel(logging.INFO)
    # While a cluster starts, its client warns of every attempt.
    logging.getLogger("opensearch").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, _end)
    with ExitStack() as stack:
        parts = _Parts(stack)
        try:
            world = _start(options, parts)
        except SandboxError as error:
            logger.error("%s", error)
            sys.exit(1)
        seen = parts.present()
        seen.save()
        world.save()
        while True:
            time.sleep(_WATCH_SECONDS)
            present = parts.present()
            if present != seen:
                seen = present
                seen.save()


def _end(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
    sys.exit(0)


def _start(options: Options, parts: _Parts) -> World:
    """Start all parts. The nodes take longest: they are started early and waited for last."""
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    versions = {options.source, options.destination}
    java_homes = {version: java.find_java_home(version, user) for version in versions}
    homes = {version: assemble(version, CACHE) for version in versions}
    gateway_program = gateway.build(CACHE)
    NODES.mkdir()
    if user is not None and not _can_use(user, homes.values()):
        homes = _move_nodes(user, homes)

    administrators = {
        account: _identity(account, account, f"arn:aws:iam::{account}:root")
        for account in (SOURCE_ACCOUNT, DESTINATION_ACCOUNT)
    }
    accounts = {
        account: Account(number=account, canonical_id=secrets.token_hex(32))
        for account in administrators
    }
    authority = create_authority(RUN / "certificates")
    logger.info("S3: starting versitygw")
    # Where the nodes can reach its files.
    s3_gateway = gateway.start(
        gateway_program, NODES.resolve() / "s3", region=REGION, log_file=LOGS / "versitygw.log"
    )
    parts.add(s3_gateway.process, s3_gateway.endpoint)
    bridge_port = processes.free_port()
    bridge_endpoint = f"http://127.0.0.1:{bridge_port}"

    clusters = _Clusters(
        options, parts, homes, java_homes, authority, bridge_port, s3_gateway.objects_folder, user
    )
    secret = secrets.token_hex(16)
    identity_headers = IdentityHeaders(user=f"x-user-{secret}", roles=f"x-roles-{secret}")
    service_identity = _node_identity(SOURCE_ACCOUNT, "source")
    sources = [
        clusters.start(f"source-{number}", options.source, service_identity, identity_headers)
        for number in range(1, options.clusters + 1)
    ]
    destination_identities = {
        name: _node_identity(DESTINATION_ACCOUNT, name)
        for name in (f"destination-{number}" for number in range(1, options.destinations + 1))
    }
    destinations = [
        clusters.start(
            name,
            options.destination,
            identity,
            identity_headers if options.destination_domain else None,
            nodes=options.destination_nodes,
            settings=options.destination_settings,
        )
        for name, identity in destination_identities.items()
    ]

    logger.info("AWS: starting LocalStack")
    aws = localstack.start(
        RUN / "localstack",
        LOGS,
        lambda_environment={"REQUESTS_CA_BUNDLE": str(authority.bundle_file)},
        buckets={BUCKET: bridge_endpoint},
        time_scale=options.time_scale,
    )
    parts.add(aws.process, aws.endpoint)
    for name in destination_identities:
        _create_reader_role(name, aws.endpoint, administrators[DESTINATION_ACCOUNT])
    logger.info("AWS: ready at %s", aws.endpoint)

    control_token = secrets.token_urlsafe()
    bridge_process = bridge.start(
        BridgeConfiguration(
            region=REGION,
            port=bridge_port,
            gateway_endpoint=s3_gateway.endpoint,
            gateway_access_key=s3_gateway.access_key,
            gateway_secret_key=s3_gateway.secret_key,
            aws_endpoint=aws.endpoint,
            identities=(*administrators.values(), *destination_identities.values()),
            service_identity=service_identity,
            control_token=control_token,
            bucket_owner=accounts[DESTINATION_ACCOUNT],
            other_accounts=(accounts[SOURCE_ACCOUNT],),
        ),
        configuration_file=RUN / "bridge.json",
        log_file=LOGS / "s3-bridge.log",
    )
    parts.add(bridge_process, bridge_endpoint)
    _create_bucket(bridge_endpoint, administrators[DESTINATION_ACCOUNT])
    if user is not None:  # a node without a plugin for S3 writes there itself
        os.chown(s3_gateway.objects_folder / BUCKET, user, -1)
    logger.info("S3: ready at %s", bridge_endpoint)

    certificate = authority.issue("dashboards", RUN / "certificates")
    started = (*sources, *destinations)
    its_dashboards = dashboards.start(
        dashboards.Configuration(
            port=processes.free_port(),
            certificate_file=certificate.certificate_file,
            key_file=certificate.key_file,
            clusters={one.cluster.name: one.cluster.url for one in started},
            ca_file=authority.ca_file,
            identity_headers=identity_headers,
        ),
        folder=RUN,
        log_file=LOGS / "dashboards.log",
    )
    parts.add(its_dashboards.process, its_dashboards.endpoint)
    logger.info("Dashboards: ready at %s", its_dashboards.endpoint)

    for cluster in started:
        cluster.wait_until_ready()
    domains = _Domains(
        parts,
        authority.issue("domain", RUN / "certificates"),
        authority.ca_file,
        identity_headers,
        its_dashboards.endpoint,
        aws.endpoint,
        tuple(administrators.values()),
        bridge_endpoint,
        control_token,
    )
    return World(
        sources=tuple(
            Source(
                **source.cluster.model_dump(),
                domain=source.cluster.name,
                domain_endpoint=domains.start(source.cluster, SOURCE_ACCOUNT, service_identity),
            )
            for source in sources
        ),
        destinations=tuple(
            Destination(
                **destination.cluster.model_dump(),
                domain_endpoint=domains.start(
                    destination.cluster,
                    DESTINATION_ACCOUNT,
                    destination_identities[destination.cluster.name],
                )
                if options.destination_domain
                else "",
            )
            for destination in destinations
        ),
        dashboards=its_dashboards.endpoint,
        s3=S3(
            endpoint=bridge_endpoint,
            gateway_endpoint=s3_gateway.endpoint,
            bucket=BUCKET,
            accounts={
                name: S3Account(
                    access_key=account,
                    secret_key=administrators[account].secret_access_key,
                    canonical_id=accounts[account].canonical_id,
                )
                for name, account in _ACCOUNTS.items()
            },
        ),
        aws=Aws(endpoint=aws.endpoint, region=REGION, accounts=_ACCOUNTS),
        ca_bundle_file=authority.bundle_file,
        logs=LOGS,
        supervisor_pid=os.getpid(),
    )


def _identity(access_key_id: str, account: str, arn: str) -> Identity:
    return Identity(
        access_key_id=access_key_id,
        secret_access_key=secrets.token_urlsafe(30),
        account=account,
        arn=arn,
    )


def _node_identity(account: str, role: str) -> Identity:
    """What a cluster's nodes have, as an instance's role gives it to them."""
    return _identity(
        f"AKIA{secrets.token_hex(8).upper()}",
        account,
        f"arn:aws:sts::{account}:assumed-role/{role}/node",
    )


def _create_reader_role(name: str, endpoint: str, administrator: Identity) -> None:
    """Create the role of a destination's nodes, which may read the bucket and no more."""
    client = boto3.client(
        "iam",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=administrator.access_key_id,
        aws_secret_access_key=administrator.secret_access_key,
    )
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "ec2.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    bucket = f"arn:aws:s3:::{BUCKET}"
    read = {
        "Effect": "Allow",
        "Action": ["s3:GetBucketLocation", "s3:GetObject", "s3:ListBucket"],
        "Resource": [bucket, f"{bucket}/*"],
    }
    client.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_policy(trust)))
    client.put_role_policy(
        RoleName=name, PolicyName="ReadSnapshots", PolicyDocument=json.dumps(_policy(read))
    )


def _policy(statement: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [statement]}


def _create_bucket(endpoint: str, owner: Identity) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=owner.access_key_id,
        aws_secret_access_key=owner.secret_access_key,
    )
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})


def _can_use(user: int, homes: Iterable[Path]) -> bool:
    """Whether a user can read the homes and reach the nodes' folders from where they lie."""
    tests = [("-r", home / "lib") for home in homes] + [("-x", NODES)]
    return all(
        subprocess.run(["test", flag, path], check=False, user=user).returncode == 0
        for flag, path in tests
    )


def _move_nodes(user: int, homes: Mapping[str, Path]) -> dict[str, Path]:
    """Have the nodes' folders and copies of the homes where a user can reach them.

    Such a clone lies in root's own home folder. What is made here goes with the link to it, as
    anything else of the world does.
    """
    folder = Path(tempfile.mkdtemp(prefix="snapferry-"))
    os.chown(folder, user, -1)
    NODES.rmdir()
    NODES.symlink_to(folder)
    return {version: shutil.copytree(home, folder / home.name) for version, home in homes.items()}


if __name__ == "__main__":
    main()
