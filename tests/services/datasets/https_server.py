"""An https server of a test's own, with a certificate made for it, that misbehaves as it is told."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme

HOST = "data.example.test"


@dataclass
class Site:
    """What the server has, and how it answers; ``requests`` are those it got: (path, headers)."""

    content: bytes = b""
    etag: str | None = '"v1"'
    ranges: bool = True
    cut_after: int | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    declares_length: bool = True
    cuts: int = 1
    """So many answers are cut; later ones are whole."""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0
    ca_file: str = ""

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}/folder/fish.csv?version=1"


@contextmanager
def serving(folder: Path, *, names: tuple[str, ...] = (HOST,)) -> Iterator[Site]:
    """Serve on a loopback address; the certificate is for ``names``."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            site.requests.append((self.path, dict(self.headers)))
            begin, body = self._chosen()
            self.send_response(206 if begin else site.status)
            if site.etag:
                self.send_header("ETag", site.etag)
            if begin:
                total = len(site.content)
                self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
            for name, value in site.headers.items():
                self.send_header(name, value)
            if site.declares_length:
                self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.close_connection = True
            self.end_headers()
            if site.cut_after is not None and site.cuts > 0:
                site.cuts -= 1
                body = body[: site.cut_after]
            self.wfile.write(body)

        def _chosen(self) -> tuple[int, bytes]:
            wanted = self.headers.get("Range", "")
            if not site.ranges or not wanted or self.headers.get("If-Range") != site.etag:
                return 0, site.content
            begin = int(wanted.removeprefix("bytes=").rstrip("-"))
            return begin, site.content[begin:]

    authority = trustme.CA()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    site.port, site.ca_file = server.server_address[1], str(folder / "ca.pem")
    authority.cert_pem.write_to_path(site.ca_file)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
