"""Dashboards as clients see it: asks the cluster who calls, and finds their tenant.

Sources: https://docs.opensearch.org/latest/security/multi-tenancy/tenant-index/ and, for which
tenant is taken, the security plugin of Dashboards itself.
"""

import logging
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from snapferry_sandbox import serving
from snapferry_sandbox.dashboards import Configuration
from snapferry_sandbox.dashboards.saved_objects import API, SavedObjects

_MAXIMUM_BODY_BYTES = 25 * 1024 * 1024
_ACCOUNT_APIS = ("/_plugins/_security/api/account", "/_opendistro/_security/api/account")

logger = logging.getLogger(__name__)


class _Dashboards:
    """Answers every request."""

    def __init__(self, configuration: Configuration, clusters: aiohttp.ClientSession) -> None:
        self._configuration = configuration
        self._clusters = clusters
        identity = configuration.identity_headers
        self._passed_on = ("Authorization", "X-Forwarded-For", identity.user, identity.roles)
        self._saved: defaultdict[str, SavedObjects] = defaultdict(SavedObjects)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        cluster, _, path = request.rel_url.raw_path.removeprefix("/").partition("/")
        if cluster not in self._configuration.clusters or not f"/{path}".startswith(API):
            return _error(404, "Not Found", "Not Found")
        account = await self._account(request, self._configuration.clusters[cluster])
        if account is None:
            return _error(401, "Unauthorized", "Authentication failed")
        tenant = _tenant(request, account)
        if request.method != "GET" and not account["tenants"].get(tenant, True):
            return _error(403, "Forbidden", f"no permission to write in the tenant {tenant}")
        status, content = self._saved[cluster].answer(
            tenant,
            request.method,
            f"/{path}".removeprefix(API),
            {name: request.query.getall(name) for name in request.query},
            {name.lower(): value for name, value in request.headers.items()},
            body,
        )
        return web.json_response(content, status=status)

    async def _account(self, request: web.Request, url: str) -> Mapping[str, Any] | None:
        """What the cluster says of who calls; None where it doesn't let them in."""
        headers = {
            name: request.headers[name] for name in self._passed_on if name in request.headers
        }
        for api in _ACCOUNT_APIS:
            async with self._clusters.get(url + api, headers=headers) as answer:
                if answer.ok:
                    account: dict[str, Any] = await answer.json()
                    return account
                logger.info("%s: %s", api, answer.status)
        return None


def _tenant(request: web.Request, account: Mapping[str, Any]) -> str:
    """The tenant that a request is about: not the one that it names, if that isn't open."""
    wanted = request.headers.get("securitytenant", "private")
    if wanted in account["tenants"]:
        return wanted
    return f"private of {account['user_name']}" if wanted == "private" else "global"


def _error(status: int, error: str, message: str) -> web.Response:
    content = {"statusCode": status, "error": error, "message": message}
    return web.json_response(content, status=status)


def application(configuration: Configuration) -> web.Application:
    """Return the stand-in as an application."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[_Dashboards]:
        trust = ssl.create_default_context(cafile=configuration.ca_file)
        connector = aiohttp.TCPConnector(ssl=trust)
        async with aiohttp.ClientSession(connector=connector) as clusters:
            yield _Dashboards(configuration, clusters)

    return serving.application(opened, _MAXIMUM_BODY_BYTES)
