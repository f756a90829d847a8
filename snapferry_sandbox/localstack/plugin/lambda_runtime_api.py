"""Lambda's runtime API, from which the runtime client in a function's process fetches its work.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import cast


@dataclass(frozen=True)
class Result:
    """What a function returned, or the error it raised, as JSON."""

    payload: bytes
    is_error: bool


@dataclass(frozen=True)
class Invocation:
    """One call of a function."""

    request_id: str
    payload: bytes
    function_arn: str
    trace_id: str
    deadline_milliseconds: int
    """Unix time by which the function has to be done."""
    result: Future[Result] = field(default_factory=Future)


class RuntimeApi(ThreadingHTTPServer):
    """The API of one execution environment; it handles one invocation at a time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _RequestHandler)
        self.initialized: Future[None] = Future()
        """Done when the function's module is loaded; raises `InitializationError`."""
        self.invocations: SimpleQueue[Invocation | None] = SimpleQueue()
        self.running: Invocation | None = None
        # `close` waits for as long as one poll takes.
        threading.Thread(target=self.serve_forever, args=[0.05], daemon=True).start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_port}"

    def invoke(self, invocation: Invocation) -> None:
        """Hand an invocation to the function; its result comes through `invocation.result`."""
        self.invocations.put(invocation)

    def close(self) -> None:
        """Answer no more."""
        self.invocations.put(None)
        self.shutdown()
        self.server_close()


class InitializationError(Exception):
    """The function's module can't be loaded."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(payload.decode(errors="replace"))
        self.payload = payload


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def _api(self) -> RuntimeApi:
        return cast(RuntimeApi, self.server)

    def do_GET(self) -> None:
        """.../runtime/invocation/next: wait for an invocation."""
        if not self._api.initialized.done():
            self._api.initialized.set_result(None)
        invocation = self._api.invocations.get()
        if invocation is None:
            self.close_connection = True
            return
        self._api.running = invocation
        self._answer(
            HTTPStatus.OK,
            invocation.payload,
            {
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_milliseconds),
                "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
                "Lambda-Runtime-Trace-Id": invocation.trace_id,
            },
        )

    def do_POST(self) -> None:
        """.../invocation/<id>/response, .../invocation/<id>/error or .../runtime/init/error."""
        payload = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/init/error"):
            self._api.initialized.set_exception(InitializationError(payload))
        elif self._api.running:
            self._api.running.result.set_result(Result(payload, self.path.endswith("/error")))
        self._answer(HTTPStatus.ACCEPTED, b'{"status": "OK"}', {})

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""

    def _answer(self, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
