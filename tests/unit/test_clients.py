"""The real clients, up to the bytes that they would send: AWS and the clusters answer here."""

import datetime
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.httpsession import URLLib3Session
from opensearchpy import OpenSearch
from requests.adapters import HTTPAdapter
from requests_aws4auth import AWS4Auth

from snapferry import access, clients
from snapferry.errors import AccessDenied, InvalidInput, SnapferryError, Unavailable
from snapferry.journal import Place, destination_side, side_of
from snapferry.records import Records
from tests import kept_clients
from tests.unit.conftest import DESTINATION, DOMAIN_AS_DESTINATION, MakeJob
from tests.unit.fakes import FakeS3

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client

HOST = "search-logs-abc.eu-west-1.es.amazonaws.com"
ACCESS_ROLE_ARN = "arn:aws:iam::111111111111:role/SnapferryDomainAccess"
MASTER_ROLE_ARN = "arn:aws:iam::111111111111:role/SnapferryDomainMaster"
MASTER_SECRET_ARN = "arn:aws:secretsmanager:eu-west-1:222222222222:secret:snapferry/master-a1"
BUCKET_ROLE_ARN = "arn:aws:iam::222222222222:role/SnapferryBucketAccess"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


class FakeAws:
    """STS, which gives new credentials at each call, and Secrets Manager."""

    def __init__(self) -> None:
        self.requests: list[AWSPreparedRequest] = []
        self.valid_for = datetime.timedelta(hours=1)
        self.secret = json.dumps({"username": "mover", "password": "p w"})
        self.refusal: str | None = None
        self.refusal_status = 400
        self.reachable = True
        self.bucket_answer = (200, '{"Statement": []}')

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        self.requests.append(request)
        if not self.reachable:
            raise EndpointConnectionError(endpoint_url=request.url)
        status = self.refusal_status if self.refusal else 200
        if request.url.startswith("https://sts."):
            body = self._refused_by_sts() if self.refusal else self._assume_role()
        elif ".s3." in request.url:
            status, body = self.bucket_answer
        else:
            body = json.dumps(
                {"__type": self.refusal, "message": "refused"}
                if self.refusal
                else {"SecretString": self.secret}
            )
        return AWSResponse(request.url, status, HTTPHeaders(), _Raw(body.encode()))

    def _assume_role(self) -> str:
        expiration = datetime.datetime.now(datetime.UTC) + self.valid_for
        return (
            "<AssumeRoleResponse><AssumeRoleResult><Credentials>"
            f"<AccessKeyId>ASIA{len(self.requests)}</AccessKeyId>"
            "<SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>"
            f"<Expiration>{expiration.isoformat()}</Expiration>"
            "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
        )

    def _refused_by_sts(self) -> str:
        return (
            f"<ErrorResponse><Error><Code>{self.refusal}</Code><Message>User is not authorized "
            "to perform: sts:AssumeRole</Message></Error></ErrorResponse>"
        )


