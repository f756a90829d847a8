"""The domain's HTTPS front: verifies who calls, decides, and passes on to the node."""

import asyncio
import datetime
import hashlib
import io
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from snapferry_sandbox import serving
from snapferry_sandbox.amazon_domain.callers import Caller, identify, not_authorized
from snapferry_sandbox.amazon_domain.configuration import Configuration
from snapferry_sandbox.amazon_domain.refusals import (
    MAXIMUM_BODY_BYTES,
    RefusedError,
    check_operation,
    joined,
    too_large,
)
from snapferry_sandbox.amazon_domain.repositories import check_registration, for_node
from snapferry_sandbox.fronts import end_to_end, pass_on
from snapferry_sandbox.iam_policies import Roles
from snapferry_sandbox.identities import Identities, Identity
from snapferry_sandbox.sigv4 import Problem, SignatureError, verify

# Each holds its whole body, which has to be there before its signature can be verified.
_CONCURRENT_REQUESTS = 32
_CONNECT_SECONDS = 10
# The domain's own business, and nothing by which a caller could say who they are.
_FRONT_HEADERS = frozenset({"authorization", "content-length", "expect", "forwarded", "host"})
_FRONT_HEADER_PREFIXES = ("x-amz-", "x-forwarded-")

logger = logging.getLogger(__name__)


class _Domain:
    """Answers every request."""

    def __init__(
        self,
        configuration: Configuration,
        roles: Roles,
        node: aiohttp.ClientSession,
        neighbours: aiohttp.ClientSession,
    ) -> None:
        self._configuration = configuration
        self._roles = roles
        self._node = node
        self._neighbours = neighbours
        self._identities = Identities(
            configuration.identities, configuration.aws_endpoint, neighbours
        )
        self._places = asyncio.Semaphore(_CONCURRENT_REQUESTS)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        async with self._places:
            try:
                body = await self._read(request)
                path = [unquote(part) for part in request.rel_url.raw_path.split("/") if part]
                caller = await self._authorize(request, path, body)
                check_operation(request.method, path, body)
                if request.method in {"PUT", "POST"} and _is_repository(path):
                    body = await self._register(path, body, caller)
            except RefusedError as refusal:
                logger.info("%s %s: %s", request.method, request.raw_path, refusal)
                return web.json_response(refusal.body, status=refusal.status)
            return await self._forward(request, body, caller)

    async def _read(self, request: web.Request) -> bytes:
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise too_large() from error

    async def _authorize(
        self, request: web.Request, path: Sequence[str], body: bytes
    ) -> Caller | None:
        """The caller that IAM knows; None for an internal user, whom only the node knows."""
        if self._configuration.internal_users and _has_password(request):
            return None
        action = f"es:ESHttp{request.method.capitalize()}"
        identity = await self._verify(request, body, action)
        if identity.account != self._configuration.account:
            raise _outside_account(identity.arn, action)
        caller = await asyncio.to_thread(identify, identity, self._roles)
        caller.require(
            action,
            self._configuration.domain_arn + joined(path),
            {
                "aws:PrincipalAccount": identity.account,
                "aws:PrincipalArn": caller.principal,
                "aws:RequestedRegion": self._configuration.region,
                "aws:SecureTransport": "true",
            },
        )
        return caller

    async def _verify(self, request: web.Request, body: bytes, action: str) -> Identity:
        try:
            verified = await verify(
                request,
                hashlib.sha256(body).hexdigest(),
                service="es",
                region=self._configuration.region,
                find_identity=self._identities.find,
                now=datetime.datetime.now(datetime.UTC),
            )
        except SignatureError as error:
            if error.problem is Problem.NOT_SIGNED:
                raise _outside_account("anonymous", action) from error
            raise RefusedError(error.status, {"message": error.message}) from error
        return verified.identity

    async def _register(self, path: Sequence[str], body: bytes, caller: Caller | None) -> bytes:
        if caller is None:
            # An internal user is nobody to IAM, so there is nobody who passes the role.
            raise RefusedError(
                403, {"Message": "User: anonymous is not authorized to perform: iam:PassRole"}
            )
        definition = await asyncio.to_thread(
            check_registration, path, body, caller, self._roles, self._configuration
        )
        settings = definition["settings"]
        async with self._neighbours.put(
            f"{self._configuration.bridge_url}/_bridge/passed-roles",
            headers={"Authorization": f"Bearer {self._configuration.bridge_token}"},
            json={
                "access_key_id": self._configuration.node_access_key_id,
                "bucket": settings.get("bucket") or "",
                "base_path": settings.get("base_path") or "",
                "role_arn": settings["role_arn"],
            },
            raise_for_status=True,
        ):
            return for_node(definition)

    async def _forward(
        self, request: web.Request, body: bytes, caller: Caller | None
    ) -> web.StreamResponse:
        url = URL(self._behind(request.rel_url.raw_path_qs), encoded=True)
        try:
            answer = await self._node.request(
                request.method,
                url,
                headers=self._headers_for_node(request, caller),
                data=io.BytesIO(body) if body else None,
                allow_redirects=False,
            )
        except aiohttp.ClientConnectionError as error:
            logger.warning("The node can't be reached: %s", error)
            return web.json_response({"message": "Service Unavailable"}, status=503)
        async with answer:
            return await pass_on(request, answer)

    def _behind(self, path: str) -> str:
        """The URL of what a path of the domain leads to: the node, or Dashboards."""
        configuration = self._configuration
        dashboards_path = f"{configuration.dashboards_path}/"
        if configuration.dashboards_url and path.startswith(dashboards_path):
            return f"{configuration.dashboards_url}/{path.removeprefix(dashboards_path)}"
        return configuration.node_url + path

    def _headers_for_node(self, request: web.Request, caller: Caller | None) -> CIMultiDict[str]:
        identity = self._configuration.node_identity_headers
        headers = CIMultiDict(
            (name, value)
            for name, value in end_to_end(request.headers).items()
            if name.lower() not in _FRONT_HEADERS
            and not name.lower().startswith(_FRONT_HEADER_PREFIXES)
        )
        headers["X-Forwarded-For"] = request.remote or ""
        if caller is None:
            headers["Authorization"] = request.headers["Authorization"]
        else:
            headers[identity.user] = headers[identity.roles] = caller.principal
        return headers


def _has_password(request: web.Request) -> bool:
    return request.headers.get("Authorization", "").startswith("Basic ")


def _is_repository(path: Sequence[str]) -> bool:
    return len(path) == 2 and path[0] == "_snapshot"


def _outside_account(arn: str, action: str) -> RefusedError:
    # The domain has no policy of its own, so only identities of its account can have rights.
    return not_authorized(
        arn, action, f"because no resource-based policy allows the {action} action"
    )


def application(configuration: Configuration, roles: Roles) -> web.Application:
    """Return the domain as an application; serve it with `auto_decompress=False`.

    Args:
        configuration: of the domain.
        roles: of the domain's account.
    """

    @asynccontextmanager
    async def opened() -> AsyncIterator[_Domain]:
        trust = ssl.create_default_context(cafile=configuration.node_ca_file)
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trust, limit=_CONCURRENT_REQUESTS),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                auto_decompress=False,
            ) as node,
            aiohttp.ClientSession() as neighbours,
        ):
            yield _Domain(configuration, roles, node, neighbours)

    return serving.application(opened, MAXIMUM_BODY_BYTES)
