"""The domain before a node that answers with what it was asked, and before a real one."""

import asyncio
import contextlib
import datetime
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import boto3
import psutil
import pytest
import requests
from aiohttp import web
from aiohttp.typedefs import Handler
from opensearchpy import OpenSearch, RequestsAWSV4SignerAuth, RequestsHttpConnection
from requests_aws4auth import AWS4Auth

from snapferry_sandbox import amazon_domain, processes
from snapferry_sandbox.amazon_domain.configuration import Configuration
from snapferry_sandbox.certificates import Authority, create_authority
from snapferry_sandbox.iam_policies import Policy
from snapferry_sandbox.identities import Identity
from snapferry_sandbox.java import find_java_home
from snapferry_sandbox.localstack import LocalStack
from snapferry_sandbox.localstack import start as start_localstack
from snapferry_sandbox.opensearch.cluster import Cluster, S3Client, Software, start_cluster
from snapferry_sandbox.opensearch.distribution import assemble
from snapferry_sandbox.opensearch.security import IdentityHeaders
from snapferry_sandbox.world import CACHE

REGION = "eu-west-1"
ACCOUNT = "111111111111"
OTHER_ACCOUNT = "222222222222"
MEBIBYTE = 1024 * 1024
HEADERS = IdentityHeaders(user="x-user-5f1c", roles="x-roles-5f1c")
DOMAIN_ARN = f"arn:aws:es:{REGION}:{ACCOUNT}:domain/source-1"
SNAPSHOT_ROLE = f"arn:aws:iam::{ACCOUNT}:role/SnapshotRole"


def key(name: str, arn: str, *, account: str = ACCOUNT, hours: int = 1) -> Identity:
    temporary = ":assumed-role/" in arn
    now = datetime.datetime.now(datetime.UTC)
    return Identity(
        access_key_id=name,
        secret_access_key=f"secret of {name}",
        session_token=f"token of {name}" if temporary else None,
        expires_at=now + datetime.timedelta(hours=hours) if temporary else None,
        account=account,
        arn=arn,
    )


def session_of(role: str) -> str:
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/session"


ADMINISTRATOR = key(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")
STRANGER = key(OTHER_ACCOUNT, f"arn:aws:iam::{OTHER_ACCOUNT}:root", account=OTHER_ACCOUNT)
OPERATOR = key("ASIAOPERATOR", session_of("DomainAccess"))
READER = key("ASIAREADER", session_of("Reader"))
EXPIRED = key("ASIAEXPIRED", session_of("DomainAccess"), hours=-1)
IDENTITIES = (ADMINISTRATOR, STRANGER, OPERATOR, READER, EXPIRED)


def policy(*actions: str, resource: str = "*", **more: Any) -> Policy:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def trust(service: str, domain: str = DOMAIN_ARN) -> Policy:
    return {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": ACCOUNT},
                "ArnLike": {"aws:SourceArn": domain},
            },
        },
    }


def role(*policies: Policy, trusted: Policy | None = None, path: str = "/") -> dict[str, Any]:
    return {
        "policies": policies,
        "trust": trusted or trust("lambda.amazonaws.com"),
        "path": path,
    }


PASSES = {"StringEquals": {"iam:PassedToService": "es.amazonaws.com"}}
ROLES = {
    "DomainAccess": role(
        policy("es:ESHttp*", resource=f"{DOMAIN_ARN}/*"),
        policy("iam:PassRole", resource=f"arn:aws:iam::{ACCOUNT}:role/Snapshot*", Condition=PASSES),
        path="/snapferry/",
    ),
    "Reader": role(
        policy("es:ESHttpGet", "es:ESHttpPut", resource=f"{DOMAIN_ARN}/*"),
        policy("es:ESHttpGet", resource=f"{DOMAIN_ARN}/hidden/*", Effect="Deny"),
    ),
    "SnapshotRole": role(trusted=trust("es.amazonaws.com")),
    "SnapshotRoleOfLambda": role(),
    "SnapshotRoleOfAnotherDomain": role(
        trusted=trust("es.amazonaws.com", f"arn:aws:es:{REGION}:{ACCOUNT}:domain/other"),
    ),
}


