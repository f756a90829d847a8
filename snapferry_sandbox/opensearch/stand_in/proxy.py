"""The node as clients see it: authenticates, authorizes, and passes on."""

import io
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from yarl import URL

from snapferry_sandbox import serving
from snapferry_sandbox.fronts import end_to_end, pass_on
from snapferry_sandbox.opensearch.stand_in import Configuration
from snapferry_sandbox.opensearch.stand_in.index_management import IndexManagement
from snapferry_sandbox.opensearch.stand_in.repositories import Repositories
from snapferry_sandbox.opensearch.stand_in.security import DeniedError, Security

# What a node takes by default.
_MAXIMUM_BODY_BYTES = 100 * 1024 * 1024

logger = logging.getLogger(__name__)


class _StandIn:
    """Answers every request."""

    def __init__(self, configuration: Configuration, node: aiohttp.ClientSession) -> None:
        self._node_url = configuration.node_url
        self._node = node
        self._security = Security(configuration)
        self._index_management = IndexManagement(configuration.security_api)
        self._repositories = Repositories(configuration.objects_folder)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        path = unquote(request.rel_url.raw_path)
        try:
            caller = self._security.authenticate(request.headers)
            if self._security.is_api(path):
                status, content = self._security.administer(caller, request.method, path, body)
                return web.json_response(content, status=status)
            self._security.authorize(caller, request.method, path)
        except DeniedError as denial:
            logger.info("%s %s: %s", request.method, request.raw_path, denial)
            if isinstance(denial.body, str):
                return web.Response(text=denial.body, status=denial.status)
            return web.json_response(denial.body, status=denial.status)
        if self._index_management.is_api(path):
            return await self._manage(request, path, body)
        match path.strip("/").split("/"):
            case ["_snapshot", name] if request.method in ("PUT", "POST"):
                return await self._forward(request, self._repositories.register(name, body))
            case ["_snapshot"] | ["_snapshot", _] if request.method == "GET":
                return await self._show_repositories(request)
        return await self._forward(request, body)

    async def _manage(self, request: web.Request, path: str, body: bytes) -> web.Response:
        if index := self._index_management.index_of(path):
            async with self._node.get(f"{self._node_url}/{index}") as answer:
                if not answer.ok:
                    return web.json_response(await answer.json(), status=answer.status)
        status, content = self._index_management.answer(request.method, path, body)
        return web.json_response(content, status=status)

    async def _show_repositories(self, request: web.Request) -> web.Response:
        async with self._node.get(self._node_url + request.rel_url.raw_path_qs) as answer:
            content = await answer.json()
            if answer.ok:
                content = self._repositories.as_registered(content)
            return web.json_response(content, status=answer.status)

    async def _forward(self, request: web.Request, body: bytes) -> web.StreamResponse:
        headers = end_to_end(request.headers)
        # The node has no security, and Elasticsearch takes no other address for its own.
        for name in ("Authorization", "Content-Length", "Host"):
            headers.popall(name, None)
        try:
            answer = await self._node.request(
                request.method,
                URL(self._node_url + request.rel_url.raw_path_qs, encoded=True),
                headers=headers,
                data=io.BytesIO(body) if body else None,
                allow_redirects=False,
            )
        except aiohttp.ClientConnectionError as error:
            return web.json_response({"error": str(error), "status": 503}, status=503)
        async with answer:
            return await pass_on(request, answer)


def application(configuration: Configuration) -> web.Application:
    """Return the stand-in as an application; serve it with `auto_decompress=False`."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[_StandIn]:
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
        ) as node:
            yield _StandIn(configuration, node)

    return serving.application(opened, _MAXIMUM_BODY_BYTES)
