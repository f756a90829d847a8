"""The bridge's process: S3 towards the callers, a client of versitygw towards the objects."""

import asyncio
import contextlib
import datetime
import hmac
import json
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from http import HTTPStatus
from pathlib import Path
from xml.etree import ElementTree

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from snapferry_sandbox import processes, serving
from snapferry_sandbox.iam_policies import Policy, Role, Roles
from snapferry_sandbox.identities import Identities, Identity
from snapferry_sandbox.s3 import acls, policies
from snapferry_sandbox.s3.bodies import Body, Outgoing
from snapferry_sandbox.s3.buckets import ENFORCED, Bucket, Buckets
from snapferry_sandbox.s3.callers import Caller, role_session, user
from snapferry_sandbox.s3.configuration import Configuration
from snapferry_sandbox.s3.errors import (
    S3Error,
    access_denied,
    acl_not_supported,
    malformed_policy,
)
from snapferry_sandbox.s3.gateway_client import GatewayClient
from snapferry_sandbox.s3.operations import Operation, operation
from snapferry_sandbox.s3.passed_roles import PassedRole, PassedRoles
from snapferry_sandbox.sigv4 import Problem, SignatureError, Verified, verify

_READ_BUFFER_BYTES = 1024 * 1024

# Object metadata by which the bridge knows an object that its bucket's owner may not read: it
# belongs to the account that wrote it.
_FOREIGN_OWNER = "x-amz-meta-snapferry-foreign-owner"

_FULL_CONTROL = "bucket-owner-full-control"

_NOT_FOR_THE_GATEWAY = {
    # between two neighbours only
    "connection",
    "expect",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
    # made anew for the gateway
    "authorization",
    "content-encoding",
    "content-length",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-security-token",
    "x-amz-trailer",
    # decided here
    "x-amz-expected-bucket-owner",
    _FOREIGN_OWNER,
}
_NOT_FOR_THE_CALLER = {"connection", "keep-alive", "transfer-encoding", _FOREIGN_OWNER}

# Sums of a body that is not handed on as it came; the signature over its hash was checked.
_BODY_SUMS = ("content-md5", "x-amz-checksum-", "x-amz-sdk-checksum-algorithm")

logger = logging.getLogger(__name__)


class Bridge:
    """Answers S3 requests.

    Args:
        configuration: the bridge and what is around it.
        roles: of each AWS account, by its number.
        session: calls the gateway and LocalStack.
    """

    def __init__(
        self,
        configuration: Configuration,
        roles: Mapping[str, Roles],
        session: aiohttp.ClientSession,
    ) -> None:
        self._configuration = configuration
        self._canonical_ids = {
            account.number: account.canonical_id for account in configuration.accounts
        }
        self._roles = roles
        # One at a time, so that those who wait find the answer remembered.
        self._asking_iam = asyncio.Lock()
        self._identities = Identities(
            (*configuration.identities, configuration.service_identity),
            configuration.aws_endpoint,
            session,
        )
        self._gateway = GatewayClient(configuration, session)
        self._buckets = Buckets(self._gateway, self._canonical_ids)
        self._passed_roles = PassedRoles()

    async def prepare(self) -> None:
        """Make the AWS accounts known to the gateway."""
        for canonical_id in self._canonical_ids.values():
            await self._gateway.ensure_account(canonical_id)

    async def note_passed_role(self, request: web.Request) -> web.Response:
        """Take note of a role that was passed to the OpenSearch service."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(token.encode(), self._configuration.control_token.encode()):
            raise web.HTTPForbidden
        self._passed_roles.add(PassedRole.model_validate_json(await request.read()))
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request, with S3's own errors where it is refused."""
        try:
            return await self._answer(request)
        except S3Error as error:
            logger.info("%s %s: %s", request.method, request.path, error)
            return error.response(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        verified = await self._verify(request)
        wanted = operation(request)
        body = Body(request, verified)
        document = await body.read() if wanted.changes_bucket or wanted.deletes_many else None
        keys = _deleted_keys(document) if document and wanted.deletes_many else [wanted.key]
        caller = await self._caller(verified.identity, wanted, keys)
        bucket = await self._buckets.get(wanted.bucket) if wanted.bucket else None
        expected_owner = request.headers.get("x-amz-expected-bucket-owner")
        if bucket and expected_owner not in (None, bucket.owner):
            raise access_denied()
        caller.authorize(wanted, keys, bucket)
        account = caller.gateway_account(bucket, self._canonical_ids[caller.account])
        headers: Mapping[str, str] = _for_gateway(request.headers)

        if document is not None and wanted.changes_bucket:
            if bucket:
                headers, document = await self._translate(wanted, headers, document, bucket)
            async with (
                self._buckets.changing(wanted.bucket),
                self._forward(request, account, headers, Outgoing(document), body) as answer,
            ):
                return await _pass_on(request, answer)

        if bucket and wanted.writes_object:
            headers = {**headers, **await self._ownership(request.headers, caller, bucket)}
        outgoing = body.outgoing(upload=wanted.uploads) if document is None else Outgoing(document)
        async with self._forward(request, account, headers, outgoing, body) as answer:
            if bucket and wanted.reads_object:
                _check_read(answer.headers, caller, bucket)
            if wanted.action == "s3:GetBucketPolicy" and answer.ok:
                policy = policies.from_gateway(json.loads(await answer.read()), self._canonical_ids)
                return web.Response(body=policies.document(policy), content_type="application/json")
            return await _pass_on(request, answer)

    async def _verify(self, request: web.Request) -> Verified:
        try:
            payload_hash = request.headers["x-amz-content-sha256"]
        except KeyError:
            if "Authorization" not in request.headers:
                raise access_denied() from None
            raise S3Error(
                HTTPStatus.BAD_REQUEST,
                "InvalidRequest",
                "Missing required header for this request: x-amz-content-sha256",
            ) from None
        region = self._configuration.region
        try:
            return await verify(
                request,
                payload_hash,
                service="s3",
                region=region,
                find_identity=self._identities.find,
                now=datetime.datetime.now(datetime.UTC),
            )
        except SignatureError as error:
            # AWS's clients go to the region that the error names.
            details = {"Region": region} if error.problem is Problem.WRONG_SCOPE else {}
            raise S3Error(error.status, error.code, error.message, **details) from error
        except aiohttp.ClientError as error:
            raise _unavailable() from error

    async def _caller(self, identity: Identity, wanted: Operation, keys: Collection[str]) -> Caller:
        prefix = wanted.context.get("s3:prefix", "")
        role_arn = self._passed_roles.find(
            identity.access_key_id, wanted.bucket, keys if any(keys) else [prefix]
        )
        if role_arn is None and identity == self._configuration.service_identity:
            raise access_denied("The service was passed no role for this repository.")
        if role_arn is not None:
            account, name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
            arn = f"arn:aws:sts::{account}:assumed-role/{name}/es"
            return role_session(arn, await self._role(role_arn))
        if identity.is_role_session:
            return role_session(identity.arn, await self._role(identity.principal_arn))
        return user(identity)

    async def _role(self, arn: str) -> Role | None:
        _, _, _, _, account, resource = arn.split(":", 5)
        if account not in self._roles:
            return None
        async with self._asking_iam:
            return await asyncio.to_thread(self._roles[account].get, resource.rpartition("/")[2])

    async def _translate(
        self, wanted: Operation, headers: Mapping[str, str], document: bytes, bucket: Bucket
    ) -> tuple[Mapping[str, str], bytes]:
        """Return what the gateway takes for a change of a bucket's permissions."""
        if wanted.action == "s3:PutBucketPolicy":
            policy = policies.parse(document)
            translated = policies.to_gateway(policy, self._canonical_ids)
            await self._check_roles(policy)
            for account in policies.named_accounts(translated):
                await self._gateway.ensure_account(account)
            return _without_sums(headers), policies.document(translated)
        if wanted.action == "s3:PutBucketAcl":
            acl = acls.gateway_headers(
                headers, document, self._canonical_ids.values(), self._canonical_ids[bucket.owner]
            )
            others = {name: value for name, value in headers.items() if name not in acls.HEADERS}
            return _without_sums(others) | acl, b""
        enforces = wanted.action == "s3:PutBucketOwnershipControls" and ENFORCED in str(document)
        if enforces and bucket.has_foreign_grants:
            raise S3Error(
                HTTPStatus.BAD_REQUEST,
                "InvalidBucketAclWithObjectOwnership",
                "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
            )
        return headers, document

    async def _check_roles(self, policy: Policy) -> None:
        for arn in policies.role_arns(policy):
            role = await self._role(arn)
            if role is None or role.arn != arn:
                raise malformed_policy("Invalid principal in policy")

    async def _ownership(
        self, headers: Mapping[str, str], caller: Caller, bucket: Bucket
    ) -> dict[str, str]:
        """Check what a request that writes an object says of its ownership.

        Returns:
            Headers for the gateway, which note the owner if the bucket's owner can't read.

        Raises:
            S3Error: the bucket doesn't take the ACL, or the object to copy may not be read.
        """
        acl = headers.get("x-amz-acl")
        if source := headers.get("x-amz-copy-source"):
            async with self._gateway.request("HEAD", f"/{source.removeprefix('/')}") as answer:
                _check_read(answer.headers, caller, bucket)
        if bucket.ownership == ENFORCED:
            granted = any(name in headers for name in acls.HEADERS if name != "x-amz-acl")
            if granted or acl not in (None, _FULL_CONTROL):
                raise acl_not_supported()
            return {}
        if caller.account == bucket.owner or acl == _FULL_CONTROL:
            return {}
        return {_FOREIGN_OWNER: caller.account}

    @contextlib.asynccontextmanager
    async def _forward(
        self,
        request: web.Request,
        account: str,
        headers: Mapping[str, str],
        outgoing: Outgoing,
        body: Body,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            answer = await self._gateway.request(
                request.method,
                request.raw_path,
                account=account,
                headers={**headers, **outgoing.headers},
                payload_hash=outgoing.payload_hash,
                body=outgoing.content,
            )
        except aiohttp.ClientError as error:
            raise body.error or _unavailable() from error
        async with answer:
            yield answer


async def _pass_on(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(
        status=answer.status,
        reason=answer.reason,
        headers=CIMultiDict(
            (name, value)
            for name, value in answer.headers.items()
            if name.lower() not in _NOT_FOR_THE_CALLER
        ),
    )
    await response.prepare(request)
    async for piece in answer.content.iter_any():
        await response.write(piece)
    await response.write_eof()
    return response


def _for_gateway(headers: Mapping[str, str]) -> dict[str, str]:
    forwarded = {
        name.lower(): value
        for name, value in headers.items()
        if name.lower() not in _NOT_FOR_THE_GATEWAY
    }
    encodings = [each.strip() for each in headers.get("Content-Encoding", "").split(",")]
    kept = [each for each in encodings if each not in ("", "aws-chunked")]
    return forwarded | ({"content-encoding": ",".join(kept)} if kept else {})


def _without_sums(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if not name.startswith(_BODY_SUMS)}


def _check_read(headers: Mapping[str, str], caller: Caller, bucket: Bucket) -> None:
    """Check that an object of another account is not read, unless the bucket owns all."""
    owner = headers.get(_FOREIGN_OWNER, caller.account)
    if owner != caller.account and bucket.ownership != ENFORCED:
        raise access_denied()


def _deleted_keys(document: bytes) -> list[str]:
    try:
        delete = ElementTree.fromstring(document)  # noqa: S314
    except ElementTree.ParseError as error:
        raise S3Error(
            HTTPStatus.BAD_REQUEST, "MalformedXML", "The XML you provided was not well-formed"
        ) from error
    return [key.text or "" for key in delete.iterfind("{*}Object/{*}Key")]


def _unavailable() -> S3Error:
    return S3Error(
        HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", "Service is unable to handle request."
    )


_BRIDGE = web.AppKey("bridge", Bridge)


def application(configuration: Configuration, roles: Mapping[str, Roles]) -> web.Application:
    """Return the bridge as a web application.

    Args:
        configuration: the bridge and what is around it.
        roles: of each AWS account, by its number.
    """
    app = web.Application()

    async def run(app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(limit=0),
            read_bufsize=_READ_BUFFER_BYTES,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            timeout=aiohttp.ClientTimeout(),
        ) as session:
            app[_BRIDGE] = Bridge(configuration, roles, session)
            await app[_BRIDGE].prepare()
            yield

    async def note_passed_role(request: web.Request) -> web.Response:
        return await app[_BRIDGE].note_passed_role(request)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await app[_BRIDGE].answer(request)

    app.cleanup_ctx.append(run)
    app.router.add_put("/_bridge/passed-roles", note_passed_role)
    app.router.add_route("*", "/{path:.*}", answer)
    return app


def start(
    configuration: Configuration, *, configuration_file: Path, log_file: Path
) -> processes.Process:
    """Start the bridge in a process of its own.

    Args:
        configuration: the bridge and what is around it.
        configuration_file: takes the configuration, secrets included.
        log_file: takes its output.

    Raises:
        SandboxError: it can't be started.
    """
    return processes.start_server(
        "S3 bridge",
        __name__,
        configuration,
        configuration.port,
        file=configuration_file,
        log_file=log_file,
    )


def main() -> None:
    """Serve until the process is ended."""
    configuration = serving.configuration("snapferry_sandbox.s3.bridge", Configuration)
    roles = {
        account.number: Roles(configuration.aws_endpoint, account.number, configuration.region)
        for account in configuration.accounts
    }
    serving.serve(application(configuration, roles), configuration.port)


if __name__ == "__main__":
    main()
