"""Verifies the AWS Signature Version 4 of an incoming request, as AWS's own front ends do.

The signature is computed again by botocore, from the request as it came in and the secret of the
key it names, and compared. Only the `Authorization` header is looked at; presigned URLs are not
served.
"""

import datetime
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, urlencode

from aiohttp import web
from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from snapferry_sandbox.identities import Identity

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+"
    r"Credential=(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request\s*,\s*"
    r"SignedHeaders=(?P<headers>[^,\s]+)\s*,\s*"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)


class Problem(Enum):
    """What is wrong with a request's signature."""

    NOT_SIGNED = auto()
    MALFORMED = auto()
    WRONG_SCOPE = auto()
    HEADERS_NOT_SIGNED = auto()
    SKEWED = auto()
    UNKNOWN_KEY = auto()
    WRONG_TOKEN = auto()
    EXPIRED_TOKEN = auto()
    MISMATCH = auto()


class SignatureError(Exception):
    """The request is not signed as it should be; tells it as AWS would."""

    def __init__(self, problem: Problem, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.problem = problem
        self.status = status
        self.code = code
        self.message = message


_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your key and signing method."
)

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_S3_ERRORS = {
    Problem.NOT_SIGNED: (HTTPStatus.FORBIDDEN, "AccessDenied", "Access Denied"),
    Problem.MALFORMED: (
        HTTPStatus.BAD_REQUEST,
        "AuthorizationHeaderMalformed",
        "The authorization header is malformed.",
    ),
    Problem.WRONG_SCOPE: (
        HTTPStatus.BAD_REQUEST,
        "AuthorizationHeaderMalformed",
        "The authorization header is malformed; the credential's scope is wrong; "
        "expecting '{scope}'",
    ),
    Problem.HEADERS_NOT_SIGNED: (
        HTTPStatus.FORBIDDEN,
        "AccessDenied",
        "There were headers present in the request which were not signed",
    ),
    Problem.SKEWED: (
        HTTPStatus.FORBIDDEN,
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
    ),
    Problem.UNKNOWN_KEY: (
        HTTPStatus.FORBIDDEN,
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
    Problem.WRONG_TOKEN: (
        HTTPStatus.BAD_REQUEST,
        "InvalidToken",
        "The provided token is malformed or otherwise invalid.",
    ),
    Problem.EXPIRED_TOKEN: (
        HTTPStatus.BAD_REQUEST,
        "ExpiredToken",
        "The provided token has expired.",
    ),
    Problem.MISMATCH: (HTTPStatus.FORBIDDEN, "SignatureDoesNotMatch", _MISMATCH),
}

# https://docs.aws.amazon.com/opensearch-service/latest/APIReference/CommonErrors.html
_ERRORS = {
    Problem.NOT_SIGNED: (
        HTTPStatus.FORBIDDEN,
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    ),
    Problem.MALFORMED: (
        HTTPStatus.BAD_REQUEST,
        "IncompleteSignatureException",
        "Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' parameters "
        "and the 'X-Amz-Date' header.",
    ),
    Problem.WRONG_SCOPE: (
        HTTPStatus.FORBIDDEN,
        "InvalidSignatureException",
        "{scope_problem}",
    ),
    Problem.HEADERS_NOT_SIGNED: (
        HTTPStatus.FORBIDDEN,
        "InvalidSignatureException",
        "'Host' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    Problem.SKEWED: (
        HTTPStatus.FORBIDDEN,
        "InvalidSignatureException",
        "{time_problem}",
    ),
    Problem.UNKNOWN_KEY: (
        HTTPStatus.FORBIDDEN,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    ),
    Problem.WRONG_TOKEN: (
        HTTPStatus.FORBIDDEN,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    ),
    Problem.EXPIRED_TOKEN: (
        HTTPStatus.FORBIDDEN,
        "ExpiredTokenException",
        "The security token included in the request is expired",
    ),
    Problem.MISMATCH: (HTTPStatus.FORBIDDEN, "InvalidSignatureException", _MISMATCH),
}


@dataclass(frozen=True)
class Verified:
    """A request whose signature is right."""

    identity: Identity
    signature: str
    timestamp: str
    """When it was signed, as `20130524T000000Z`."""
    scope: str
    """What it was signed for, as `20130524/eu-west-1/s3/aws4_request`."""
    sign: Callable[[str], str]
    """Signs a string as the request was signed: what else the caller sends is checked by it."""


class _Verifier(SigV4Auth):
    """Signs the headers that the caller signed, no more and no fewer."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        headers: HTTPHeaders = request.context["signed_headers"]
        return headers


class _S3Verifier(S3SigV4Auth):
    headers_to_sign = _Verifier.headers_to_sign


async def verify(
    request: web.BaseRequest,
    payload_hash: str,
    *,
    service: str,
    region: str,
    find_identity: Callable[[str], Awaitable[Identity | None]],
    now: datetime.datetime,
) -> Verified:
    """Verify a request's signature, and say whose it is.

    Args:
        request: the request as it came in; its body isn't read.
        payload_hash: SHA-256 of the body, in hexadecimal. For S3 whatever the header
            `x-amz-content-sha256` says; that the body fits it is the caller's business.
        service: the service that must have been signed for, `s3` or `es`.
        region: the region that must have been signed for.
        find_identity: finds the identity behind an access key id.
        now: the present time.

    Raises:
        SignatureError: the signature is missing, wrong, or its time is over.
    """
    errors = _S3_ERRORS if service == "s3" else _ERRORS

    def error(problem: Problem, **facts: str) -> SignatureError:
        status, code, message = errors[problem]
        scope = f"{region}/{service}/aws4_request"
        return SignatureError(problem, status, code, message.format(scope=scope, **facts))

    header = request.headers.get("Authorization", "")
    if not header.startswith("AWS4-HMAC-SHA256"):
        raise error(Problem.NOT_SIGNED)
    authorization = _AUTHORIZATION.fullmatch(header.strip())
    signed_at = _signed_at(request.headers)
    if authorization is None or signed_at is None:
        raise error(Problem.MALFORMED)
    timestamp = signed_at.strftime(SIGV4_TIMESTAMP)
    if (authorization["region"], authorization["service"]) != (region, service):
        raise error(
            Problem.WRONG_SCOPE, scope_problem=_scope_problem(authorization, region, service)
        )
    if authorization["date"] != timestamp[:8]:
        raise error(Problem.MALFORMED)

    signed_names = authorization["headers"].split(";")
    must_be_signed = {"host"}
    if service == "s3":
        must_be_signed |= {name.lower() for name in request.headers if _is_amz(name)}
    if not must_be_signed <= set(signed_names):
        raise error(Problem.HEADERS_NOT_SIGNED)

    allowed_skew = datetime.timedelta(minutes=15 if service == "s3" else 5)
    if abs(now - signed_at) > allowed_skew:
        raise error(Problem.SKEWED, time_problem=_time_problem(signed_at, now, allowed_skew))

    identity = await find_identity(authorization["key"])
    if identity is None:
        raise error(Problem.UNKNOWN_KEY)
    token = request.headers.get("X-Amz-Security-Token", "")
    if not hmac.compare_digest(token.encode(), (identity.session_token or "").encode()):
        raise error(Problem.WRONG_TOKEN)
    if identity.expired(now):
        raise error(Problem.EXPIRED_TOKEN)

    path, _, query = request.raw_path.partition("?")
    query = urlencode(parse_qsl(query, keep_blank_values=True), quote_via=quote, safe="~")
    aws_request = AWSRequest(
        method=request.method,
        url=f"http://{request.host}{path}?{query}",
        headers={"X-Amz-Content-SHA256": payload_hash},
    )
    aws_request.context["timestamp"] = timestamp
    signed_headers = HTTPHeaders()
    for name in signed_names:
        for value in request.headers.getall(name, [""]):
            signed_headers.add_header(name, value)
    aws_request.context["signed_headers"] = signed_headers
    credentials = Credentials(identity.access_key_id, identity.secret_access_key)
    signer = (_S3Verifier if service == "s3" else _Verifier)(credentials, service, region)

    def sign(string: str) -> str:
        return signer.signature(string, aws_request)

    signature = sign(signer.string_to_sign(aws_request, signer.canonical_request(aws_request)))
    if not hmac.compare_digest(signature, authorization["signature"]):
        raise error(Problem.MISMATCH)
    return Verified(identity, signature, timestamp, signer.credential_scope(aws_request), sign)


def _scope_problem(authorization: re.Match[str], region: str, service: str) -> str:
    # AWS leaves a space after each of the sentences.
    problem = ""
    if authorization["region"] != region:
        problem += (
            f"Credential should be scoped to a valid region, not '{authorization['region']}'. "
        )
    if authorization["service"] != service:
        problem += f"Credential should be scoped to correct service: '{service}'. "
    return problem


def _time_problem(
    signed_at: datetime.datetime, now: datetime.datetime, allowed: datetime.timedelta
) -> str:
    minutes = f"{allowed // datetime.timedelta(minutes=1)} min."
    expired = signed_at < now
    limit = now - allowed if expired else now + allowed
    times = [time.strftime(SIGV4_TIMESTAMP) for time in (signed_at, limit, now)]
    if expired:
        return "Signature expired: {} is now earlier than {} ({} - {})".format(*times, minutes)
    return "Signature not yet current: {} is still later than {} ({} + {})".format(*times, minutes)


def _is_amz(header: str) -> bool:
    return header.lower().startswith("x-amz-")


def _signed_at(headers: Mapping[str, str]) -> datetime.datetime | None:
    try:
        return datetime.datetime.strptime(headers["X-Amz-Date"], SIGV4_TIMESTAMP).replace(
            tzinfo=datetime.UTC
        )
    except (KeyError, ValueError):
        return None