@dataclass
class Echo:
    """Answers every request with what it was, except `/big/<size>` with so many bytes."""

    repositories: dict[str, Any] = field(default_factory=dict)
    requests: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        body = await request.read()
        if request.path.startswith("/big/"):
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(int(request.path.removeprefix("/big/")) // MEBIBYTE):
                await response.write(bytes(MEBIBYTE))
            return response
        if request.path.startswith("/_snapshot/") and request.method == "PUT":
            self.repositories[request.path.removeprefix("/_snapshot/")] = json.loads(body)
            return web.json_response({"acknowledged": True})
        if request.path == "/_snapshot":
            return web.json_response(self.repositories)
        return web.json_response(
            {
                "method": request.method,
                "path": request.raw_path,
                "headers": {name.lower(): value for name, value in request.headers.items()},
                "bytes": len(body),
                "hash": hashlib.sha256(body).hexdigest(),
            },
            headers={"X-Opaque-Id": request.headers.get("X-Opaque-Id", "")},
        )


@dataclass
class Bridge:
    """Takes note of the roles it is told of."""

    passed: list[Any] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer bridge token"
        assert (request.method, request.path) == ("PUT", "/_bridge/passed-roles")
        self.passed.append(await request.json())
        return web.Response(status=204)


@contextlib.contextmanager
def serving(handler: Handler) -> Iterator[str]:
    """Serve from a thread of its own; gives the URL."""
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", handler)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=1)
    port = processes.free_port()

    async def begin() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(begin(), loop).result()
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass(frozen=True)
class World:
    endpoint: str
    ca_file: Path
    bridge: Bridge
    pid: int
    configuration_file: Path

    def send(
        self,
        method: str,
        path: str,
        *,
        signer: Identity | None = OPERATOR,
        service: str = "es",
        region: str = REGION,
        **options: Any,
    ) -> requests.Response:
        auth = None
        if signer is not None:
            auth = AWS4Auth(
                signer.access_key_id,
                signer.secret_access_key,
                region,
                service,
                session_token=signer.session_token,
            )
        return requests.request(
            method,
            self.endpoint + path,
            auth=auth,
            verify=str(self.ca_file),
            timeout=60,
            **options,
        )

    def register(
        self, signer: Identity = OPERATOR, name: str = "migration", **settings: Any
    ) -> requests.Response:
        definition = {
            "type": "s3",
            "settings": {
                "bucket": "snapferry-migration",
                "base_path": "source-1",
                "region": REGION,
                "role_arn": SNAPSHOT_ROLE,
                **settings,
            },
        }
        return self.send("PUT", f"/_snapshot/{name}", signer=signer, json=definition)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return create_authority(tmp_path_factory.mktemp("authority"))


@contextlib.contextmanager
def domain_before(
    node_url: str,
    localstack: LocalStack,
    authority: Authority,
    folder: Path,
    *,
    internal_users: bool = False,
) -> Iterator[World]:
    certificate = authority.issue("domain", folder)
    bridge = Bridge()
    with serving(bridge.answer) as bridge_url:
        configuration = Configuration(
            name="source-1",
            account=ACCOUNT,
            region=REGION,
            port=processes.free_port(),
            certificate_file=certificate.certificate_file,
            key_file=certificate.key_file,
            node_url=node_url,
            node_ca_file=authority.ca_file,
            node_identity_headers=HEADERS,
            # The same that stands for the node: the path tells one from the other.
            dashboards_url=f"{node_url}/dashboards-of-it",
            node_access_key_id="AKIANODE",
            aws_endpoint=localstack.endpoint,
            identities=IDENTITIES,
            bridge_url=bridge_url,
            bridge_token="bridge token",
            internal_users=internal_users,
        )
        domain = amazon_domain.start(configuration, folder=folder, log_file=folder / "domain.log")
        try:
            yield World(
                domain.endpoint,
                authority.ca_file,
                bridge,
                domain.process.pid,
                folder / "source-1.json",
            )
        finally:
            domain.process.stop()


@pytest.fixture(scope="module")
def localstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("aws")
    started = start_localstack(folder / "localstack", folder, lambda_environment={})
    try:
        with aws_client("iam", started, ACCOUNT) as iam:
            for name, definition in ROLES.items():
                iam.create_role(
                    RoleName=name,
                    Path=definition["path"],
                    AssumeRolePolicyDocument=json.dumps(definition["trust"]),
                )
                inline, attached = definition["policies"] or (None, None)
                if inline:
                    iam.put_role_policy(
                        RoleName=name, PolicyName="inline", PolicyDocument=json.dumps(inline)
                    )
                if attached:
                    policy = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(attached))
                    iam.attach_role_policy(RoleName=name, PolicyArn=policy["Policy"]["Arn"])
        yield started
    finally:
        started.process.stop()


