"""A node's limited network, on real sockets."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import override

import pytest

from snapferry_sandbox import network, processes
from snapferry_sandbox.network import Connection, Relay

SENT = bytes(range(256)) * 4096


class Echo(socketserver.StreamRequestHandler):
    """Answers with what it got, once that has ended."""

    @override
    def handle(self) -> None:
        self.wfile.write(self.rfile.read())


@contextmanager
def echoing() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize("caller", ["node", "others"])
def test_everything_arrives(tmp_path: Path, caller: str) -> None:
    port = processes.free_port()
    with echoing() as target:
        relay = Relay.model_validate({"port": port, "target": target, "caller": caller})
        connection = Connection(bytes_per_second=50_000_000, relays=(relay,))
        process = network.start("node", connection, log_file=tmp_path / "log")
        try:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(SENT)
                client.shutdown(socket.SHUT_WR)
                with client.makefile("rb") as answer:
                    assert answer.read() == SENT
        finally:
            process.stop()
    assert (tmp_path / "log").read_text() == ""
