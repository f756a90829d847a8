"""Starts clusters, with TLS, security and an S3 client.

All three are real where the version comes with plugins; otherwise there is a stand-in.
"""

import logging
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, override

import orjson
import yaml
from opensearchpy import OpenSearch, Transport
from opensearchpy.exceptions import OpenSearchException
from opensearchpy.serializer import JSONSerializer
from pydantic import BaseModel, ConfigDict

from snapferry_sandbox import processes
from snapferry_sandbox.certificates import (
    ADMINISTRATOR,
    Authority,
    Certificate,
    distinguished_name,
)
from snapferry_sandbox.errors import SandboxError
from snapferry_sandbox.opensearch import security, stand_in
from snapferry_sandbox.opensearch.distribution import has_plugins, product
from snapferry_sandbox.processes import Process

_READY_SECONDS = 300
_REQUEST_TIMEOUT_SECONDS = 60  # the usual 10 are short while other nodes start on the same cores
_ADMIN = "admin"

# To the console only, which is the node's log file.
_LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""

_MAIN_CLASSES = {
    "elasticsearch": "org.elasticsearch.bootstrap.Elasticsearch",
    "opensearch": "org.opensearch.bootstrap.OpenSearch",
}
# How the names of a product's own system properties begin.
_PROPERTIES = {"elasticsearch": "es", "opensearch": "opensearch"}
# Since OpenSearch began, the plugin's API has a name of OpenSearch's; before, it had Open Distro's.
_SECURITY_APIS = {"elasticsearch": "/_opendistro/_security", "opensearch": "/_plugins/_security"}

# What bin/opensearch gives every node, as far as it isn't Java's own default by now.
_SYSTEM_OPTIONS = (
    "-Djna.nosys=true",
    "-XX:-OmitStackTraceInFastThrow",
    "-Dio.netty.noUnsafe=true",
    "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
    "-Dio.netty.allocator.numDirectArenas=0",
    "-Dlog4j.shutdownHookEnabled=false",
    "-Dlog4j2.disable.jmx=true",
)

# Nothing of the caller's: neither options for Java nor settings for AWS's client.
_ENVIRONMENT = {"LC_ALL": "C.UTF-8"}

logger = logging.getLogger(__name__)


class _FastSerializer(JSONSerializer):
    """Reads and writes JSON several times as fast as the client's own."""

    @override
    def loads(self, s: str) -> Any:
        return orjson.loads(s)

    @override
    def dumps(self, data: Any) -> str:
        return data if isinstance(data, str) else orjson.dumps(data).decode()


class _OpenDistroTransport(Transport):
    """Reaches the REST API of the security plugin where Open Distro has it."""

    @override
    def perform_request(self, method: str, url: str, *args: Any, **options: Any) -> Any:
        url = url.replace(_SECURITY_APIS["opensearch"], _SECURITY_APIS["elasticsearch"])
        return super().perform_request(method, url, *args, **options)


class Cluster(BaseModel):
    """How to reach a cluster as its administrator."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    url: str
    user: str
    password: str
    ca_file: Path
    version: str

    def client(self) -> OpenSearch:
        """Return a client of the cluster's administrator."""
        by_opensearch = product(self.version) == "opensearch"
        return OpenSearch(
            self.url,
            http_auth=(self.user, self.password),
            ca_certs=str(self.ca_file),
            headers={"accept-encoding": "gzip"},
            serializer=_FastSerializer(),
            transport_class=Transport if by_opensearch else _OpenDistroTransport,
            timeout=_REQUEST_TIMEOUT_SECONDS,
        )


@dataclass(frozen=True)
class Software:
    """What a node runs."""

    version: str
    """Of OpenSearch or Elasticsearch."""
    home: Path
    """As it was assembled."""
    java_home: Path


