"""The role of accounts/bucket.yaml, and what it may do with STS, IAM and S3 before it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest

from snapferry import access, clients
from snapferry.errors import AccessDenied, Conflict
from snapferry.request import Bucket, BucketAccess
from snapferry_sandbox import localstack, processes
from snapferry_sandbox.identities import Identity
from snapferry_sandbox.s3 import bridge, gateway
from snapferry_sandbox.s3.configuration import Account, Configuration
from snapferry_sandbox.world import CACHE, ROOT

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION: Final = "eu-west-1"
NAME = "company-migration"
OWNER = Account(number="222222222222", canonical_id="b" * 64)
SOURCE = Account(number="111111111111", canonical_id="a" * 64)
EXTERNAL_ID = "company-migration"
FUNCTION_ROLE = "snapferry-LetSourceWriteFunctionRole-1"
STATEMENT = {
    "Sid": "Ours",
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{SOURCE.number}:root"},
    "Action": "s3:ListBucket",
    "Resource": f"arn:aws:s3:::{NAME}",
}


@dataclass(frozen=True)
class Aws:
    """LocalStack, with the bridge's bucket among its own."""

    endpoint: str

    def client(self, service: Any) -> Any:
        """A client as the root of the bucket's account."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=OWNER.number,
            aws_secret_access_key=ROOT_SECRET,
        )


ROOT_SECRET = "secret of the root"


def identity(account: Account) -> Identity:
    return Identity(
        access_key_id=account.number,
        secret_access_key=ROOT_SECRET,
        account=account.number,
        arn=f"arn:aws:iam::{account.number}:root",
    )


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    folder = tmp_path_factory.mktemp("aws")
    s3 = gateway.start(
        gateway.build(CACHE), folder / "s3", region=REGION, log_file=folder / "versitygw.log"
    )
    port = processes.free_port()
    started = localstack.start(
        folder / "localstack",
        folder,
        lambda_environment={},
        buckets={NAME: f"http://127.0.0.1:{port}"},
    )
    front = bridge.start(
        Configuration(
            region=REGION,
            port=port,
            gateway_endpoint=s3.endpoint,
            gateway_access_key=s3.access_key,
            gateway_secret_key=s3.secret_key,
            aws_endpoint=started.endpoint,
            identities=(identity(OWNER), identity(SOURCE)),
            service_identity=identity(SOURCE).model_copy(update={"access_key_id": "AKIASERVICE"}),
            control_token="control",
            bucket_owner=OWNER,
            other_accounts=(SOURCE,),
        ),
        configuration_file=folder / "bridge.json",
        log_file=folder / "bridge.log",
    )
    yield Aws(started.endpoint)
    for process in (front, started.process, s3.process):
        process.stop(timeout_seconds=0)


@pytest.fixture(scope="module")
def owner(aws: Aws) -> "S3Client":
    """The bucket, made as AWS makes it, as its owner sees it."""
    client: S3Client = aws.client("s3")
    client.create_bucket(Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": REGION})
    return client


@pytest.fixture(scope="module")
def role_arn(aws: Aws) -> str:
    """The role of the template."""
    cloudformation = aws.client("cloudformation")
    cloudformation.create_stack(
        StackName="bucket",
        TemplateBody=(ROOT / "accounts" / "bucket.yaml").read_text(),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value}
            for name, value in {
                "SnapferryAccountId": OWNER.number,
                "ExternalId": EXTERNAL_ID,
                "BucketName": NAME,
            }.items()
        ],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="bucket", WaiterConfig={"Delay": 1}
    )
    [stack] = cloudformation.describe_stacks(StackName="bucket")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert outputs["BucketName"] == NAME
    return str(outputs["BucketAccessRoleArn"])


type BucketAs = Callable[..., access.BucketPermissions]


@pytest.fixture
def bucket_as(
    aws: Aws,
    owner: "S3Client",  # noqa: ARG001 - it made the bucket
    role_arn: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[BucketAs]:
    """The bucket as a function sees it whose own role has a name."""
    iam, sts = aws.client("iam"), aws.client("sts")

    def make(function_role: str, external_id: str | None = EXTERNAL_ID) -> access.BucketPermissions:
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        roles = {role["RoleName"] for role in iam.list_roles()["Roles"]}
        if function_role not in roles:
            iam.create_role(
                RoleName=function_role, AssumeRolePolicyDocument=json.dumps({"Statement": trust})
            )
        function = sts.assume_role(
            RoleArn=f"arn:aws:iam::{OWNER.number}:role/{function_role}", RoleSessionName="function"
        )["Credentials"]
        for name, value in {
            "AWS_ACCESS_KEY_ID": function["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": function["SecretAccessKey"],
            "AWS_SESSION_TOKEN": function["SessionToken"],
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": aws.endpoint,
        }.items():
            monkeypatch.setenv(name, value)
        clients._bucket.cache_clear()
        made = clients.bucket(
            Bucket(
                name=NAME,
                region=REGION,
                access=BucketAccess(role_arn=role_arn, external_id=external_id),
            )
        )
        assert made
        return made

    yield make
    clients._bucket.cache_clear()


def test_a_function_of_the_stack_changes_the_permissions(
    bucket_as: BucketAs, owner: "S3Client"
) -> None:
    bucket = bucket_as(FUNCTION_ROLE)
    statement = access.PolicyStatement(bucket, "Ours")
    ownership = access.ObjectOwnership(bucket)
    grant = access.AclGrant(bucket, SOURCE.canonical_id)
    before = owner.get_bucket_acl(Bucket=NAME)["Grants"]

    statement.write(STATEMENT)
    ownership.write("BucketOwnerPreferred")
    grant.write(["READ", "WRITE"])

    assert statement.read() == STATEMENT
    assert json.loads(owner.get_bucket_policy(Bucket=NAME)["Policy"])["Statement"] == [STATEMENT]
    assert grant.read() == ["READ", "WRITE"]
    with pytest.raises(Conflict, match="InvalidBucketAclWithObjectOwnership"):
        ownership.write("BucketOwnerEnforced")
    grant.write(None)
    ownership.write("BucketOwnerEnforced")
    with pytest.raises(Conflict, match="AccessControlListNotSupported"):
        grant.write(["READ"])
    statement.write(None)
    assert statement.read() is None
    assert owner.get_bucket_acl(Bucket=NAME)["Grants"] == before


@pytest.mark.parametrize(
    ("function_role", "external_id"),
    [
        (FUNCTION_ROLE, "another"),
        (FUNCTION_ROLE, None),
        ("other-LetSourceWriteFunctionRole-1", EXTERNAL_ID),
    ],
    ids=["wrong external ID", "no external ID", "role of something else"],
)
def test_nobody_else_gets_the_role(
    bucket_as: BucketAs, function_role: str, external_id: str | None
) -> None:
    bucket = bucket_as(function_role, external_id)

    with pytest.raises(AccessDenied, match=r"can't assume .*external ID"):
        access.PolicyStatement(bucket, "Ours").read()


def test_the_role_sees_no_object_and_changes_nothing_else(bucket_as: BucketAs) -> None:
    bucket = bucket_as(FUNCTION_ROLE)

    for request in ("list_objects_v2", "get_bucket_tagging", "delete_bucket"):
        with pytest.raises(AccessDenied, match=r"answered \w+ with 403"):
            getattr(bucket.s3, request)(Bucket=NAME)
