"""What fronts have in common: they pass requests on to a node, and its answers back."""

import argparse
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

_HOP_BY_HOP_HEADERS = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


def configuration_file(program: str) -> Path:
    """Return the file that the command line names.

    Args:
        program: the front's module.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument("--config", type=Path, required=True, help="the configuration, as JSON")
    file: Path = parser.parse_args().config
    return file


def serve(application: web.Application, port: int, certificate_file: Path, key_file: Path) -> None:
    """Serve a front by HTTPS until the process is ended."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
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


def end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Return the headers that aren't meant for the next neighbour only."""
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP_HEADERS
    )


async def pass_on(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Pass a node's answer on, piece by piece."""
    response = web.StreamResponse(
        status=answer.status, reason=answer.reason, headers=end_to_end(answer.headers)
    )
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response
