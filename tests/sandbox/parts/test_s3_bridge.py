"""The bridge and a real versitygw, called by boto3; LocalStack's answers are faked."""

import asyncio
import base64
import datetime
import hashlib
import io
import json
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError

import boto3
import pytest
from aiohttp import web
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.client import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from snapferry_sandbox import processes
from snapferry_sandbox.iam_policies import Role
from snapferry_sandbox.identities import Identity
from snapferry_sandbox.s3 import bridge, gateway
from snapferry_sandbox.s3.configuration import Account, Configuration
from snapferry_sandbox.world import CACHE

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION: Final = "eu-west-1"
SOURCE = Account(number="111111111111", canonical_id="a" * 64)
DESTINATION = Account(number="222222222222", canonical_id="b" * 64)
SNAPSHOT_ROLE = f"arn:aws:iam::{SOURCE.number}:role/SnapshotRole"
NODES = f"arn:aws:iam::{DESTINATION.number}:user/nodes"
FULL_CONTROL: Final = "bucket-owner-full-control"
CONTROL_TOKEN = "control"
BASE_PATH = "migration/source-1"


def identity(key: str, account: Account, name: str, **temporary: Any) -> Identity:
    service = "sts" if name.startswith("assumed-role/") else "iam"
    return Identity(
        access_key_id=key,
        secret_access_key=f"secret of {key}",
        account=account.number,
        arn=f"arn:aws:{service}::{account.number}:{name}",
        **temporary,
    )


def session(key: str, account: Account, role: str, hours: float = 1) -> Identity:
    return identity(
        key,
        account,
        f"assumed-role/{role}/session",
        session_token=f"token of {key}",
        expires_at=datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours),
    )


SOURCE_ADMINISTRATOR = identity(SOURCE.number, SOURCE, "root")
DESTINATION_ADMINISTRATOR = identity(DESTINATION.number, DESTINATION, "root")
SERVICE = identity("AKIASERVICE", SOURCE, "user/service")
DESTINATION_NODES = identity("AKIANODES", DESTINATION, "user/nodes")
SNAPSHOT_SESSION = session("ASIASNAPSHOT", SOURCE, "SnapshotRole")
EXPIRED_SESSION = session("ASIAEXPIRED", SOURCE, "SnapshotRole", hours=-1)
OTHER_SESSION = session("ASIAOTHER", SOURCE, "Other")
READER_SESSION = session("ASIAREADER", DESTINATION, "Reader")
STRANGER_SESSION = session("ASIASTRANGER", DESTINATION, "Stranger")
FROM_LOCALSTACK = (
    SNAPSHOT_SESSION,
    EXPIRED_SESSION,
    OTHER_SESSION,
    READER_SESSION,
    STRANGER_SESSION,
)


def role(arn: str, *actions: str) -> Role:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return Role(arn, {}, ({"Statement": statement},) if actions else ())


# A dictionary has the one method of `Roles` that the bridge calls, `get`.
ROLES = {
    SOURCE.number: {
        "SnapshotRole": role(SNAPSHOT_ROLE, "s3:*"),
        "Other": role(f"arn:aws:iam::{SOURCE.number}:role/Other", "s3:*"),
    },
    DESTINATION.number: {
        "Reader": role(
            f"arn:aws:iam::{DESTINATION.number}:role/Reader", "s3:Get*", "s3:ListBucket"
        ),
        "Stranger": role(f"arn:aws:iam::{DESTINATION.number}:role/Stranger"),
    },
}


@dataclass(frozen=True)
class Server:
    """An aiohttp application that runs in a thread of its own."""

    loop: asyncio.AbstractEventLoop
    thread: threading.Thread

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


def serve(app: web.Application, port: int) -> Server:
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app, auto_decompress=False, shutdown_timeout=1)
    started = threading.Event()

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        started.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(30)
    return Server(loop, thread)


