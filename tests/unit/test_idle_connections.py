"""Connections that died while nobody looked, of a real server on this machine."""

import socket
import struct
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionError

from snapferry import clients

RESET_AT_ONCE = struct.pack("ii", 1, 0)


class AnswersOnce(BaseHTTPRequestHandler):
    """Keeps each connection, and resets it when it is used a second time."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.has_answered = False

    def do_GET(self) -> None:
        if self.has_answered:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
            self.connection.close()
            self.close_connection = True
            return
        self.has_answered = True
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cluster() -> Iterator[OpenSearch]:
    with ThreadingHTTPServer(("127.0.0.1", 0), AnswersOnce) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        host = {"host": "127.0.0.1", "port": server.server_port}
        with OpenSearch(
            hosts=[host], connection_class=clients._Connection, max_retries=0
        ) as client:
            yield client
        server.shutdown()
        thread.join()


def test_a_connection_that_died_in_a_pause_is_not_used(
    cluster: OpenSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.info()
    with pytest.raises(ConnectionError):
        cluster.info()

    monkeypatch.setattr(clients, "_LONGEST_PAUSE_SECONDS", -1)

    for _ in range(3):
        assert cluster.info() == {}