@contextlib.contextmanager
def aws_client(service: Any, localstack: LocalStack, account: str) -> Iterator[Any]:
    client = boto3.client(
        service,
        endpoint_url=localstack.endpoint,
        region_name=REGION,
        aws_access_key_id=account,
        aws_secret_access_key="not checked",
    )
    with contextlib.closing(client):
        yield client


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
def world(
    echo: Echo,
    localstack: LocalStack,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("domain")
    with (
        serving(echo.answer) as node_url,
        domain_before(node_url, localstack, authority, folder) as world,
    ):
        yield world


def message(answer: requests.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    (text,) = answer.json().values()
    return cast("str", text)


# Who calls


def test_role_is_known_to_the_node_by_its_arn(world: World) -> None:
    seen = world.send("GET", "/_cat/indices?v=true&h=index,uuid").json()

    arn = f"arn:aws:iam::{ACCOUNT}:role/snapferry/DomainAccess"
    assert seen["headers"][HEADERS.user] == arn
    assert seen["headers"][HEADERS.roles] == arn
    assert seen["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert seen["path"] == "/_cat/indices?v=true&h=index,uuid"


def test_administrator_is_known_by_the_accounts_root(world: World) -> None:
    seen = world.send("GET", "/", signer=ADMINISTRATOR).json()

    assert seen["headers"][HEADERS.user] == f"arn:aws:iam::{ACCOUNT}:root"


def test_no_header_of_the_client_says_who_calls(world: World) -> None:
    claims = {
        HEADERS.user: "admin",
        HEADERS.roles: "admin",
        "X-Forwarded-For": "10.0.0.1",
        "X-Opaque-Id": "mine",
    }

    answer = world.send("GET", "/", headers=claims)

    seen = answer.json()["headers"]
    assert seen[HEADERS.user] == seen[HEADERS.roles] != "admin"
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert not {"authorization", "x-amz-date", "x-amz-security-token"} & set(seen)
    assert seen["x-opaque-id"] == answer.headers["X-Opaque-Id"] == "mine"


@pytest.mark.parametrize(
    "path",
    [
        "/logs/_doc/a%2Fb?routing=x%20y",
        "/%3Clogs-%7Bnow%2Fd%7D%3E/_search?q=a%2Bb",
        "/_snapshot/migration/one,two/_status?filter_path=snapshots.*",
        "/caf%C3%A9/_count?pretty",
        "/index/_search?q=title:(a%20b)&h=",
    ],
)
def test_paths_reach_the_node_as_they_were_signed(world: World, path: str) -> None:
    assert world.send("GET", path).json()["path"] == path


@pytest.mark.parametrize(
    ("path", "reached"),
    [
        ("/_dashboards/api/a%2Fb?type=map", "/dashboards-of-it/api/a%2Fb?type=map"),
        ("/_dashboards", "/_dashboards"),
        ("/logs/_dashboards/api", "/logs/_dashboards/api"),
    ],
)
def test_dashboards_lies_below_the_domain(world: World, path: str, reached: str) -> None:
    seen = world.send("GET", path, headers={"securitytenant": "global"}).json()

    assert seen["path"] == reached
    assert seen["headers"]["securitytenant"] == "global"
    assert seen["headers"][HEADERS.user].endswith("DomainAccess")


def test_opensearch_client_works(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # As the functions get it; and a machine's own would go before the client's `ca_certs`.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(world.ca_file))

    @dataclass
    class Credentials:
        access_key: str = OPERATOR.access_key_id
        secret_key: str = OPERATOR.secret_access_key
        token: str | None = OPERATOR.session_token

        def get_frozen_credentials(self) -> "Credentials":
            return self

    client = OpenSearch(
        world.endpoint,
        http_auth=RequestsAWSV4SignerAuth(Credentials(), REGION, "es"),
        connection_class=RequestsHttpConnection,
        http_compress=True,
    )
    with contextlib.closing(client):
        seen = client.bulk(body=[{"index": {}}, {"name": "Zürich"}] * 100, index="cities")

    assert (seen["method"], seen["path"]) == ("POST", "/cities/_bulk")
    assert seen["headers"]["content-encoding"] == "gzip"


# Signatures


def test_unsigned_is_anonymous(world: World) -> None:
    expected = (
        "User: anonymous is not authorized to perform: es:ESHttpGet "
        "because no resource-based policy allows the es:ESHttpGet action"
    )
    assert message(world.send("GET", "/", signer=None), 403) == expected
    basic = requests.get(
        world.endpoint, auth=("admin", "admin"), verify=str(world.ca_file), timeout=10
    )
    assert message(basic, 403) == expected


def test_wrong_service_and_region(world: World) -> None:
    assert (
        message(world.send("GET", "/", service="aoss"), 403)
        == "Credential should be scoped to correct service: 'es'. "
    )
    assert (
        message(world.send("GET", "/", region="us-east-1"), 403)
        == "Credential should be scoped to a valid region, not 'us-east-1'. "
    )


def test_wrong_secret(world: World) -> None:
    forged = OPERATOR.model_copy(update={"secret_access_key": "guessed"})

    assert message(world.send("GET", "/", signer=forged), 403).startswith(
        "The request signature we calculated does not match the signature you provided."
    )


@pytest.mark.parametrize("token", [None, "token of ASIAREADER"])
def test_wrong_session_token(world: World, token: str | None) -> None:
    stolen = OPERATOR.model_copy(update={"session_token": token})

    assert (
        message(world.send("GET", "/", signer=stolen), 403)
        == "The security token included in the request is invalid."
    )


def test_expired_session(world: World) -> None:
    assert (
        message(world.send("GET", "/", signer=EXPIRED), 403)
        == "The security token included in the request is expired"
    )


@pytest.mark.parametrize(
    ("hours", "expected"), [(-1, "Signature expired: "), (1, "Signature not yet current: ")]
)
def test_clock_skew(world: World, hours: int, expected: str) -> None:
    time = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    date = time.strftime("%Y%m%dT%H%M%SZ")

    answer = world.send("GET", "/", headers={"x-amz-date": date})

    assert message(answer, 403).startswith(expected + date)


@pytest.mark.parametrize("declared", [b"sent", b"signed"])
def test_body_other_than_the_signed_one(world: World, echo: Echo, declared: bytes) -> None:
    signed = requests.Request(
        "PUT",
        world.endpoint + "/cities/_doc/1",
        data=b"signed",
        auth=AWS4Auth(ACCOUNT, ADMINISTRATOR.secret_access_key, REGION, "es"),
    ).prepare()
    signed.body = b"sent  "
    signed.headers["x-amz-content-sha256"] = hashlib.sha256(declared).hexdigest()
    before = echo.requests

    with requests.Session() as session:
        answer = session.send(signed, verify=str(world.ca_file))

    assert message(answer, 403).startswith("The request signature we calculated does not match")
    assert echo.requests == before


# Sizes


def test_largest_body(world: World) -> None:
    body = bytes(10 * MEBIBYTE)

    seen = world.send("POST", "/_bulk", data=body).json()

    assert (seen["bytes"], seen["hash"]) == (len(body), hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("excess_bytes", [1, 30 * MEBIBYTE])
def test_too_large_body(world: World, excess_bytes: int) -> None:
    answer = world.send("POST", "/_bulk", data=bytes(10 * MEBIBYTE + excess_bytes))

    assert message(answer, 413) == "Request size exceeded 10485760 bytes"


# Rights


def test_identity_policy_must_allow(world: World) -> None:
    assert world.send("GET", "/cities/_count", signer=READER).ok
    assert message(world.send("DELETE", "/cities", signer=READER), 403) == (
        f"User: {READER.arn} is not authorized to perform: es:ESHttpDelete "
        "because no identity-based policy allows the es:ESHttpDelete action"
    )


@pytest.mark.parametrize("path", ["/hidden/_count", "//hidden/_count", "/%68idden/_count"])
def test_identity_policy_may_deny(world: World, path: str) -> None:
    assert message(world.send("GET", path, signer=READER), 403) == (
        f"User: {READER.arn} is not authorized to perform: es:ESHttpGet "
        "with an explicit deny in an identity-based policy"
    )


def test_other_accounts_have_no_rights(world: World) -> None:
    assert message(world.send("GET", "/", signer=STRANGER), 403) == (
        f"User: {STRANGER.arn} is not authorized to perform: es:ESHttpGet "
        "because no resource-based policy allows the es:ESHttpGet action"
    )


# Operations that the service doesn't support


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_cluster/reroute"),
        ("POST", "//_cluster/%72eroute"),
        ("PUT", "/_settings"),
        ("GET", "/_cat/nodeattrs"),
        ("DELETE", "/_snapshot/cs-automated"),
        ("PUT", "/_snapshot/cs-automated/mine"),
    ],
)
def test_unsupported_operations(world: World, method: str, path: str) -> None:
    assert message(world.send(method, path, json={}), 401).endswith("' is not allowed.")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/_cluster/health"),
        ("GET", "/_cluster/state/metadata"),
        ("GET", "/_cluster/settings?include_defaults=true"),
        ("PUT", "/cities/_settings"),
        ("GET", "/_snapshot/cs-automated/_all"),
        ("POST", "/_snapshot/cs-automated/hourly/_restore"),
    ],
)
def test_supported_operations(world: World, method: str, path: str) -> None:
    assert world.send(method, path).json()["path"] == path


@pytest.mark.parametrize(
    "settings",
    [
        {"persistent": {"action.auto_create_index": False}},
        {"transient": {"cluster.max_shards_per_node": None}, "persistent": {}},
        {"persistent": {"plugins.index_state_management.enabled": False}},
    ],
)
def test_accepted_settings(world: World, settings: dict[str, Any]) -> None:
    assert world.send("PUT", "/_cluster/settings", json=settings).ok


@pytest.mark.parametrize(
    "body",
    [
        b'{"persistent": {"action": {"auto_create_index": false}}}',
        b'{"persistent": {"plugins.x": {"enabled": false}}}',
        b'{"persistent": {"cluster.routing.allocation.node_initial_primaries_recoveries": 8}}',
        b'{"persistent": null}',
        b"persistent:\n  action.auto_create_index: false\n",
        b"",
    ],
)
def test_refused_settings(world: World, body: bytes) -> None:
    assert (
        message(world.send("PUT", "/_cluster/settings", data=body), 401)
        == "Your request: '/_cluster/settings' payload is not allowed."
    )


# Snapshot repositories


def test_registration(world: World) -> None:
    assert world.register(readonly=True, endpoint="s3.amazonaws.com").ok

    assert world.bridge.passed[-1] == {
        "access_key_id": "AKIANODE",
        "bucket": "snapferry-migration",
        "base_path": "source-1",
        "role_arn": SNAPSHOT_ROLE,
    }
    repository = world.send("GET", "/_snapshot").json()["migration"]
    assert repository == {
        "type": "s3",
        "settings": {
            "bucket": "snapferry-migration",
            "base_path": "source-1",
            "region": REGION,
            "role_arn": SNAPSHOT_ROLE,
            "readonly": True,
        },
    }


def test_administrator_may_pass_any_role(world: World) -> None:
    assert world.register(ADMINISTRATOR).ok


@pytest.mark.parametrize(
    ("settings", "status", "expected"),
    [
        ({"role_arn": None}, 401, "settings.role_arn is needed for snapshot registration."),
        (
            {"role_arn": f"arn:aws:iam::{OTHER_ACCOUNT}:role/SnapshotRole"},
            403,
            "Cross-account pass role is not allowed.",
        ),
        (
            {"role_arn": f"arn:aws:iam::{ACCOUNT}:role/Admin"},
            403,
            f"User: {OPERATOR.arn} is not authorized to perform: iam:PassRole "
            f"on resource: arn:aws:iam::{ACCOUNT}:role/Admin "
            "because no identity-based policy allows the iam:PassRole action",
        ),
    ],
)
def test_refused_registration(
    world: World, settings: dict[str, Any], status: int, expected: str
) -> None:
    told = len(world.bridge.passed)

    assert message(world.register(**settings), status) == expected
    assert len(world.bridge.passed) == told


@pytest.mark.parametrize(
    "name", ["SnapshotRoleOfLambda", "SnapshotRoleOfAnotherDomain", "SnapshotNobody"]
)
def test_role_that_the_service_cannot_assume(world: World, name: str) -> None:
    told = len(world.bridge.passed)

    answer = world.register(role_arn=f"arn:aws:iam::{ACCOUNT}:role/{name}")

    assert answer.status_code == 500
    error = answer.json()["error"]
    assert error["type"] == "repository_verification_exception"
    assert (
        "is not authorized to perform: sts:AssumeRole" in error["caused_by"]["caused_by"]["reason"]
    )
    assert len(world.bridge.passed) == told


@pytest.mark.parametrize("type_", ["fs", "url", None])
def test_other_types_of_repository(world: World, type_: str | None) -> None:
    definition = {"type": type_, "settings": {"location": "backups"}}

    for method in ("PUT", "POST"):
        answer = world.send(method, "/_snapshot/migration", json=definition)
        assert (
            message(answer, 401) == "Your request: '/_snapshot/migration' payload is not allowed."
        )


def test_reserved_name_of_repository(world: World) -> None:
    for name in ("cs-mine", "%63s-mine"):
        assert (
            message(world.register(name=name), 401)
            == "Your request: '/_snapshot/cs-mine' is not allowed."
        )


# The node


def test_node_that_does_not_answer(
    localstack: LocalStack, authority: Authority, tmp_path: Path
) -> None:
    with domain_before("https://127.0.0.1:1", localstack, authority, tmp_path) as world:
        assert message(world.send("GET", "/"), 503) == "Service Unavailable"


@pytest.fixture
def cluster(authority: Authority) -> Iterator[Cluster]:
    user = 65534 if os.geteuid() == 0 else None  # OpenSearch refuses to run as root
    with tempfile.TemporaryDirectory(prefix="snapferry-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        started = start_cluster(
            "source-1",
            Software("3.6.0", assemble("3.6.0", CACHE), find_java_home("3.6.0", user)),
            folder=folder,
            logs=folder,
            authority=authority,
            s3_client=S3Client("http://127.0.0.1:1", REGION, "access", "secret", folder),
            identity_headers=HEADERS,
            user=user,
        )
        try:
            started.wait_until_ready()
            yield started.cluster
        finally:
            for node in started.nodes:
                node.stop()


def test_real_node_decides_by_the_mapped_arn(
    cluster: Cluster, localstack: LocalStack, authority: Authority, tmp_path: Path
) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/snapferry/DomainAccess"
    with domain_before(cluster.url, localstack, authority, tmp_path) as world:
        refused = world.send("GET", "/_snapshot")
        assert refused.status_code == 403
        assert refused.json()["error"]["reason"] == (
            "no permissions for [cluster:admin/repository/get] and User "
            f"[name={arn}, backend_roles=[{arn}], requestedTenant=null]"
        )

        with contextlib.closing(cluster.client()) as administrator:
            administrator.security.create_role_mapping(
                role="manage_snapshots", body={"backend_roles": [arn]}
            )

        assert world.send("GET", "/_snapshot").json() == {}
        definition = {"type": "s3", "settings": {"bucket": "b", "role_arn": SNAPSHOT_ROLE}}
        assert world.send("PUT", "/_snapshot/migration?verify=false", json=definition).ok
        assert world.send("GET", "/_snapshot").json() == {"migration": definition}
        assert world.send("DELETE", "/_snapshot/migration").ok
        settings = {"persistent": {"action.auto_create_index": False}}
        assert world.send("PUT", "/_cluster/settings", json=settings).status_code == 403


def test_internal_users_come_by_passwords_where_everybody_is_let_in(
    cluster: Cluster, localstack: LocalStack, authority: Authority, tmp_path: Path
) -> None:
    with domain_before(cluster.url, localstack, authority, tmp_path, internal_users=True) as world:

        def send(method: str, path: str, password: str, **options: Any) -> requests.Response:
            return requests.request(
                method,
                world.endpoint + path,
                auth=(cluster.user, password),
                verify=str(world.ca_file),
                timeout=30,
                **options,
            )

        mapping = send("GET", "/_plugins/_security/api/rolesmapping/all_access", cluster.password)
        assert mapping.ok
        assert send("GET", "/_cluster/health", "wrong").status_code == 401
        assert send("PUT", "/_cluster/settings", cluster.password, json={}).ok is False
        definition = {"type": "s3", "settings": {"bucket": "b", "role_arn": SNAPSHOT_ROLE}}
        registered = send("PUT", "/_snapshot/migration", cluster.password, json=definition)
        assert "anonymous is not authorized to perform: iam:PassRole" in message(registered, 403)
        assert "anonymous" in message(world.send("GET", "/", signer=None), 403)
        assert world.send("GET", "/_snapshot").status_code == 403


# The process


def test_large_answers_take_little_memory(world: World) -> None:
    process = psutil.Process(world.pid)
    before = process.memory_info().rss
    received = 0
    with world.send("GET", f"/big/{256 * MEBIBYTE}", stream=True) as answer:
        for chunk in answer.iter_content(MEBIBYTE):
            received += len(chunk)

    assert received == 256 * MEBIBYTE
    assert process.memory_info().rss - before < 32 * MEBIBYTE


def test_configuration_is_kept_from_others(world: World) -> None:
    assert world.configuration_file.stat().st_mode & 0o077 == 0


# LocalStack's STS


def test_session_of_localstack(world: World, localstack: LocalStack) -> None:
    with aws_client("sts", localstack, OTHER_ACCOUNT) as sts:
        answer = sts.assume_role(
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/Reader", RoleSessionName="session"
        )
    session = Identity(
        access_key_id=answer["Credentials"]["AccessKeyId"],
        secret_access_key=answer["Credentials"]["SecretAccessKey"],
        session_token=answer["Credentials"]["SessionToken"],
        account=ACCOUNT,
        arn=answer["AssumedRoleUser"]["Arn"],
    )

    seen = world.send("GET", "/", signer=session).json()
    assert seen["headers"][HEADERS.user] == f"arn:aws:iam::{ACCOUNT}:role/Reader"

    unknown = session.model_copy(update={"access_key_id": "ASIAUNKNOWN"})
    refused = message(world.send("GET", "/", signer=unknown), 403)
    assert refused == "The security token included in the request is invalid."
