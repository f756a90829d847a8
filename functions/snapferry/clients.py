"""The only place that makes clients, of AWS and of clusters.

They are kept between invocations of one Lambda environment, and with them their connections.
"""

import contextlib
import functools
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.client import BaseClient
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
from opensearchpy import JSONSerializer, OpenSearch, RequestsHttpConnection, Transport
from opensearchpy.exceptions import OpenSearchException, SerializationError
from requests_aws4auth import AWS4Auth

from snapferry import access, artifacts, migration, raw_json, security
from snapferry.errors import (
    AccessDenied,
    InvalidInput,
    SnapferryError,
    Unavailable,
    explain,
    explain_s3,
)
from snapferry.events import Bus
from snapferry.fence import Fence, State
from snapferry.journal import BUCKET, SECRETS, Journal, Place, destination_side, side_of
from snapferry.records import Records
from snapferry.request import Bucket, Destination, Domain, MasterUser
from snapferry.topic import Topic

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_stepfunctions import SFNClient

_REQUEST_TIMEOUT_SECONDS = 120
_LONGEST_PAUSE_SECONDS = 30
_ROLES_LET_IN = (
    "SnapferryRoleNames of the template that made it has to be the stack's name followed by -*"
)
# Where there is no route, the AWS client's attempts end before the shortest function's time does,
# so that the error says so.
_AWS = Config(connect_timeout=5, retries={"mode": "standard", "total_max_attempts": 5})
# Besides the statuses 429 and 5xx: DynamoDB and others answer with 400.
_TRANSIENT_CODES = re.compile(
    "Throttl|LimitExceeded|ThroughputExceeded|TooManyRequests|RequestTimeout"
)

type _ErrorOf = Callable[[int, str, str, str], SnapferryError | None]
"""Our error for an answer's status, code and text and its request; None where AWS's own stays."""


class _ExplainingTransport(Transport):
    """Raises our errors, with the cluster's side in their text, in place of the client's."""

    def __init__(self, hosts: Any, *, cluster: str, **options: Any) -> None:
        super().__init__(hosts, **options)
        self._cluster = cluster

    def perform_request(self, method: str, url: str, *args: Any, **options: Any) -> Any:
        try:
            return super().perform_request(method, url, *args, **options)
        except OpenSearchException as error:
            raise explain(error, self._cluster, f"{method} {url}") from error


class _Connection(RequestsHttpConnection):
    """Opens its connections anew after a pause, in which the old ones may have died unseen.

    Lambda freezes an environment between invocations; nothing in it hears then that the other side,
    or something in between, has closed them.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/best-practices.html
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used_at = time.time()
        self._lock = threading.Lock()

    def perform_request(self, *args: Any, **options: Any) -> Any:
        with self._lock:
            if time.time() - self._used_at > _LONGEST_PAUSE_SECONDS:
                # Requests that run keep theirs.
                self.session.close()
            self._used_at = time.time()
        try:
            return super().perform_request(*args, **options)
        finally:
            self._used_at = time.time()


class _Signer(AWS4Auth):  # type: ignore[misc]  # it has no types
    """Signs one request at a time: it keeps in itself what it signs with, and threads share it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._lock = threading.Lock()

    def __call__(self, req: Any) -> Any:
        with self._lock:
            return super().__call__(req)


class _Serializer(JSONSerializer):
    """Leaves documents the text that they are, so that they can be copied."""

    def loads(self, s: str) -> Any:
        try:
            return raw_json.loads(s)
        except ValueError as error:
            raise SerializationError(s, error) from error


def source(domain: Domain) -> OpenSearch:
    """A client of the domain, signed for the service `es` as the domain's access role."""
    return _as_role(
        f"source {domain.host}",
        domain.host,
        domain.region,
        domain.access_role_arn,
        "domains[].access_role_arn",
        "DomainAccessRoleName",
    )


def source_administrator(domain: Domain) -> OpenSearch:
    """A client of the domain as its master user; as the access role where none is given.

    Raises:
        AccessDenied: where the master user's secret can't be read.
        InvalidInput: where it doesn't hold what is needed.
    """
    if domain.master_user is None:
        return source(domain)
    return _as_master_user(
        f"source {domain.host}",
        domain.host,
        domain.region,
        domain.master_user,
        "domains[].master_user",
    )


def bucket(target: Bucket) -> access.BucketPermissions | None:
    """The bucket as its access role; None where the migration isn't to change its permissions."""
    if target.access is None:
        return None
    return _bucket(target.name, target.region, target.access.role_arn, target.access.external_id)


