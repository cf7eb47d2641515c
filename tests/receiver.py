"""A receiver of webhooks: an https server of a test's own that can be down, slow, or answer as it is told."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

HOST = "hooks.example.test"


@dataclass
class Receiver:
    """What came in, and how it is answered."""

    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], int] = lambda _: 200
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b"thanks"
    down: bool = False
    hold: threading.Event | None = None
    connections: int = 0
    host: str = HOST
    port: int = 0
    ca_file: str = ""

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}/hook?from=modelwright"

    @property
    def ids(self) -> list[str]:
        """The ids of what came, in its order."""
        return [headers["webhook-id"] for headers, _ in self.requests]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.requests]

    def reset(self) -> None:
        """Forget everything and be well."""
        self.requests.clear()
        self.answer, self.headers, self.content, self.down, self.hold = lambda _: 200, {}, b"thanks", False, None
        self.connections = 0


@contextmanager
def receiving(folder: Path, *, host: str = HOST) -> Iterator[Receiver]:
    """Listen on a loopback address; the certificate is for ``host``."""
    receiver = Receiver(host=host)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
            if receiver.hold is not None:
                receiver.hold.wait(60)
            self.send_response(receiver.answer(json.loads(body)))
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(receiver.content)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(receiver.content)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> tuple[Any, Any]:
            connection, address = self.socket.accept()
            receiver.connections += 1
            if receiver.down:
                connection.close()
                raise OSError("down")
            connection.settimeout(30)
            return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

        def handle_error(self, *_: object) -> None:
            """A client that goes away is its own business."""

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    server = Server(("127.0.0.1", 0), Handler)
    receiver.port, receiver.ca_file = server.server_address[1], str(folder / "receiver-ca.pem")
    authority.cert_pem.write_to_path(receiver.ca_file)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def leads_to(monkeypatch: Any, *addresses: str, port: int, host: str = HOST) -> list[str]:
    """Let a name lead to addresses in this process, and return the list of the times that it is asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def answer(name: Any, *arguments: Any, **named: Any) -> Any:
        if name != host:
            return real(name, *arguments, **named)
        asked.append(name)
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in one], socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked
