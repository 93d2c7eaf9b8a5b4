"""An HTTP server that keeps what clients post, and answers as a test wants."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """Names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


class RecordingServer:
    """No dataclass: Hypothesis would print all that was posted with each example."""

    def __init__(self, answers: Sequence[tuple[int, dict[str, str]]]) -> None:
        """`answers`: a status and headers for each request, in order; afterwards 202."""
        self.answers = list(answers)
        self.posted: list[Posted] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def recording_server(answers: Sequence[tuple[int, dict[str, str]]] = ()) -> Iterator[RecordingServer]:
    found = RecordingServer(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.posted.append(Posted(path=self.path, headers=headers, body=body))
            status, more = found.answers.pop(0) if found.answers else (202, {})
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b'{"detail": "an answer"}')

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a test reads `posted`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