def localstack() -> web.Application:
    known = {one.access_key_id: one for one in FROM_LOCALSTACK}

    async def find(request: web.Request) -> web.Response:
        found = known.get(request.match_info["key"])
        if found is None:
            raise web.HTTPNotFound
        return web.json_response(
            found.model_dump(mode="json", exclude={"access_key_id"}), dumps=json.dumps
        )

    app = web.Application()
    app.router.add_get("/_snapferry/identities/{key}", find)
    return app


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Configuration]:
    folder = tmp_path_factory.mktemp("gateway")
    started = gateway.start(
        gateway.build(CACHE), folder, region=REGION, log_file=folder / "versitygw.log"
    )
    aws_port = processes.free_port()
    aws = serve(localstack(), aws_port)
    yield Configuration(
        region=REGION,
        port=processes.free_port(),
        gateway_endpoint=started.endpoint,
        gateway_access_key=started.access_key,
        gateway_secret_key=started.secret_key,
        aws_endpoint=f"http://127.0.0.1:{aws_port}",
        identities=(SOURCE_ADMINISTRATOR, DESTINATION_ADMINISTRATOR, DESTINATION_NODES),
        service_identity=SERVICE,
        control_token=CONTROL_TOKEN,
        bucket_owner=DESTINATION,
        other_accounts=(SOURCE,),
    )
    aws.stop()
    started.process.stop()


@pytest.fixture(scope="session")
def endpoint(configuration: Configuration) -> Iterator[str]:
    roles: Any = ROLES
    server = serve(bridge.application(configuration, roles), configuration.port)
    yield f"http://127.0.0.1:{configuration.port}"
    server.stop()


type ClientOf = Callable[..., "S3Client"]


@pytest.fixture(scope="session")
def client_of(endpoint: str) -> ClientOf:
    def make(one: Identity, region: str = REGION, **config: Any) -> "S3Client":
        return boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=one.access_key_id,
            aws_secret_access_key=one.secret_access_key,
            aws_session_token=one.session_token,
            config=Config(retries={"max_attempts": 1}, **config),
        )

    return make


@pytest.fixture
def owner(client_of: ClientOf) -> "S3Client":
    return client_of(DESTINATION_ADMINISTRATOR)


@pytest.fixture
def bucket(owner: "S3Client", request: pytest.FixtureRequest) -> str:
    name = "test-" + hashlib.sha256(request.node.name.encode()).hexdigest()[:16]
    owner.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


def code(call: Callable[..., Any], /, **arguments: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return str(raised.value.response["Error"]["Code"])


def statement(bucket: str, principal: Any, *actions: str, **more: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": principal,
        "Action": list(actions) or ["s3:GetObject", "s3:PutObject", "s3:PutObjectAcl"],
        "Resource": f"arn:aws:s3:::{bucket}/*",
        **more,
    }


def put_policy(owner: "S3Client", bucket: str, *statements: dict[str, Any]) -> None:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    owner.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))


def set_ownership(owner: "S3Client", bucket: str, ownership: Any) -> None:
    owner.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": ownership}]}
    )