@functools.cache
def _bucket(
    name: str, region: str, role_arn: str, external_id: str | None
) -> access.BucketPermissions:
    credentials = _assumed(
        role_arn,
        f"bucket.access.role_arn: the functions can't assume {role_arn}",
        "its trust policy has to name the account of the stack and the external ID in "
        "bucket.access.external_id, if any, its name has to be the stack's parameter "
        f"BucketAccessRoleName, and {_ROLES_LET_IN}",
        **({"ExternalId": external_id} if external_id else {}),
    )
    session = botocore.session.get_session()
    session.register_component("credential_provider", CredentialResolver([_Given(credentials)]))
    s3 = boto3.Session(botocore_session=session).client("s3", region_name=region, config=_AWS)
    return access.BucketPermissions(
        _explaining(
            s3,
            f"the bucket {name}",
            "S3, by a gateway endpoint",
            lambda status, code, text, request: explain_s3(status, code, text, name, request),
        ),
        name,
    )


class _Given(CredentialProvider):
    """Gives a session of the AWS client the credentials that it is to use."""

    def __init__(self, credentials: DeferredRefreshableCredentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> DeferredRefreshableCredentials:
        return self._credentials


def _assumed(
    role_arn: str, failure: str, remedy: str, **arguments: str
) -> DeferredRefreshableCredentials:
    """Credentials of a role that renew themselves before they expire.

    They come from STS where the stack is, which its subnets reach, and hold in every region.
    """
    session = botocore.session.get_session()
    session.set_default_client_config(_AWS)
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=session.create_client,
        source_credentials=session.get_credentials(),
        role_arn=role_arn,
        extra_args={"RoleSessionName": "snapferry", **arguments},
    )

    def assume() -> dict[str, Any]:
        with _explained(failure, remedy):
            return fetcher.fetch_credentials()

    return DeferredRefreshableCredentials(refresh_using=assume, method="assume-role")


def destination(target: Destination) -> OpenSearch:
    """A client of the destination: of a domain as its access role, else as its secret's user.

    Raises:
        AccessDenied: where the secret can't be read.
        InvalidInput: where it doesn't hold what is needed.
    """
    name = f"destination {target.endpoint}"
    if target.access_role_arn is not None:
        return _as_role(
            name,
            target.endpoint,
            str(target.region),
            target.access_role_arn,
            "destination.access_role_arn",
            "DomainAccessRoleName",
        )
    secret = _secret(str(target.secret_arn), "destination.secret_arn")
    return _as_user(name, target.endpoint, secret)


def destination_administrator(target: Destination) -> OpenSearch:
    """A client of the destination as its master user; as its caller where none is given.

    Raises:
        AccessDenied: where a secret can't be read.
        InvalidInput: where it doesn't hold what is needed.
    """
    if target.master_user is None:
        return destination(target)
    return _as_master_user(
        f"destination {target.endpoint}",
        target.endpoint,
        str(target.region),
        target.master_user,
        "destination.master_user",
    )


def source_dashboards(domain: Domain) -> artifacts.Dashboards:
    """The domain's Dashboards, or Kibana, as `source_administrator`."""
    return _dashboards_of_domain(source_administrator(domain))


def destination_dashboards(target: Destination) -> artifacts.Dashboards | None:
    """The destination's Dashboards as `destination_administrator`; None where it has no address."""
    if target.is_domain:
        return _dashboards_of_domain(destination_administrator(target))
    if target.dashboards_endpoint is None:
        return None
    endpoint, slash, path = target.dashboards_endpoint.partition("/")
    client = _as_user(f"Dashboards {endpoint}", endpoint, _administrator_secret(target))
    return artifacts.Dashboards(client, destination_administrator(target), (slash + path,))


def _dashboards_of_domain(administrator: OpenSearch) -> artifacts.Dashboards:
    """Dashboards, or Kibana, which lies below a domain's endpoint.

    Source: https://docs.aws.amazon.com/opensearch-service/latest/developerguide/dashboards.html
    """
    return artifacts.Dashboards(administrator, administrator, ("/_dashboards", "/_plugin/kibana"))


def destination_caller(target: Destination) -> str:
    """By which name the destination knows its caller: an ARN, or that of the secret's user.

    Raises:
        AccessDenied: where the secret can't be read.
        InvalidInput: where it doesn't hold what is needed.
    """
    if target.access_role_arn is not None:
        return target.access_role_arn
    return _secret(str(target.secret_arn), "destination.secret_arn").username


def _as_master_user(
    name: str, endpoint: str, region: str, master: MasterUser, place: str
) -> OpenSearch:
    if master.role_arn is not None:
        return _as_role(
            name, endpoint, region, master.role_arn, f"{place}.role_arn", "DomainMasterRoleName"
        )
    return _as_user(name, endpoint, _secret(str(master.secret_arn), f"{place}.secret_arn"))