class _Raw(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        yield self.read()


class FakeWeb:
    """What the clusters answer, and what they were sent."""

    def __init__(self) -> None:
        self.requests: list[requests.PreparedRequest] = []
        self.options: list[dict[str, Any]] = []
        self.status = 200
        self.failure: Exception | None = None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        self.requests.append(request)
        self.options.append(options)
        if self.failure:
            raise self.failure
        response = requests.Response()
        response.status_code = self.status
        response.headers["content-type"] = "application/json"
        response.raw = io.BytesIO(b'{"message": "busy"}' if self.status >= 400 else b"{}")
        response.request = request
        response.url = request.url or ""
        return response


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That of a function whose own role has the access key AKIAFUNCTION."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAFUNCTION",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "RECORDS_BUCKET": "records",
        "TABLE_NAME": "table",
        "EVENT_BUS_NAME": "snapferry",
        "TOPIC_ARN": "arn:aws:sns:eu-west-1:2:snapferry",
        "STACK_NAME": "snapferry",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept_clients.forget()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> FakeAws:
    fake = FakeAws()
    monkeypatch.setattr(URLLib3Session, "send", lambda _, request: fake.send(request))
    return fake


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> FakeWeb:
    fake = FakeWeb()
    monkeypatch.setattr(
        HTTPAdapter, "send", lambda _, request, **options: fake.send(request, **options)
    )
    return fake


@pytest.fixture
def source(make_job: MakeJob, aws: FakeAws, web: FakeWeb) -> OpenSearch:  # noqa: ARG001
    return clients.source(make_job(domain__region="eu-central-1").domain)


@pytest.fixture
def destination(make_job: MakeJob, aws: FakeAws, web: FakeWeb) -> OpenSearch:  # noqa: ARG001
    return clients.destination(make_job().destination)


class Signature:
    """The Authorization header in its parts."""

    _names: ClassVar = {"Credential", "SignedHeaders", "Signature"}

    def __init__(self, request: requests.PreparedRequest) -> None:
        algorithm, _, rest = request.headers["Authorization"].partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        assert algorithm == "AWS4-HMAC-SHA256"
        assert set(parts) == self._names
        self.access_key, *scope = parts["Credential"].split("/")
        self.region, self.service = scope[1], scope[2]
        self.signed_headers = parts["SignedHeaders"].split(";")
        self.value = parts["Signature"]

    def expected(self, request: requests.PreparedRequest) -> str:
        """The signature by the reference implementation."""
        auth = SigV4Auth(Credentials(self.access_key, "secret", "token"), "es", self.region)
        headers = {"host": urlsplit(request.url).hostname, **request.headers}
        again = AWSRequest(
            request.method,
            request.url,
            {name: value for name, value in headers.items() if name.lower() in self.signed_headers},
            request.body or b"",
        )
        again.context["timestamp"] = request.headers["x-amz-date"]
        return str(auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again))


def test_requests_to_a_domain_are_signed_as_its_access_role(
    source: OpenSearch, aws: FakeAws, web: FakeWeb
) -> None:
    source.cat.indices(format="json", h="index,uuid", expand_wildcards="all")
    source.indices.refresh(index="logs-1,orders")
    source.search(index="logs-1", body={"size": 0})

    assert len(web.requests) == 3
    for request in web.requests:
        signature = Signature(request)
        assert (signature.service, signature.region) == ("es", "eu-central-1")
        assert signature.access_key == "ASIA1"
        assert {"host", "x-amz-date", "x-amz-security-token"} <= set(signature.signed_headers)
        assert request.headers["x-amz-security-token"] == "token"
        assert signature.value == signature.expected(request)
    [assumption] = aws.requests
    asked = parse_qs(str(assumption.body))
    assert asked["RoleArn"] == [ACCESS_ROLE_ARN]
    assert asked["RoleSessionName"] == ["snapferry"]
    # Where the stack is: another region may not be open to it, nor reached from its subnets.
    assert assumption.url.startswith("https://sts.eu-west-1.")


def test_credentials_are_renewed_before_they_expire(
    source: OpenSearch, aws: FakeAws, web: FakeWeb
) -> None:
    aws.valid_for = datetime.timedelta(minutes=5)
    source.info()
    source.info()

    assert [Signature(request).access_key for request in web.requests] == ["ASIA1", "ASIA2"]