def pass_role(endpoint: str, bucket: str, token: str, nodes: Identity) -> int:
    passed = {
        "access_key_id": nodes.access_key_id,
        "bucket": bucket,
        "base_path": BASE_PATH,
        "role_arn": SNAPSHOT_ROLE,
    }
    request = urllib.request.Request(  # noqa: S310
        f"{endpoint}/_bridge/passed-roles",
        json.dumps(passed).encode(),
        {"Authorization": f"Bearer {token}"},
        method="PUT",
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        status: int = answer.status
        return status


# Who signs


def test_temporary_credentials_are_those_of_their_role(
    client_of: ClientOf, owner: "S3Client", bucket: str
) -> None:
    put_policy(owner, bucket, statement(bucket, {"AWS": SNAPSHOT_ROLE}))
    client_of(SNAPSHOT_SESSION).put_object(Bucket=bucket, Key="key", Body=b"x", ACL=FULL_CONTROL)
    assert code(client_of(OTHER_SESSION).get_object, Bucket=bucket, Key="key") == "AccessDenied"


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (EXPIRED_SESSION, "ExpiredToken"),
        (SNAPSHOT_SESSION.model_copy(update={"session_token": "x"}), "InvalidToken"),
        (SNAPSHOT_SESSION.model_copy(update={"session_token": None}), "InvalidToken"),
        (SNAPSHOT_SESSION.model_copy(update={"secret_access_key": "x"}), "SignatureDoesNotMatch"),
        (SNAPSHOT_SESSION.model_copy(update={"access_key_id": "ASIAX"}), "InvalidAccessKeyId"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_credentials(client_of: ClientOf, bucket: str, one: Identity, expected: str) -> None:
    assert code(client_of(one).list_objects_v2, Bucket=bucket) == expected


def test_unsigned_request(endpoint: str, bucket: str) -> None:
    with pytest.raises(HTTPError) as raised:
        urllib.request.urlopen(f"{endpoint}/{bucket}")  # noqa: S310
    with raised.value as answer:
        assert answer.status == 403
        assert b"<Code>AccessDenied</Code>" in answer.read()


def test_client_with_another_region_is_told_the_right_one(
    client_of: ClientOf, owner: "S3Client", bucket: str
) -> None:
    owner.put_object(Bucket=bucket, Key="key", Body=b"x")
    wrong = client_of(DESTINATION_ADMINISTRATOR, region="eu-central-1")
    with pytest.raises(ClientError) as raised:
        wrong.list_buckets()
    assert raised.value.response["Error"]["Code"] == "AuthorizationHeaderMalformed"
    assert raised.value.response["Error"]["Region"] == REGION  # type: ignore[typeddict-item]


def test_account_of_the_bucket_can_be_asserted(owner: "S3Client", bucket: str) -> None:
    owner.list_objects_v2(Bucket=bucket, ExpectedBucketOwner=DESTINATION.number)
    other = SOURCE.number
    assert code(owner.list_objects_v2, Bucket=bucket, ExpectedBucketOwner=other) == "AccessDenied"


# What identity policies allow


def test_role_in_the_buckets_account_needs_its_own_policy_or_the_buckets(
    client_of: ClientOf, owner: "S3Client", bucket: str
) -> None:
    owner.put_object(Bucket=bucket, Key="key", Body=b"x")
    reader, stranger = client_of(READER_SESSION), client_of(STRANGER_SESSION)
    reader.get_object(Bucket=bucket, Key="key")
    assert code(reader.put_object, Bucket=bucket, Key="key", Body=b"") == "AccessDenied"
    assert code(stranger.get_object, Bucket=bucket, Key="key") == "AccessDenied"
    put_policy(
        owner,
        bucket,
        statement(bucket, {"AWS": f"arn:aws:iam::{DESTINATION.number}:role/Stranger"}),
    )
    stranger.get_object(Bucket=bucket, Key="key")


def test_role_of_another_account_needs_both(
    client_of: ClientOf, owner: "S3Client", bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_policy(owner, bucket, statement(bucket, {"AWS": SNAPSHOT_ROLE}))
    monkeypatch.setitem(ROLES[SOURCE.number], "SnapshotRole", role(SNAPSHOT_ROLE, "s3:PutObject"))
    snapshots = client_of(SNAPSHOT_SESSION)
    snapshots.put_object(Bucket=bucket, Key="key", Body=b"x")
    assert code(snapshots.get_object, Bucket=bucket, Key="key") == "AccessDenied"


def test_denial_binds_the_owner_too(owner: "S3Client", bucket: str) -> None:
    owner.put_object(Bucket=bucket, Key="key", Body=b"x")
    put_policy(owner, bucket, statement(bucket, "*", "s3:DeleteObject", Effect="Deny"))
    assert code(owner.delete_object, Bucket=bucket, Key="key") == "AccessDenied"
    deleted = {"Objects": [{"Key": "key"}]}
    assert code(owner.delete_objects, Bucket=bucket, Delete=deleted) == "AccessDenied"
    owner.get_object(Bucket=bucket, Key="key")


# Bucket policies


def test_another_account_gets_in_by_the_policy_alone(
    client_of: ClientOf, owner: "S3Client", bucket: str
) -> None:
    snapshots = client_of(SNAPSHOT_SESSION)
    assert code(snapshots.put_object, Bucket=bucket, Key="key", Body=b"x") == "AccessDenied"
    put_policy(owner, bucket, statement(bucket, {"AWS": SNAPSHOT_ROLE}))
    snapshots.put_object(Bucket=bucket, Key="key", Body=b"x")
    assert code(snapshots.delete_object, Bucket=bucket, Key="key") == "AccessDenied"
    owner.delete_bucket_policy(Bucket=bucket)
    assert code(snapshots.put_object, Bucket=bucket, Key="key", Body=b"x") == "AccessDenied"


@pytest.mark.parametrize(
    ("principal", "read_back"),
    [
        ("*", "*"),
        ({"AWS": "*"}, {"AWS": "*"}),
        ({"AWS": SNAPSHOT_ROLE}, {"AWS": SNAPSHOT_ROLE}),
        ({"AWS": [SNAPSHOT_ROLE]}, {"AWS": SNAPSHOT_ROLE}),
        ({"AWS": [SNAPSHOT_ROLE, NODES]}, {"AWS": [SNAPSHOT_ROLE, NODES]}),
        ({"AWS": SOURCE.number}, {"AWS": f"arn:aws:iam::{SOURCE.number}:root"}),
        (
            {"AWS": f"arn:aws:iam::{SOURCE.number}:root"},
            {"AWS": f"arn:aws:iam::{SOURCE.number}:root"},
        ),
        (
            {"CanonicalUser": SOURCE.canonical_id},
            {"AWS": f"arn:aws:iam::{SOURCE.number}:root"},
        ),
        (
            {"Service": "logging.s3.amazonaws.com", "AWS": NODES},
            {"Service": "logging.s3.amazonaws.com", "AWS": NODES},
        ),
    ],
    ids=str,
)
def test_policy_is_read_back_as_aws_writes_it(
    owner: "S3Client", bucket: str, principal: Any, read_back: Any
) -> None:
    more = {"Sid": "Mine", "Condition": {"StringLike": {"aws:UserAgent": "*"}}}
    put_policy(owner, bucket, statement(bucket, principal, **more))
    expected = {
        "Version": "2012-10-17",
        "Statement": [statement(bucket, read_back, **more)],
    }
    assert json.loads(owner.get_bucket_policy(Bucket=bucket)["Policy"]) == expected


def test_long_policy_is_kept(owner: "S3Client", bucket: str) -> None:
    put_policy(owner, bucket, statement(bucket, {"AWS": SNAPSHOT_ROLE}, Sid="x" * 20_000))
    assert len(owner.get_bucket_policy(Bucket=bucket)["Policy"]) > 20_000


@pytest.mark.parametrize("principal", [SOURCE.number, f"arn:aws:iam::{SOURCE.number}:root"])
def test_policy_may_name_an_account(
    client_of: ClientOf, owner: "S3Client", bucket: str, principal: str
) -> None:
    put_policy(owner, bucket, statement(bucket, {"AWS": principal}))
    client_of(OTHER_SESSION).put_object(Bucket=bucket, Key="key", Body=b"x")


def test_condition_decides(client_of: ClientOf, owner: "S3Client", bucket: str) -> None:
    put_policy(
        owner,
        bucket,
        statement(
            bucket,
            {"AWS": SNAPSHOT_ROLE},
            "s3:PutObject",
            "s3:PutObjectAcl",
            Condition={"StringEquals": {"s3:x-amz-acl": FULL_CONTROL}},
        ),
    )
    snapshots = client_of(SNAPSHOT_SESSION)
    snapshots.put_object(Bucket=bucket, Key="key", Body=b"x", ACL=FULL_CONTROL)
    assert code(snapshots.put_object, Bucket=bucket, Key="key", Body=b"x") == "AccessDenied"


def test_acl_needs_a_permission_of_its_own(
    client_of: ClientOf, owner: "S3Client", bucket: str
) -> None:
    put_policy(owner, bucket, statement(bucket, {"AWS": SNAPSHOT_ROLE}, "s3:PutObject"))
    snapshots = client_of(SNAPSHOT_SESSION)
    snapshots.put_object(Bucket=bucket, Key="key", Body=b"x")
    put = {"Bucket": bucket, "Key": "key", "Body": b"x", "ACL": FULL_CONTROL}
    assert code(snapshots.put_object, **put) == "AccessDenied"


@pytest.mark.parametrize(
    "change",
    [
        {"Principal": {"AWS": "arn:aws:iam::111111111111:role/Missing"}},
        {"Principal": {"AWS": "arn:aws:iam::333333333333:root"}},
        {"Principal": {"AWS": "snapshots"}},
        {"NotAction": "s3:GetObject"},
        {"Condition": {"StringEquals": {"aws:PrincipalArn": SNAPSHOT_ROLE}}},
        {"Condition": {"StringEquals": {"aws:SourceAccount": SOURCE.number}}},
        {"Action": "s3:Nonsense"},
        {"Resource": "arn:aws:s3:::another/*"},
        {"Sid": "x" * 20_480},
    ],
    ids=lambda change: str(change)[:60],
)
def test_policy_that_cannot_be_kept_is_refused(
    owner: "S3Client", bucket: str, change: dict[str, Any]
) -> None:
    changed = statement(bucket, {"AWS": SNAPSHOT_ROLE}) | change
    policy = json.dumps({"Version": "2012-10-17", "Statement": [changed]})
    assert code(owner.put_bucket_policy, Bucket=bucket, Policy=policy) == "MalformedPolicy"
    assert code(owner.get_bucket_policy, Bucket=bucket) == "NoSuchBucketPolicy"


# ACLs and ownership


def test_grants_to_another_account(client_of: ClientOf, owner: "S3Client", bucket: str) -> None:
    set_ownership(owner, bucket, "BucketOwnerPreferred")
    before = owner.get_bucket_acl(Bucket=bucket)
    grantee = f'id="{SOURCE.canonical_id}"'
    owner.put_bucket_acl(Bucket=bucket, GrantRead=grantee, GrantWrite=grantee)
    snapshots = client_of(SNAPSHOT_SESSION)
    snapshots.put_object(Bucket=bucket, Key="key", Body=b"x")
    granted = owner.get_bucket_acl(Bucket=bucket)["Grants"]
    assert {(grant["Grantee"]["ID"], grant["Permission"]) for grant in granted} == {
        (DESTINATION.canonical_id, "FULL_CONTROL"),
        (SOURCE.canonical_id, "READ"),
        (SOURCE.canonical_id, "WRITE"),
    }
    owner.put_bucket_acl(
        Bucket=bucket,
        AccessControlPolicy={"Grants": before["Grants"], "Owner": before["Owner"]},
    )
    assert owner.get_bucket_acl(Bucket=bucket)["Grants"] == before["Grants"]
    assert code(snapshots.put_object, Bucket=bucket, Key="key", Body=b"x") == "AccessDenied"


def test_grant_to_nobody(owner: "S3Client", bucket: str) -> None:
    set_ownership(owner, bucket, "BucketOwnerPreferred")
    nobody = f'id="{"c" * 64}"'
    assert code(owner.put_bucket_acl, Bucket=bucket, GrantRead=nobody) == "InvalidArgument"


def test_enforced_ownership_takes_no_acls(owner: "S3Client", bucket: str) -> None:
    put = {"Bucket": bucket, "Key": "key", "Body": b"x"}
    expected = "AccessControlListNotSupported"
    owner.put_object(**put, ACL=FULL_CONTROL)  # type: ignore[arg-type]
    assert code(owner.put_object, **put, ACL="private") == expected
    grantee = f"id={SOURCE.canonical_id}"
    assert code(owner.put_object, **put, GrantRead=grantee) == expected
    begin = owner.create_multipart_upload
    assert code(begin, Bucket=bucket, Key="key", ACL="private") == expected
    assert code(owner.put_bucket_acl, Bucket=bucket, ACL="private") == expected


def test_ownership_is_not_enforced_over_foreign_grants(owner: "S3Client", bucket: str) -> None:
    set_ownership(owner, bucket, "BucketOwnerPreferred")
    owner.put_bucket_acl(Bucket=bucket, GrantRead=f"id={SOURCE.canonical_id}")
    rules: Any = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    enforce = owner.put_bucket_ownership_controls
    expected = "InvalidBucketAclWithObjectOwnership"
    assert code(enforce, Bucket=bucket, OwnershipControls=rules) == expected
    owner.put_bucket_acl(Bucket=bucket, ACL="private")
    enforce(Bucket=bucket, OwnershipControls=rules)


@pytest.mark.parametrize("ownership", ["BucketOwnerPreferred", "ObjectWriter"])
def test_objects_stay_the_writers_until_ownership_is_enforced(
    client_of: ClientOf, owner: "S3Client", bucket: str, ownership: str
) -> None:
    set_ownership(owner, bucket, ownership)
    put_policy(owner, bucket, statement(bucket, {"AWS": SNAPSHOT_ROLE}))
    snapshots = client_of(SNAPSHOT_SESSION)
    snapshots.put_object(Bucket=bucket, Key="kept", Body=b"x")
    snapshots.put_object(Bucket=bucket, Key="given", Body=b"x", ACL=FULL_CONTROL)
    owner.get_object(Bucket=bucket, Key="given")
    assert code(owner.get_object, Bucket=bucket, Key="kept") == "AccessDenied"
    assert code(owner.head_object, Bucket=bucket, Key="kept") == "403"
    source = {"Bucket": bucket, "Key": "kept"}
    assert code(owner.copy_object, Bucket=bucket, Key="copy", CopySource=source) == "AccessDenied"
    assert snapshots.get_object(Bucket=bucket, Key="kept")["Metadata"] == {}
    set_ownership(owner, bucket, "BucketOwnerEnforced")
    assert owner.get_object(Bucket=bucket, Key="kept")["Metadata"] == {}
    set_ownership(owner, bucket, ownership)
    assert code(owner.get_object, Bucket=bucket, Key="kept") == "AccessDenied"


def test_parts_stay_the_writers_too(client_of: ClientOf, owner: "S3Client", bucket: str) -> None:
    set_ownership(owner, bucket, "BucketOwnerPreferred")
    actions = ["s3:PutObject", "s3:GetObject", "s3:PutObjectAcl"]
    put_policy(owner, bucket, statement(bucket, {"AWS": SNAPSHOT_ROLE}, *actions))
    snapshots = client_of(SNAPSHOT_SESSION)
    content = b"x" * 9_000_000
    snapshots.upload_fileobj(io.BytesIO(content), bucket, "kept")
    snapshots.upload_fileobj(io.BytesIO(content), bucket, "given", {"ACL": FULL_CONTROL})
    assert owner.get_object(Bucket=bucket, Key="given")["Body"].read() == content
    assert code(owner.get_object, Bucket=bucket, Key="kept") == "AccessDenied"


# The service's nodes


def test_service_acts_as_the_role_that_was_passed(
    client_of: ClientOf, endpoint: str, owner: "S3Client", bucket: str
) -> None:
    service = client_of(SERVICE)
    put = {"Bucket": bucket, "Key": f"{BASE_PATH}/index-0", "Body": b"x"}
    put_policy(
        owner,
        bucket,
        statement(bucket, {"AWS": SNAPSHOT_ROLE}, "s3:PutObject", "s3:DeleteObject"),
        statement(
            bucket,
            {"AWS": SNAPSHOT_ROLE},
            "s3:ListBucket",
            Resource=f"arn:aws:s3:::{bucket}",
            Condition={"StringLike": {"s3:prefix": f"{BASE_PATH}/*"}},
        ),
    )
    assert code(service.put_object, **put) == "AccessDenied"
    assert pass_role(endpoint, bucket, CONTROL_TOKEN, DESTINATION_NODES) == 204
    assert code(service.put_object, **put) == "AccessDenied"
    assert pass_role(endpoint, bucket, CONTROL_TOKEN, SERVICE) == 204
    service.put_object(**put)  # type: ignore[arg-type]
    assert code(service.put_object, **put | {"Key": "elsewhere"}) == "AccessDenied"
    listed = service.list_objects_v2(Bucket=bucket, Prefix=f"{BASE_PATH}/")
    assert [each["Key"] for each in listed["Contents"]] == [put["Key"]]
    assert code(service.list_objects_v2, Bucket=bucket) == "AccessDenied"
    deleted = service.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": f"{BASE_PATH}/index-0"}]}
    )
    assert [each["Key"] for each in deleted["Deleted"]] == [put["Key"]]
    owner.delete_bucket_policy(Bucket=bucket)
    assert code(service.put_object, **put) == "AccessDenied"


def test_nodes_of_a_cluster_that_is_a_domain_too_act_as_a_role_only_where_one_was_passed(
    client_of: ClientOf, endpoint: str, owner: "S3Client", bucket: str
) -> None:
    nodes = client_of(DESTINATION_NODES)
    put_policy(
        owner,
        bucket,
        statement(bucket, {"AWS": DESTINATION_NODES.arn}),
        statement(bucket, {"AWS": SNAPSHOT_ROLE}, "s3:GetObject"),
    )
    for key in ("elsewhere", f"{BASE_PATH}/index-0"):
        nodes.put_object(Bucket=bucket, Key=key, Body=b"x")

    pass_role(endpoint, bucket, CONTROL_TOKEN, DESTINATION_NODES)

    put = {"Bucket": bucket, "Key": f"{BASE_PATH}/index-0", "Body": b"y"}
    assert code(nodes.put_object, **put) == "AccessDenied"
    assert nodes.get_object(Bucket=bucket, Key=put["Key"])["Body"].read() == b"x"  # type: ignore[arg-type]
    nodes.put_object(Bucket=bucket, Key="elsewhere", Body=b"y")


def test_only_the_domain_says_which_role_was_passed(endpoint: str, bucket: str) -> None:
    with pytest.raises(HTTPError) as raised:
        pass_role(endpoint, bucket, "another", SERVICE)
    with raised.value as answer:
        assert answer.status == 403


# Bodies


def test_large_upload_in_parts_comes_back(owner: "S3Client", bucket: str) -> None:
    content = bytes(range(256)) * 100_000
    owner.upload_fileobj(io.BytesIO(content), bucket, "folder/ key+with %2F ünd")
    found = owner.list_objects_v2(Bucket=bucket, Prefix="folder/ key")["Contents"]
    assert [each["Key"] for each in found] == ["folder/ key+with %2F ünd"]
    downloaded = io.BytesIO()
    owner.download_fileobj(bucket, "folder/ key+with %2F ünd", downloaded)
    assert downloaded.getvalue() == content
    part = owner.get_object(Bucket=bucket, Key="folder/ key+with %2F ünd", Range="bytes=256-259")
    assert part["Body"].read() == b"\x00\x01\x02\x03"
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_unsigned_body(client_of: ClientOf, bucket: str) -> None:
    unsigned = client_of(DESTINATION_ADMINISTRATOR, s3={"payload_signing_enabled": False})
    unsigned.put_object(Bucket=bucket, Key="key", Body=b"content")
    assert unsigned.get_object(Bucket=bucket, Key="key")["Body"].read() == b"content"


def test_compressed_object_is_left_as_it_is(owner: "S3Client", bucket: str) -> None:
    compressed = zlib.compress(b"content", wbits=31)
    owner.put_object(Bucket=bucket, Key="key", Body=compressed, ContentEncoding="gzip")
    found = owner.get_object(Bucket=bucket, Key="key")
    assert (found["Body"].read(), found["ContentEncoding"]) == (compressed, "gzip")


class _StreamingSigner(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        payload: str = request.context["payload"]
        return payload


def put_chunked(
    endpoint: str,
    target: str,
    chunks: list[bytes],
    *,
    payload: str,
    trailer: str = "",
    tamper: Callable[[bytes], bytes] = bytes,
    length: int | None = None,
) -> tuple[int, bytes]:
    """Send a body as AWS's Java SDK does; boto3 can't."""
    signer = _StreamingSigner(
        Credentials(
            DESTINATION_ADMINISTRATOR.access_key_id, DESTINATION_ADMINISTRATOR.secret_access_key
        ),
        "s3",
        REGION,
    )
    content = b"".join(chunks)
    headers = {
        "Content-Encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(len(content) if length is None else length),
    }
    if trailer:
        headers["x-amz-trailer"] = trailer.partition(":")[0]
    request = AWSRequest(method="PUT", url=f"{endpoint}/{target}", headers=headers)
    request.context["payload"] = payload
    signer.add_auth(request)
    signature = request.headers["Authorization"].rpartition("=")[2]
    timestamp = request.context["timestamp"]

    def sign(kind: str, *digests: str) -> str:
        nonlocal signature
        parts = (kind, timestamp, signer.credential_scope(request), signature, *digests)
        signature = signer.signature("\n".join(parts), request)
        return signature

    signed = payload.startswith("STREAMING-AWS4")
    empty = hashlib.sha256(b"").hexdigest()
    body = b""
    for chunk in [*chunks, b""]:
        body += f"{len(chunk):x}".encode()
        if signed:
            digest = hashlib.sha256(chunk).hexdigest()
            body += f";chunk-signature={sign('AWS4-HMAC-SHA256-PAYLOAD', empty, digest)}".encode()
        body += b"\r\n" + chunk + (b"\r\n" if chunk else b"")
    if trailer:
        body += f"{trailer}\r\n".encode()
        if signed:
            digest = hashlib.sha256(f"{trailer}\n".encode()).hexdigest()
            line = f"x-amz-trailer-signature:{sign('AWS4-HMAC-SHA256-TRAILER', digest)}\r\n"
            body += line.encode()
    body = tamper(body + b"\r\n")
    prepared = urllib.request.Request(  # noqa: S310
        f"{endpoint}/{target}", body, dict(request.headers.items()), method="PUT"
    )
    try:
        with urllib.request.urlopen(prepared) as answer:  # noqa: S310
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


CHUNKS = [b"a" * 131_072, b"b" * 131_072, b"c" * 10_000]
CHECKSUM = base64.b64encode(zlib.crc32(b"".join(CHUNKS)).to_bytes(4)).decode()
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


@pytest.mark.parametrize("payload", [SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER])
def test_chunked_body(endpoint: str, owner: "S3Client", bucket: str, payload: str) -> None:
    trailer = f"x-amz-checksum-crc32:{CHECKSUM}" if payload.endswith("TRAILER") else ""
    status, answer = put_chunked(
        endpoint, f"{bucket}/key", CHUNKS, payload=payload, trailer=trailer
    )
    assert (status, answer) == (200, b"")
    found = owner.get_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
    assert found["Body"].read() == b"".join(CHUNKS)
    if trailer:
        assert found["ChecksumCRC32"] == CHECKSUM
    assert "ContentEncoding" not in found


@pytest.mark.parametrize("payload", [SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER])
def test_empty_chunked_body(endpoint: str, owner: "S3Client", bucket: str, payload: str) -> None:
    trailer = "x-amz-checksum-crc32:AAAAAA==" if payload.endswith("TRAILER") else ""
    assert put_chunked(endpoint, f"{bucket}/key", [], payload=payload, trailer=trailer)[0] == 200
    assert owner.head_object(Bucket=bucket, Key="key")["ContentLength"] == 0


@pytest.mark.parametrize("payload", [SIGNED, SIGNED_TRAILER])
@pytest.mark.parametrize("old", [b"a", b"c"])
def test_tampered_chunk_is_refused(
    endpoint: str, owner: "S3Client", bucket: str, payload: str, old: bytes
) -> None:
    status, answer = put_chunked(
        endpoint,
        f"{bucket}/key",
        CHUNKS,
        payload=payload,
        trailer=f"x-amz-checksum-crc32:{CHECKSUM}" if payload == SIGNED_TRAILER else "",
        tamper=lambda body: body.replace(old * 100, b"x" * 100, 1),
    )
    assert (status, b"<Code>SignatureDoesNotMatch</Code>" in answer) == (403, True)
    assert "Contents" not in owner.list_objects_v2(Bucket=bucket)


def test_wrong_checksum_in_the_trailer_is_refused(
    endpoint: str, owner: "S3Client", bucket: str
) -> None:
    status, answer = put_chunked(
        endpoint,
        f"{bucket}/key",
        CHUNKS,
        payload=UNSIGNED_TRAILER,
        trailer="x-amz-checksum-crc32:AAAAAA==",
    )
    assert (status, b"<Code>BadDigest</Code>" in answer) == (400, True)
    assert "Contents" not in owner.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("length", [100, 1_000_000])
def test_wrong_length_is_refused(
    endpoint: str, owner: "S3Client", bucket: str, length: int
) -> None:
    status, answer = put_chunked(endpoint, f"{bucket}/key", CHUNKS, payload=SIGNED, length=length)
    assert (status, b"<Code>IncompleteBody</Code>" in answer) == (400, True)
    assert "Contents" not in owner.list_objects_v2(Bucket=bucket)


def test_body_that_is_not_the_signed_one_is_refused(owner: "S3Client", bucket: str) -> None:
    def tamper(request: Any, **_: Any) -> None:
        request.body = b"tampered"

    owner.meta.events.register("before-send.s3.PutObject", tamper)
    try:
        refused = code(owner.put_object, Bucket=bucket, Key="key", Body=b"original")
    finally:
        owner.meta.events.unregister("before-send.s3.PutObject", tamper)
    assert refused == "XAmzContentSHA256Mismatch"


@pytest.mark.parametrize("signed", [True, False])
def test_upload_that_breaks_off_leaves_the_old_object(
    endpoint: str, owner: "S3Client", bucket: str, signed: bool
) -> None:
    owner.put_object(Bucket=bucket, Key="key", Body=b"old")
    content = b"new" * 1_000_000
    request = AWSRequest(method="PUT", url=f"{endpoint}/{bucket}/key")
    request.context["payload"] = (
        hashlib.sha256(content).hexdigest() if signed else "UNSIGNED-PAYLOAD"
    )
    credentials = Credentials(
        DESTINATION_ADMINISTRATOR.access_key_id, DESTINATION_ADMINISTRATOR.secret_access_key
    )
    _StreamingSigner(credentials, "s3", REGION).add_auth(request)
    host, _, port = endpoint.removeprefix("http://").partition(":")
    with closing(HTTPConnection(host, int(port))) as connection:
        connection.putrequest("PUT", f"/{bucket}/key")
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(content)))
        connection.endheaders(content[: len(content) // 2])
    time.sleep(1)
    assert owner.get_object(Bucket=bucket, Key="key")["Body"].read() == b"old"


# The process


def test_bridge_runs_as_a_process_of_its_own(
    configuration: Configuration, bucket: str, tmp_path: Path
) -> None:
    port = processes.free_port()
    process = bridge.start(
        configuration.model_copy(update={"port": port}),
        configuration_file=tmp_path / "bridge.json",
        log_file=tmp_path / "bridge.log",
    )
    try:
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name=REGION,
            aws_access_key_id=DESTINATION_ADMINISTRATOR.access_key_id,
            aws_secret_access_key=DESTINATION_ADMINISTRATOR.secret_access_key,
        )
        assert bucket in [each["Name"] for each in client.list_buckets()["Buckets"]]
    finally:
        process.stop()