@functools.cache
def _as_role(
    name: str, endpoint: str, region: str, role_arn: str, place: str, parameter: str
) -> OpenSearch:
    """A client of an Amazon domain."""
    credentials = _assumed(
        role_arn,
        f"{place}: the functions can't assume {role_arn}",
        "its trust policy has to name the account of the stack, its name has to be the stack's "
        f"parameter {parameter}, and {_ROLES_LET_IN}",
    )
    signature = _Signer(region=region, service="es", refreshable_credentials=credentials)
    return _cluster(name, endpoint, http_auth=signature)


def _administrator_secret(target: Destination) -> "_Secret":
    if target.master_user is None:
        return _secret(str(target.secret_arn), "destination.secret_arn")
    return _secret(str(target.master_user.secret_arn), "destination.master_user.secret_arn")


@dataclass(frozen=True, repr=False)
class _Secret:
    """A user of a cluster, and the cluster's CA where it isn't a public one."""

    username: str
    password: str
    ca_certificate: str | None


def _secret(secret_arn: str, place: str) -> _Secret:
    with _explained(
        f"{place}: {secret_arn} can't be read",
        "it has to exist, and its name has to begin with the stack's parameter SecretNamePrefix; a "
        "KMS key of your own that encrypts it has to be of the stack's account, and the key's "
        "policy has to leave it to the account's IAM policies who may decrypt",
    ):
        # Read each time, because a password may be changed while the migration runs.
        secrets = _secrets_of_input(secret_arn.split(":")[3])
        answer = secrets.get_secret_value(SecretId=secret_arn)
    try:
        secret = json.loads(answer["SecretString"])
        return _Secret(secret["username"], secret["password"], secret.get("ca_certificate"))
    except (KeyError, TypeError, ValueError):
        raise InvalidInput(
            f"{place}: the secret {secret_arn} has to be a JSON object with "
            "username and password, and ca_certificate (PEM) if the cluster's CA isn't public"
        ) from None


@functools.cache
def _as_user(name: str, endpoint: str, secret: _Secret) -> OpenSearch:
    options: dict[str, Any] = {"http_auth": (secret.username, secret.password)}
    if secret.ca_certificate:
        options["ca_certs"] = _file_of(secret.ca_certificate)
    return _cluster(name, endpoint, **options)


@functools.cache
def _secrets_of_input(region: str) -> "SecretsManagerClient":
    return boto3.client("secretsmanager", region_name=region, config=_AWS)


@contextlib.contextmanager
def _explained(failure: str, remedy: str) -> Iterator[None]:
    """Raises our errors in place of those of the AWS client."""
    try:
        yield
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if _is_transient(status, error.response["Error"]["Code"]):
            raise Unavailable(f"{failure} at the moment: {error}") from error
        raise AccessDenied(f"{failure}: {error}. What to do: {remedy}.") from error
    except (ConnectionError, HTTPClientError) as error:
        raise Unavailable(
            f"{failure}: {error}. What to do: in a VPC, give the functions' subnets a route to "
            "STS and to Secrets Manager, by interface endpoints or a NAT gateway."
        ) from error


def _is_transient(status: int, code: str) -> bool:
    """Whether AWS had too much to do or failed itself, also after the client's own attempts."""
    return status == 429 or status >= 500 or bool(_TRANSIENT_CODES.search(code))


def _explaining[Client: BaseClient](
    client: Client, name: str, route: str, error_of: _ErrorOf
) -> Client:
    """Has a client raise our errors in place of those of AWS.

    Args:
        client: of AWS.
        name: what it asks, in messages.
        route: where the functions' subnets need a route to, and by what besides a NAT gateway.
        error_of: says which.
    """

    def explain_answer(http_response: Any, parsed: Any, model: Any, **_: Any) -> None:
        status, error = http_response.status_code, parsed.get("Error", {})
        if status >= 300 and (
            ours := error_of(status, error.get("Code", ""), error.get("Message", ""), model.name)
        ):
            raise ours

    def explain_no_answer(exception: Exception, **_: Any) -> None:
        if isinstance(exception, (ConnectionError, HTTPClientError)):
            raise Unavailable(
                f"{name} can't be reached: {exception}. What to do: in a VPC, give the functions' "
                f"subnets a route to {route} or a NAT gateway."
            ) from exception

    client.meta.events.register("after-call", explain_answer)
    client.meta.events.register("after-call-error", explain_no_answer)
    return client


