"""The stand-in's process."""

import argparse
import logging
import ssl
from pathlib import Path

from aiohttp import web

from snapferry_sandbox.opensearch.stand_in import Configuration
from snapferry_sandbox.opensearch.stand_in.proxy import application


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m snapferry_sandbox.opensearch.stand_in")
    parser.add_argument("--config", type=Path, required=True, help="the configuration, as JSON")
    configuration = Configuration.model_validate_json(parser.parse_args().config.read_text())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(configuration.certificate_file, configuration.key_file)
    web.run_app(
        application(configuration),
        host="127.0.0.1",
        port=configuration.port,
        ssl_context=tls,
        print=None,
        access_log=None,
        shutdown_timeout=1,
        auto_decompress=False,
    )


main()
