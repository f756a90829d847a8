import asyncio
import datetime
import hashlib
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from snapferry_sandbox.identities import Identity
from snapferry_sandbox.sigv4 import Problem, SignatureError, Verified, verify

REGION = "eu-west-1"
NOW = datetime.datetime.now(datetime.UTC)
EMPTY = hashlib.sha256(b"").hexdigest()
ROLE_SESSION = Identity(
    access_key_id="ASIAEXAMPLE",
    secret_access_key="secret",
    session_token="token",
    expires_at=NOW + datetime.timedelta(hours=1),
    account="111111111111",
    arn="arn:aws:sts::111111111111:assumed-role/Reader/session",
)
USER = Identity(
    access_key_id="AKIAEXAMPLE",
    secret_access_key="secret",
    account="222222222222",
    arn="arn:aws:iam::222222222222:user/operator",
)


def signed_headers(
    identity: Identity,
    *,
    service: str = "es",
    region: str = REGION,
    method: str = "GET",
    path: str = "/_cat/indices?v=true&h=index%2Cuuid",
    body: bytes = b"",
) -> dict[str, str]:
    request = AWSRequest(
        method=method, url=f"http://localhost:9200{path}", headers={"Host": "localhost:9200"}
    )
    request.data = body
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(
        Credentials(identity.access_key_id, identity.secret_access_key, identity.session_token),
        service,
        region,
    ).add_auth(request)
    return dict(request.headers.items())


def verified(
    headers: dict[str, str],
    *,
    known: Identity = USER,
    service: str = "es",
    method: str = "GET",
    path: str = "/_cat/indices?v=true&h=index%2Cuuid",
    payload_hash: str = EMPTY,
    now: datetime.datetime | None = None,
) -> Verified:
    async def find(access_key_id: str) -> Identity | None:
        return known if known.access_key_id == access_key_id else None

    return asyncio.run(
        verify(
            make_mocked_request(method, path, headers=headers),
            payload_hash,
            service=service,
            region=REGION,
            find_identity=find,
            now=now or datetime.datetime.now(datetime.UTC),
        )
    )


def problem(*arguments: Any, **keywords: Any) -> Problem:
    with pytest.raises(SignatureError) as raised:
        verified(*arguments, **keywords)
    return raised.value.problem


@pytest.mark.parametrize("identity", [USER, ROLE_SESSION])
@pytest.mark.parametrize("service", ["es", "s3"])
def test_right_signature_gives_its_identity(identity: Identity, service: str) -> None:
    headers = signed_headers(identity, service=service)
    assert verified(headers, known=identity, service=service).identity is identity


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("es", "/_snapshot/repository/%2A?wait_for_completion=false"),
        ("es", "/index/_doc/a%2Fb?routing=x%20y&routing=a"),
        ("s3", "/bucket/a//b/../c%20d%2B"),
        ("s3", "/bucket?list-type=2&prefix=a%2Fb&delimiter=%2F&encoding-type"),
    ],
)
def test_path_and_query_are_canonical(service: str, path: str) -> None:
    headers = signed_headers(USER, service=service, path=path)
    assert verified(headers, service=service, path=path).identity is USER


def test_body_is_signed() -> None:
    body = b'{"type": "s3"}'
    headers = signed_headers(USER, method="PUT", body=body)
    right = hashlib.sha256(body).hexdigest()
    assert verified(headers, method="PUT", payload_hash=right)
    assert problem(headers, method="PUT", payload_hash=EMPTY) is Problem.MISMATCH


def test_body_hash_in_a_header_does_not_stand_for_the_body() -> None:
    headers = signed_headers(USER, service="s3", method="PUT", body=b"signed")
    sent = hashlib.sha256(b"sent").hexdigest()
    assert problem(headers, service="s3", method="PUT", payload_hash=sent) is Problem.MISMATCH


@pytest.mark.parametrize(
    "changed",
    [{"method": "DELETE"}, {"path": "/_cat/shards"}, {"path": "/_cat/indices"}],
    ids=str,
)
def test_changed_request_does_not_match(changed: dict[str, str]) -> None:
    assert problem(signed_headers(USER), **changed) is Problem.MISMATCH


def test_wrong_secret_does_not_match() -> None:
    forged = USER.model_copy(update={"secret_access_key": "another"})
    assert problem(signed_headers(forged)) is Problem.MISMATCH


def test_unsigned_request() -> None:
    assert problem({"Host": "localhost:9200"}) is Problem.NOT_SIGNED
    assert problem({"Authorization": "Basic YTpi"}) is Problem.NOT_SIGNED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE"),
        ("X-Amz-Date", "yesterday"),
        ("X-Amz-Date", "20130524T000000Z"),
    ],
)
def test_malformed_header(name: str, value: str) -> None:
    assert problem(signed_headers(USER) | {name: value}) is Problem.MALFORMED


@pytest.mark.parametrize("scope", [{"region": "us-east-1"}, {"service": "s3"}], ids=str)
def test_wrong_scope(scope: dict[str, str]) -> None:
    assert problem(signed_headers(USER, **scope)) is Problem.WRONG_SCOPE  # type: ignore[arg-type]


@pytest.mark.parametrize(("service", "allowed_minutes"), [("es", 5), ("s3", 15)])
@pytest.mark.parametrize("sign", [1, -1])
def test_clock_skew(service: str, allowed_minutes: int, sign: int) -> None:
    headers = signed_headers(USER, service=service)
    signed_at = datetime.datetime.now(datetime.UTC)
    allowed = datetime.timedelta(minutes=allowed_minutes) - datetime.timedelta(seconds=30)
    assert verified(headers, service=service, now=signed_at + sign * allowed)
    late = signed_at + sign * (allowed + datetime.timedelta(minutes=1))
    assert problem(headers, service=service, now=late) is Problem.SKEWED


def test_unknown_key() -> None:
    assert problem(signed_headers(ROLE_SESSION), known=USER) is Problem.UNKNOWN_KEY


def test_token_must_be_the_keys_own() -> None:
    without = ROLE_SESSION.model_copy(update={"session_token": None})
    another = ROLE_SESSION.model_copy(update={"session_token": "another"})
    superfluous = USER.model_copy(update={"session_token": "token"})
    assert problem(signed_headers(without), known=ROLE_SESSION) is Problem.WRONG_TOKEN
    assert problem(signed_headers(another), known=ROLE_SESSION) is Problem.WRONG_TOKEN
    assert problem(signed_headers(superfluous), known=USER) is Problem.WRONG_TOKEN


def test_expired_token() -> None:
    expired = ROLE_SESSION.model_copy(update={"expires_at": NOW})
    assert problem(signed_headers(expired), known=expired) is Problem.EXPIRED_TOKEN


def test_s3_wants_every_amazon_header_signed() -> None:
    headers = signed_headers(USER, service="s3") | {"x-amz-acl": "bucket-owner-full-control"}
    assert problem(headers, service="s3") is Problem.HEADERS_NOT_SIGNED


def test_errors_are_named_as_the_service_names_them() -> None:
    forged = USER.model_copy(update={"secret_access_key": "another"})
    with pytest.raises(SignatureError, match=r"^InvalidSignatureException: The request signature"):
        verified(signed_headers(forged))
    with pytest.raises(SignatureError, match=r"^SignatureDoesNotMatch: The request signature"):
        verified(signed_headers(forged, service="s3"), service="s3")


def test_session_belongs_to_its_role() -> None:
    assert ROLE_SESSION.principal_arn == "arn:aws:iam::111111111111:role/Reader"
    assert USER.principal_arn == USER.arn