def _of_stack[Client: BaseClient](client: Client, denial: _ErrorOf = lambda *_: None) -> Client:
    """Has a client raise `Unavailable` where a later attempt may succeed; others stay AWS's.

    Args:
        client: of a service that the stack itself uses.
        denial: says what becomes of a denial, where it doesn't stay AWS's.
    """
    service = client.meta.service_model.service_name

    def error_of(status: int, code: str, text: str, request: str) -> SnapferryError | None:
        if _is_transient(status, code):
            return Unavailable(f"{service} answered {request} with {status}: {code}: {text}")
        return denial(status, code, text, request)

    return _explaining(client, service, f"{service}, by an endpoint", error_of)


@functools.cache
def _file_of(certificate: str) -> str:
    """Writes a certificate to a file, since the TLS library takes files only."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
        file.write(certificate)
    return file.name


def _cluster(name: str, endpoint: str, **options: Any) -> OpenSearch:
    host, _, port = endpoint.partition(":")
    return OpenSearch(
        hosts=[{"host": host, "port": int(port or 443)}],
        use_ssl=True,
        connection_class=_Connection,
        transport_class=_ExplainingTransport,
        cluster=name,
        serializer=_Serializer(),
        timeout=_REQUEST_TIMEOUT_SECONDS,
        # Repetitions are the state machine's: it waits between them and shows them.
        max_retries=0,
        **options,
    )


@functools.cache
def table() -> "Table":
    """The table of the stack, which an environment variable names."""
    dynamodb = boto3.resource("dynamodb", config=_AWS)
    _of_stack(dynamodb.meta.client)
    return dynamodb.Table(os.environ["TABLE_NAME"])


def records(migration_id: str) -> Records:
    """The records of a migration, where the stack's environment variables say."""
    return Records(
        s3=_s3(),
        bucket=os.environ["RECORDS_BUCKET"],
        table=table(),
        migration_id=migration_id,
    )


@functools.cache
def _s3() -> "S3Client":
    return _of_stack(boto3.client("s3", config=_AWS))


def journal(migration_id: str) -> Journal:
    """The journal of a migration."""
    return Journal(table(), migration_id)


def fence(migration_id: str) -> Fence:
    """The fence of a migration."""
    return Fence(table(), migration_id)


def effect(
    migration_id: str, context: LambdaContext, during: State = "running"
) -> AbstractContextManager[None]:
    """The time in which a function changes something for a migration, see `Fence.effect`.

    Args:
        migration_id: of the migration.
        context: what Lambda tells the function of itself.
        during: the state of the migration in which it may.
    """
    return fence(migration_id).effect(
        context.aws_request_id, context.get_remaining_time_in_millis(), during
    )


def sides(records: Records) -> Callable[[Place], Any]:
    """Makes the client for a place of the journal, from the jobs in the migration's records."""
    jobs = migration.jobs(records)
    domains = {side_of(job.domain.name): job.domain for job in jobs}
    destinations = {destination_side(job.destination.endpoint): job.destination for job in jobs}

    def connect(place: Place) -> Any:
        if place.side == BUCKET:
            return bucket(jobs[0].bucket)
        if place.side == SECRETS:
            return secrets_of_users()
        owner = artifacts.OWNERS.get(place.kind)
        by_administrator = place.kind in security.CHANGEABLES or owner == "administrator"
        if target := destinations.get(place.side):
            if owner == "dashboards":
                return destination_dashboards(target)
            return destination_administrator(target) if by_administrator else destination(target)
        domain = domains[place.side]
        return source_administrator(domain) if by_administrator else source(domain)

    return connect


@functools.cache
def secrets_of_users() -> "SecretsManagerClient":
    """A client of Secrets Manager where the stack is, for the passwords of users."""

    def denial(_: int, code: str, text: str, request: str) -> SnapferryError | None:
        if code == "AccessDeniedException":
            return AccessDenied(
                f"Secrets Manager denies {request}: {text}. What to do: look for a policy of the "
                "account or its organization that takes the right away."
            )
        return None

    return _of_stack(boto3.client("secretsmanager", config=_AWS), denial)


@functools.cache
def step_functions() -> "SFNClient":
    """A client of Step Functions, for roll-backs."""
    return _of_stack(boto3.client("stepfunctions", config=_AWS))


@functools.cache
def bus() -> Bus:
    """The event bus of the stack, which an environment variable names."""
    return Bus(_of_stack(boto3.client("events", config=_AWS)), os.environ["EVENT_BUS_NAME"])


@functools.cache
def topic() -> Topic:
    """The topic of the stack, which environment variables name."""
    client = _of_stack(boto3.client("sns", config=_AWS))
    return Topic(client, os.environ["TOPIC_ARN"], os.environ["STACK_NAME"])
