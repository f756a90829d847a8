"""How the sandbox's own servers, each a process of its own, are told what to do and serve."""

import argparse
import logging
import ssl
from pathlib import Path

from aiohttp import web


def configuration_file(program: str) -> Path:
    """Return the file that the command line names.

    Args:
        program: the server's module.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {program}")
    parser.add_argument("--config", type=Path, required=True, help="the configuration, as JSON")
    file: Path = parser.parse_args().config
    return file


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
