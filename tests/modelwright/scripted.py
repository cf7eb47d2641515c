"""A web server that answers what a test wrote down: for faults that a healthy service does not show."""

import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


def reply(status: int, body: object = None, **headers: str) -> Answer:
    """Answer with JSON."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        content = b"" if status == 304 else json.dumps(body).encode()
        send(handler, status, content, **headers)

    return answer


def send(handler: BaseHTTPRequestHandler, status: int, content: bytes, *, length: int | None = None, **headers: str):
    """Send ``content``, promising ``length`` bytes: fewer than promised is a connection that breaks off."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)
    handler.close_connection = True


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """End the connection without an answer."""
    handler.close_connection = True


class Service:
    """What was asked, and what is answered: one answer after another, the last one for ever."""

    def __init__(self, url: str, answers: list[Answer]) -> None:
        self.url = url
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self._answers = answers

    def next_answer(self) -> Answer:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@contextmanager
def scripted(*answers: Answer):
    """Run a service on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            service.requests.append((self.command, self.path, headers, content))
            service.next_answer()(self)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service = Service(f"http://127.0.0.1:{server.server_port}", list(answers))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