@dataclass(frozen=True)
class S3Client:
    """What a cluster's nodes use for their snapshots."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str
    objects_folder: Path
    """Has a folder for each bucket, in which an object is a file: for nodes without a plugin."""


@dataclass(frozen=True)
class StartedCluster:
    """A cluster of which the nodes were started."""

    cluster: Cluster
    nodes: tuple[Process, ...]
    stand_in: Process | None
    """Of the plugins, where the version comes without."""
    _administrator: OpenSearch

    def wait_until_ready(self) -> None:
        """Wait until the cluster works, and create its administrator.

        Raises:
            SandboxError: a node ended, or took too long.
        """
        # By default the security plugin says UP before it has its configuration.
        strict = {"mode": "strict"}
        administrator = self._administrator.security
        self._wait_until(lambda: administrator.health(params=strict))
        security.ensure_user(
            self._administrator, self.cluster.user, self.cluster.password, backend_roles=["admin"]
        )
        # The plugin takes up a new user a moment after it has answered.
        client = self.cluster.client()
        wanted = {"wait_for_status": "yellow", "wait_for_nodes": len(self.nodes)}
        self._wait_until(lambda: client.cluster.health(params=wanted))
        logger.info("%s: ready at %s", self.cluster.name, self.cluster.url)

    def _wait_until(self, call: Callable[[], object]) -> None:
        for node in self.nodes:
            processes.wait_until(lambda: _succeeds(call), node, _READY_SECONDS)


def start_cluster(
    name: str,
    software: Software,
    *,
    folder: Path,
    logs: Path,
    authority: Authority,
    s3_client: S3Client,
    identity_headers: security.IdentityHeaders | None = None,
    nodes: int = 1,
    settings: Mapping[str, Any] | None = None,
    heap_megabytes: int = 512,
    user: int | None = None,
) -> StartedCluster:
    """Start a cluster; it is ready after `StartedCluster.wait_until_ready`.

    Args:
        name: of the cluster and of its first node, by which it is reached.
        software: that the nodes run.
        folder: takes a folder for each node, with its configuration, data and temporary files.
        logs: takes the nodes' logs.
        authority: signs the certificates, the nodes' and the administrator's.
        s3_client: endpoint and credentials of the client `default` of its S3 repositories.
        identity_headers: lets a front on this machine state who is calling.
        nodes: how many there are; several from Elasticsearch 7 on.
        settings: more of them for all nodes, as in `opensearch.yml`.
        heap_megabytes: size of the Java heap of each.
        user: id of the user to run the nodes as; OpenSearch refuses to run as root.

    Raises:
        SandboxError: a node can't be configured or started.
    """
    version = software.version
    names = [name, *(f"{name}-node-{number}" for number in range(2, nodes + 1))]
    ports = {node: _Ports(processes.free_port(), processes.free_port()) for node in names}
    first_port = ports[name].http if has_plugins(version) else processes.free_port()
    cluster = Cluster(
        name=name,
        url=f"https://127.0.0.1:{first_port}",
        user=_ADMIN,
        password=secrets.token_urlsafe(24),
        ca_file=authority.ca_file,
        version=version,
    )
    started = []
    for node in names:
        node_settings = {
            **_settings(node, version, folder / node, ports[node]),
            **_discovery(names, version, ports),
            "cluster.name": name,
            **(settings or {}),
        }
        started.append(
            _start_node(
                node,
                software,
                node_settings,
                folder=folder / node,
                log_file=logs / f"{node}.log",
                authority=authority,
                s3_client=s3_client,
                identity_headers=identity_headers,
                heap_megabytes=heap_megabytes,
                user=user,
            )
        )
    certificates = folder / f"{name}-certificates"
    if has_plugins(version):
        administrator = authority.issue(ADMINISTRATOR, certificates)
        by_certificate = OpenSearch(
            cluster.url,
            ca_certs=str(authority.ca_file),
            client_cert=str(administrator.certificate_file),
            client_key=str(administrator.key_file),
        )
        return StartedCluster(cluster, tuple(started), None, by_certificate)
    certificate = authority.issue(name, certificates)
    front = stand_in.start(
        name,
        stand_in.Configuration(
            port=first_port,
            certificate_file=certificate.certificate_file,
            key_file=certificate.key_file,
            node_url=f"http://127.0.0.1:{ports[name].http}",
            objects_folder=s3_client.objects_folder,
            security_api=_SECURITY_APIS[product(version)],
            user=cluster.user,
            password=cluster.password,
            identity_headers=identity_headers,
        ),
        folder=certificates,
        log_file=logs / f"{name}-stand-in.log",
    )
    return StartedCluster(cluster, tuple(started), front, cluster.client())


@dataclass(frozen=True)
class _Ports:
    """Of 127.0.0.1, where a node listens."""

    http: int
    transport: int


def _start_node(
    name: str,
    software: Software,
    settings: dict[str, Any],
    *,
    folder: Path,
    log_file: Path,
    authority: Authority,
    s3_client: S3Client,
    identity_headers: security.IdentityHeaders | None,
    heap_megabytes: int,
    user: int | None,
) -> Process:
    configuration = folder / "config"
    for part in (configuration, folder / "data", folder / "logs", folder / "tmp"):
        part.mkdir(parents=True)
    version, home = software.version, software.home
    java = _java(software, configuration)
    if has_plugins(version):
        certificates = configuration / "certificates"
        certificate = authority.issue(name, certificates)
        shutil.copy(authority.ca_file, certificates)
        settings |= _plugin_settings(settings["cluster.name"], certificate, authority, s3_client)
        security.write_configuration(home, configuration / "opensearch-security", identity_headers)
    else:
        settings["path.repo"] = str(s3_client.objects_folder)
    (configuration / f"{product(version)}.yml").write_text(yaml.safe_dump(settings))
    (configuration / "log4j2.properties").write_text(_LOGGING)
    if user is not None:
        _give(folder, user)
    if has_plugins(version):
        _store_credentials(java, home, s3_client, user)
    return processes.start(
        name,
        [
            *java,
            f"-Xms{heap_megabytes}m",
            f"-Xmx{heap_megabytes}m",
            f"-XX:MaxDirectMemorySize={heap_megabytes // 2}m",
            f"-XX:ErrorFile={folder / 'logs'}/java-error-%p.log",
            f"-Djava.io.tmpdir={folder / 'tmp'}",
            *_version_options(version, home),
            *_SYSTEM_OPTIONS,
            f"--class-path={home}/lib/*",
            _MAIN_CLASSES[product(version)],
        ],
        log_file=log_file,
        environment=_ENVIRONMENT,
        directory=home,
        user=user,
    )


def _settings(name: str, version: str, folder: Path, ports: _Ports) -> dict[str, Any]:
    """What is set in every version."""
    settings: dict[str, Any] = {
        "node.name": name,
        "network.host": "127.0.0.1",
        "http.port": ports.http,
        "path.data": str(folder / "data"),
        "path.logs": str(folder / "logs"),
        # Encrypting takes a node longer than anything else it does for a search: less of it.
        "http.compression": True,
        # A laptop's disk may well be fuller than a server's should be.
        "cluster.routing.allocation.disk.threshold_enabled": False,
    }
    if version.startswith("6."):
        return settings | {"transport.tcp.port": ports.transport}
    return settings | {
        "transport.port": ports.transport,
        # It would count garbage, which the serial collector leaves until the heap is full.
        "indices.breaker.total.use_real_memory": False,
    }


def _discovery(names: Sequence[str], version: str, ports: Mapping[str, _Ports]) -> dict[str, Any]:
    """How the nodes of a cluster find each other; the first one makes it."""
    if len(names) == 1:
        return {"discovery.type": "single-node"}
    manager = "master" if version.startswith(("1.", "7.")) else "cluster_manager"
    return {
        "discovery.seed_hosts": [f"127.0.0.1:{ports[name].transport}" for name in names],
        f"cluster.initial_{manager}_nodes": [names[0]],
    }


def _plugin_settings(
    cluster: str, certificate: Certificate, authority: Authority, s3_client: S3Client
) -> dict[str, Any]:
    tls = {
        "pemcert_filepath": f"certificates/{certificate.certificate_file.name}",
        "pemkey_filepath": f"certificates/{certificate.key_file.name}",
        "pemtrustedcas_filepath": f"certificates/{authority.ca_file.name}",
    }
    return {
        "s3.client.default.endpoint": s3_client.endpoint,
        "s3.client.default.region": s3_client.region,
        "s3.client.default.path_style_access": True,
        **{f"plugins.security.ssl.transport.{key}": value for key, value in tls.items()},
        "plugins.security.ssl.http.enabled": True,
        **{f"plugins.security.ssl.http.{key}": value for key, value in tls.items()},
        "plugins.security.nodes_dn": [distinguished_name(f"{cluster}*")],
        "plugins.security.authcz.admin_dn": [distinguished_name(ADMINISTRATOR)],
        "plugins.security.allow_default_init_securityindex": True,
        "plugins.security.enable_snapshot_restore_privilege": True,
        "plugins.security.restapi.roles_enabled": ["all_access", "security_rest_api_access"],
        "plugins.security.audit.type": "noop",
        # After each change of the security configuration every caller's next call checks its
        # password: half a second with the plugin's own rounds. Passwords here live for one run.
        "plugins.security.password.hashing.bcrypt.rounds": 4,
    }


def _java(software: Software, configuration: Path) -> list[str]:
    """Java with the options of all of a version's programs.

    It is started by itself: the programs in bin/ start four more Java machines before the node's.
    """
    properties = {
        "path.home": software.home,
        "path.conf": configuration,
        "distribution.type": "zip",
        "bundled_jdk": "false",
        # Asked for by Elasticsearch alone.
        "distribution.flavor": "oss",
    }
    prefix = _PROPERTIES[product(software.version)]
    return [
        str(software.java_home / "bin" / "java"),
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        *(f"-D{prefix}.{name}={value}" for name, value in properties.items()),
    ]


def _version_options(version: str, home: Path) -> list[str]:
    """Java's options of which each version needs others."""
    prefix = _PROPERTIES[product(version)]
    cache = [
        f"-D{prefix}.networkaddress.cache.ttl=60",
        f"-D{prefix}.networkaddress.cache.negative.ttl=10",
    ]
    if version.startswith("3."):
        return [
            *cache,
            f"-javaagent:{home}/agent/opensearch-agent.jar",
            "--add-modules=jdk.incubator.vector",
        ]
    return [*cache, "-Djava.security.manager=allow"]


def _succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except OpenSearchException:
        return False
    return True


def _store_credentials(
    java: Sequence[str], home: Path, s3_client: S3Client, user: int | None
) -> None:
    """Put the S3 credentials where they are kept on a real node: into its keystore."""
    finished = subprocess.run(
        [
            *java,
            f"--class-path={home}/lib/*:{home}/lib/tools/keystore-cli/*",
            "org.opensearch.tools.cli.keystore.KeyStoreCli",
            "add",
            "--force",
            "--stdin",
            "s3.client.default.access_key",
            "s3.client.default.secret_key",
        ],
        input=f"{s3_client.access_key}\n{s3_client.secret_key}\n",
        capture_output=True,
        check=False,
        text=True,
        env=_ENVIRONMENT,
        cwd=home,
        user=user,
        group=None if user is None else pwd.getpwuid(user).pw_gid,
    )
    if finished.returncode != 0:
        raise SandboxError(f"The node's keystore can't be made: {finished.stderr}")


def _give(folder: Path, user: int) -> None:
    """Make a user the owner of a folder and all that is in it."""
    group = pwd.getpwuid(user).pw_gid
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, group)
