"""How the sandbox's own servers, each a process of its own, are told what to do and serve."""

import argparse
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from aiohttp import web
from pydantic import BaseModel


class Server(Protocol):
    """Answers every request."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one."""


def configuration[C: BaseModel](program: str, model: type[C]) -> C:
    """Return what the file says that the command line names.

    Args:
        program: the server's module.
        model: of the configuration.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument("--config", type=Path, required=True, help="the configuration, as JSON")
    file: Path = parser.parse_args().config
    return model.model_validate_json(file.read_text())


def application(
    opened: Callable[[], AbstractAsyncContextManager[Server]], most_body_bytes: int
) -> web.Application:
    """Return an application whose requests all go to one server.

    Args:
        opened: the server, for as long as it serves.
        most_body_bytes: of a request.
    """
    key = web.AppKey("server", Server)

    async def open_server(app: web.Application) -> AsyncIterator[None]:
        async with opened() as server:
            app[key] = server
            yield

    async def answer(request: web.Request) -> web.StreamResponse:
        return await request.app[key].answer(request)

    app = web.Application(client_max_size=most_body_bytes)
    app.cleanup_ctx.append(open_server)
    app.router.add_route("*", "/{path:.*}", answer)
    return app


def serve(
    application: web.Application,
    port: int,
    *,
    certificate_file: Path | None = None,
    key_file: Path | None = None,
) -> None:
    """Serve until the process is ended; by HTTPS, if there is a certificate."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    tls = None
    if certificate_file is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate_file, key_file)
    web.run_app(
        application,
        host="127.0.0.1",
        port=port,
        ssl_context=tls,
        print=None,
        access_log=None,
        shutdown_timeout=1,
        auto_decompress=False,
    )