def test_one_request_is_signed_at_a_time(
    source: OpenSearch,
    web: FakeWeb,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is signed with is kept in the signer, which several threads share."""
    signing, most = 0, 0
    sign = AWS4Auth.__call__

    def slowly(signer: AWS4Auth, request: requests.PreparedRequest) -> Any:
        nonlocal signing, most
        signing += 1
        most = max(most, signing)
        time.sleep(0.01)
        signing -= 1
        return sign(signer, request)

    monkeypatch.setattr(AWS4Auth, "__call__", slowly)
    with ThreadPoolExecutor(4) as pool:
        for answer in [pool.submit(source.info) for _ in range(8)]:
            answer.result()

    assert most == 1


def test_a_role_that_may_not_be_assumed_is_named_with_the_remedy(
    source: OpenSearch, aws: FakeAws, web: FakeWeb
) -> None:
    aws.refusal = "AccessDenied"

    with pytest.raises(AccessDenied, match=rf"{ACCESS_ROLE_ARN}.*What to do: .*trust policy"):
        source.info()
    assert web.requests == []


def test_a_client_is_kept_for_the_next_invocation(make_job: MakeJob, source: OpenSearch) -> None:
    assert clients.source(make_job(domain__region="eu-central-1").domain) is source
    assert clients.source(make_job(domain__region="eu-west-1").domain) is not source


@pytest.mark.parametrize(
    "make",
    [clients.bus, clients.secrets_of_users, clients.step_functions, clients.table, clients.topic],
    ids=lambda make: make.__name__,
)
def test_a_client_of_the_stack_is_kept_for_the_next_invocation(make: Callable[[], Any]) -> None:
    assert make() is make()


def test_the_destination_gets_the_user_of_the_secret(
    destination: OpenSearch, aws: FakeAws, web: FakeWeb
) -> None:
    destination.info()

    [request] = web.requests
    assert request.url == "https://search.example.com:9200/"
    assert request.headers["Authorization"] == "Basic bW92ZXI6cCB3"
    [secret_request] = aws.requests
    assert secret_request.url.startswith("https://secretsmanager.eu-west-1.")
    assert json.loads(cast("bytes", secret_request.body))["SecretId"].endswith(
        ":secret:snapferry/a"
    )


def test_a_domain_as_destination_is_called_as_its_access_role(
    make_job: MakeJob, aws: FakeAws, web: FakeWeb
) -> None:
    target = make_job(destination=DOMAIN_AS_DESTINATION).destination

    clients.destination(target).info()

    signature = Signature(web.requests[0])
    assert (signature.service, signature.region) == ("es", "eu-central-1")
    assert str(web.requests[0].url).startswith(f"https://{DOMAIN_AS_DESTINATION['endpoint']}:443/")
    [assumption] = aws.requests
    role_arn = DOMAIN_AS_DESTINATION["access_role_arn"]
    assert parse_qs(str(assumption.body))["RoleArn"] == [role_arn]
    assert clients.destination_caller(target) == role_arn
    aws.refusal = "AccessDenied"
    clients._as_role.cache_clear()
    with pytest.raises(AccessDenied, match=r"^destination\.access_role_arn.*DomainAccessRoleName"):
        clients.destination(target).info()


def test_a_cluster_has_as_long_to_answer_as_functions_reckon_with(
    source: OpenSearch, destination: OpenSearch, web: FakeWeb
) -> None:
    """See the contract of the template."""
    source.info()
    destination.info()

    waits = [options["timeout"] for options in web.options]
    assert waits == [clients._REQUEST_TIMEOUT_SECONDS] * 2


def test_an_address_without_a_port_is_reached_at_443(source: OpenSearch, web: FakeWeb) -> None:
    source.info()

    assert web.requests[0].url == f"https://{HOST}:443/"


def test_a_ca_of_ones_own_is_trusted_and_no_other(
    make_job: MakeJob, aws: FakeAws, web: FakeWeb
) -> None:
    aws.secret = json.dumps({"username": "u", "password": "p", "ca_certificate": CERTIFICATE})

    clients.destination(make_job().destination).info()

    assert Path(web.options[0]["verify"]).read_text() == CERTIFICATE


@pytest.mark.parametrize(
    "secret", ["p4ssword", "[]", "{}", '"x"', '{"username": "u"}', '{"password": "p4ssword"}', "7"]
)
def test_a_malformed_secret_is_refused_without_being_told(
    make_job: MakeJob, aws: FakeAws, secret: str
) -> None:
    aws.secret = secret

    with pytest.raises(InvalidInput) as caught:
        clients.destination(make_job().destination)

    assert "destination.secret_arn" in str(caught.value)
    assert "has to be a JSON object with username and password" in str(caught.value)
    assert "p4ssword" not in str(caught.value)


def test_services_without_a_route_are_tried_again_later(
    make_job: MakeJob, aws: FakeAws, source: OpenSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.reachable = False
    # The AWS client's own attempts have pauses between them.
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(Unavailable, match="route to STS and to Secrets Manager"):
        source.info()
    with pytest.raises(Unavailable, match="route to STS and to Secrets Manager"):
        clients.destination(make_job().destination)


@pytest.mark.parametrize("refusal", ["ResourceNotFoundException", "AccessDeniedException"])
def test_a_secret_that_cannot_be_read_is_named_with_the_remedy(
    make_job: MakeJob, aws: FakeAws, refusal: str
) -> None:
    aws.refusal = refusal

    with pytest.raises(AccessDenied, match=r"^destination\.secret_arn: .*Prefix.* KMS key .*IAM"):
        clients.destination(make_job().destination)


def test_services_without_a_route_are_given_up_before_the_shortest_function_is(
    bucket: access.BucketPermissions,
) -> None:
    shortest_timeout_seconds, pauses_seconds = 60, 1 + 2 + 4 + 8

    for client in (
        clients._secrets_of_input("eu-west-1"),
        clients.table().meta.client,
        clients.records("m-1").s3,
        clients.step_functions(),
        clients.bus().client,
        clients.topic().client,
        bucket.s3,
    ):
        configuration: Any = client.meta.config  # its stubs leave the options out
        attempts = configuration.retries["total_max_attempts"]
        assert attempts == 5
        waited_seconds = attempts * configuration.connect_timeout + pauses_seconds
        assert waited_seconds < shortest_timeout_seconds


@pytest.mark.parametrize("refusal", ["ThrottlingException", "InternalServiceError"])
def test_a_secret_that_cannot_be_read_at_the_moment_is_asked_for_again(
    make_job: MakeJob, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    aws.refusal = refusal
    aws.refusal_status = 500 if refusal == "InternalServiceError" else 400

    with pytest.raises(Unavailable, match=r"^destination\.secret_arn: "):
        clients.destination(make_job().destination)


def test_without_a_master_user_the_migration_administers_by_itself(
    make_job: MakeJob,
    aws: FakeAws,  # noqa: ARG001
    web: FakeWeb,
) -> None:
    job = make_job()

    assert clients.source_administrator(job.domain) is clients.source(job.domain)
    clients.destination_administrator(job.destination).info()
    assert web.requests[0].headers["Authorization"] == "Basic bW92ZXI6cCB3"


@pytest.mark.parametrize(
    ("side", "region"), [("source", "eu-west-1"), ("destination", "eu-central-1")]
)
def test_an_iam_master_user_is_a_role_to_be_assumed(
    make_job: MakeJob, aws: FakeAws, web: FakeWeb, side: str, region: str
) -> None:
    master = {"role_arn": MASTER_ROLE_ARN}
    job = make_job(
        domain__master_user=master, destination=DOMAIN_AS_DESTINATION | {"master_user": master}
    )

    def administrator() -> OpenSearch:
        if side == "source":
            return clients.source_administrator(job.domain)
        return clients.destination_administrator(job.destination)

    administrator().info()

    signature = Signature(web.requests[0])
    assert (signature.service, signature.region) == ("es", region)
    assert parse_qs(str(aws.requests[0].body))["RoleArn"] == [MASTER_ROLE_ARN]
    aws.refusal = "AccessDenied"
    clients._as_role.cache_clear()
    with pytest.raises(AccessDenied, match=r"master_user\.role_arn.*DomainMasterRoleName"):
        administrator().info()


@pytest.mark.parametrize("side", ["source", "destination"])
def test_an_internal_master_user_comes_with_a_password(
    make_job: MakeJob, aws: FakeAws, web: FakeWeb, side: str
) -> None:
    aws.secret = json.dumps({"username": "master", "password": "p"})
    master = {"secret_arn": MASTER_SECRET_ARN}
    job = make_job(domain__master_user=master, destination__master_user=master)

    if side == "source":
        clients.source_administrator(job.domain).info()
    else:
        clients.destination_administrator(job.destination).info()

    assert web.requests[0].headers["Authorization"] == "Basic bWFzdGVyOnA="
    [secret_request] = aws.requests
    assert json.loads(cast("bytes", secret_request.body))["SecretId"] == MASTER_SECRET_ARN


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("dashboards.example.com", "https://dashboards.example.com:443"),
        ("https://Example.com:5601/base/", "https://example.com:5601/base"),
    ],
)
def test_dashboards_is_asked_where_it_is_as_the_master_user(
    make_job: MakeJob, aws: FakeAws, web: FakeWeb, endpoint: str, url: str
) -> None:
    aws.secret = json.dumps({"username": "master", "password": "p"})
    job = make_job(
        destination__master_user={"secret_arn": MASTER_SECRET_ARN},
        destination__dashboards_endpoint=endpoint,
    )
    dashboards = clients.destination_dashboards(job.destination)
    assert dashboards

    path = dashboards.base_paths[0]
    dashboards.client.transport.perform_request("GET", f"{path}/api/status")
    dashboards.cluster.info()

    assert [request.url for request in web.requests] == [
        f"{url}/api/status",
        "https://search.example.com:9200/",
    ]
    assert {request.headers["Authorization"] for request in web.requests} == {"Basic bWFzdGVyOnA="}
    assert clients.destination_dashboards(make_job().destination) is None


@pytest.mark.parametrize(
    ("side", "host"), [("source", HOST), ("destination", DOMAIN_AS_DESTINATION["endpoint"])]
)
def test_a_domains_dashboards_is_asked_by_signed_requests(
    make_job: MakeJob,
    aws: FakeAws,  # noqa: ARG001
    web: FakeWeb,
    side: str,
    host: str,
) -> None:
    job = make_job(destination=DOMAIN_AS_DESTINATION)
    dashboards = (
        clients.source_dashboards(job.domain)
        if side == "source"
        else clients.destination_dashboards(job.destination)
    )
    assert dashboards

    dashboards.client.transport.perform_request(
        "GET", f"{dashboards.base_paths[0]}/api/status", headers={"securitytenant": "global"}
    )

    [request] = web.requests
    assert request.url == f"https://{host}:443/_dashboards/api/status"
    assert Signature(request).value == Signature(request).expected(request)


def test_the_user_of_the_destination_has_the_name_in_its_secret(
    make_job: MakeJob,
    aws: FakeAws,  # noqa: ARG001
) -> None:
    assert clients.destination_caller(make_job().destination) == "mover"


@pytest.mark.parametrize(
    ("place", "identity"),
    [
        (Place(DESTINATION, "repository", "x"), ":secret:snapferry/a"),
        (Place(DESTINATION, "role", "x"), MASTER_SECRET_ARN),
        (Place(DESTINATION, "copied_role", "x"), MASTER_SECRET_ARN),
        (Place(side_of("logs"), "repository", "x"), ACCESS_ROLE_ARN),
        (Place(side_of("logs"), "role_mapping", "x"), MASTER_ROLE_ARN),
    ],
    ids=str,
)
def test_rights_are_given_back_by_who_granted_them(
    make_job: MakeJob, aws: FakeAws, web: FakeWeb, place: Place, identity: str
) -> None:
    job = make_job(
        domain__master_user={"role_arn": MASTER_ROLE_ARN},
        destination__master_user={"secret_arn": MASTER_SECRET_ARN},
    )
    records = Records(cast("S3Client", FakeS3()), "records", cast("Table", None), "m-1")
    records.write("jobs", [job.model_dump(mode="json")])

    clients.sides(records)(place).info()

    [identification] = aws.requests
    assert identity in unquote(cast("bytes | str", identification.body))
    assert len(web.requests) == 1


def test_each_destination_is_given_back_what_is_its_own(
    make_job: MakeJob, aws: FakeAws, web: FakeWeb
) -> None:
    jobs = [
        make_job(),
        make_job(domain__name="orders", domain__destination=DOMAIN_AS_DESTINATION),
    ]
    records = Records(cast("S3Client", FakeS3()), "records", cast("Table", None), "m-1")
    records.write("jobs", [job.model_dump(mode="json") for job in jobs])
    connect = clients.sides(records)

    for job in jobs:
        connect(Place(destination_side(job.destination.endpoint), "repository", "x")).info()

    assert [request.url for request in web.requests] == [
        "https://search.example.com:9200/",
        f"https://{DOMAIN_AS_DESTINATION['endpoint']}:443/",
    ]
    assert len(aws.requests) == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_no_request_is_repeated_after_an_answer(
    source: OpenSearch, web: FakeWeb, status: int
) -> None:
    web.status = status

    with pytest.raises(Unavailable, match=rf"^source {HOST} answered GET / with {status}: busy"):
        source.info()
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    "failure",
    [
        requests.exceptions.ConnectionError("refused"),
        requests.exceptions.ConnectTimeout("no answer"),
        requests.exceptions.ReadTimeout("no answer"),
        requests.exceptions.SSLError("self-signed certificate"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_no_request_is_repeated_without_an_answer(
    destination: OpenSearch, web: FakeWeb, failure: Exception
) -> None:
    web.failure = failure

    with pytest.raises(Unavailable, match=rf"^destination search\.example.*{failure}"):
        destination.info()
    assert len(web.requests) == 1


def test_a_cluster_that_failed_is_asked_again_by_the_next_invocation(
    source: OpenSearch, web: FakeWeb
) -> None:
    web.failure = requests.exceptions.ConnectionError("refused")
    with pytest.raises(SnapferryError):
        source.info()
    web.failure = None

    source.info()

    assert len(web.requests) == 2


@pytest.fixture
def bucket(make_job: MakeJob, aws: FakeAws) -> access.BucketPermissions:  # noqa: ARG001
    made = clients.bucket(
        make_job(
            bucket__region="eu-central-1",
            bucket__access={"role_arn": BUCKET_ROLE_ARN, "external_id": "company-migration"},
        ).bucket
    )
    assert made
    return made


def test_the_bucket_is_changed_as_its_access_role_in_its_region(
    bucket: access.BucketPermissions, aws: FakeAws
) -> None:
    assert bucket.s3.get_bucket_policy(Bucket=bucket.name)["Policy"] == '{"Statement": []}'

    assumption, request = aws.requests
    assert assumption.url.startswith("https://sts.eu-west-1.")
    asked = parse_qs(str(assumption.body))
    assert asked["RoleArn"] == [BUCKET_ROLE_ARN]
    assert asked["ExternalId"] == ["company-migration"]
    assert request.url.startswith("https://company-migration.s3.eu-central-1.amazonaws.com/")
    assert b"Credential=ASIA1/" in request.headers["Authorization"]


def test_credentials_for_the_bucket_are_renewed_before_they_expire(
    bucket: access.BucketPermissions, aws: FakeAws
) -> None:
    aws.valid_for = datetime.timedelta(minutes=5)
    for _ in range(2):
        bucket.s3.get_bucket_policy(Bucket=bucket.name)

    used = [r.headers["Authorization"] for r in aws.requests if ".s3." in r.url]
    assert [b"Credential=ASIA1/" in used[0], b"Credential=ASIA3/" in used[1]] == [True, True]


def test_a_bucket_without_an_access_role_is_not_the_migrations_to_change(make_job: MakeJob) -> None:
    assert clients.bucket(make_job().bucket) is None


def test_a_bucket_access_role_that_may_not_be_assumed_is_named_with_the_remedy(
    bucket: access.BucketPermissions, aws: FakeAws
) -> None:
    aws.refusal = "AccessDenied"

    with pytest.raises(AccessDenied, match=rf"{BUCKET_ROLE_ARN}.*What to do: .*external ID"):
        bucket.s3.get_bucket_policy(Bucket=bucket.name)


def test_what_s3_answers_becomes_the_projects_errors(
    bucket: access.BucketPermissions, aws: FakeAws
) -> None:
    aws.bucket_answer = (403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>")

    with pytest.raises(AccessDenied, match=r"answered GetBucketPolicy with 403.*allow s3:"):
        bucket.s3.get_bucket_policy(Bucket=bucket.name)


def test_a_bucket_that_cannot_be_reached_is_tried_again_later(
    bucket: access.BucketPermissions, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.s3.get_bucket_policy(Bucket=bucket.name)
    monkeypatch.setattr("time.sleep", lambda _: None)
    aws.reachable = False

    with pytest.raises(Unavailable, match=r"company-migration can't be reached.*route to S3"):
        bucket.s3.get_bucket_policy(Bucket=bucket.name)


EXECUTION = "arn:aws:states:eu-west-1:222222222222:execution:migrate:m-1"
CALLS: dict[str, Callable[[], Any]] = {
    "dynamodb": lambda: clients.fence("m-1").mark(),
    "s3": lambda: clients.records("m-1").read("jobs"),
    "stepfunctions": lambda: clients.step_functions().describe_execution(executionArn=EXECUTION),
    "secretsmanager": lambda: clients.secrets_of_users().describe_secret(SecretId="users/a"),
    "events": lambda: clients.bus().tell("RolledBack", "m-1"),
    "sns": lambda: clients.topic().tell("subject", "message"),
}


@pytest.mark.parametrize("service", CALLS)
def test_the_stacks_own_services_that_cannot_be_reached_are_tried_again_later(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    aws.reachable = False

    with pytest.raises(Unavailable, match=rf"^{service} can't be reached: .*route to {service}"):
        CALLS[service]()

    assert len(aws.requests) == 5


@pytest.mark.parametrize(
    ("service", "status", "code"),
    [
        ("dynamodb", 400, "ProvisionedThroughputExceededException"),
        ("dynamodb", 400, "RequestLimitExceeded"),
        ("dynamodb", 400, "ThrottlingException"),
        ("dynamodb", 500, "InternalServerError"),
        ("s3", 400, "RequestTimeout"),
        ("s3", 503, "SlowDown"),
        ("stepfunctions", 400, "ThrottlingException"),
        ("events", 400, "ThrottlingException"),
    ],
)
def test_the_stacks_own_services_that_have_too_much_to_do_are_tried_again_later(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch, service: str, status: int, code: str
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    aws.refusal, aws.refusal_status = code, status
    aws.bucket_answer = (status, f"<Error><Code>{code}</Code></Error>")

    with pytest.raises(Unavailable, match=rf"^{service} answered \w+ with {status}: {code}: "):
        CALLS[service]()


def test_what_the_stacks_own_services_refuse_stays_as_it_is(aws: FakeAws) -> None:
    aws.refusal = "ConditionalCheckFailedException"
    assert not clients.fence("m-1").never_open(EXECUTION)
    aws.refusal = "AccessDeniedException"
    with pytest.raises(ClientError, match="AccessDenied"):
        clients.fence("m-1").mark()
    aws.bucket_answer = (404, "<Error><Code>NoSuchKey</Code></Error>")
    assert clients.records("m-1").read("jobs", default=[]) == []


def test_a_secret_that_may_not_be_made_is_a_denial(aws: FakeAws) -> None:
    aws.refusal = "AccessDeniedException"
    with pytest.raises(AccessDenied, match=r"denies CreateSecret: refused. What to do: "):
        clients.secrets_of_users().create_secret(Name="snapferry/users/a", SecretString="b")
    aws.refusal = "ResourceNotFoundException"
    with pytest.raises(ClientError, match="ResourceNotFound"):
        CALLS["secretsmanager"]()


def test_records_are_where_the_environment_says() -> None:
    records = clients.records("m-1")

    assert (records.bucket, records.table.name, records.migration_id) == ("records", "table", "m-1")


def test_people_are_told_where_the_environment_says() -> None:
    topic = clients.topic()

    assert (topic.arn, topic.stack) == ("arn:aws:sns:eu-west-1:2:snapferry", "snapferry")
    assert topic.client.meta.service_model.service_name == "sns"
