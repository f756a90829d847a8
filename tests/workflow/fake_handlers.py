"""Handlers that live in the test's own process, in place of those that are deployed."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

type Payload = dict[str, Any]
type FakeHandler = Callable[[Payload], Any]


class TimedOut(Exception):  # noqa: N818 - what happened to the function
    """Raised by a fake handler: the function runs until Lambda ends it."""


class Crashed(Exception):  # noqa: N818
    """Raised by a fake handler: the function's process ends without an answer."""


def in_turn(*outcomes: Any) -> FakeHandler:
    """A handler with an outcome for each call: it raises exceptions and returns anything else.

    The last outcome stays.
    """
    remaining = list(outcomes)

    def answer(_: Payload) -> Any:
        outcome = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return answer


@contextmanager
def serve(answer: Callable[[str, Payload], Any]) -> Iterator[str]:
    """Serves lambda_function.py, whose handlers are the given function of name and payload.

    Yields:
        The address, for `FAKE_HANDLERS_URL`.
    """

    class Requests(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                outcome = {"returned": answer(self.path.removeprefix("/"), payload)}
            except Exception as error:
                outcome = {"raised": type(error).__name__, "message": str(error)}
            body = json.dumps(outcome).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Requests) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
