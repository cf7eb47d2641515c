"""An S3 service (moto) as a process of the tests' own, that a test may kill; what it held is gone then."""

from __future__ import annotations

import socket
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx

from services.s3 import open_client
from services.s3_settings import ObjectPlace, S3Access
from tests.stack import until

_SERVE = """
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
port, fd = map(int, sys.argv[1:])
app = DomainDispatcherApplication(create_backend_app)
make_server("127.0.0.1", port, app, threaded=True, request_handler=MotoRequestHandler, fd=fd).serve_forever()
"""


class ObjectServer:
    """One server on a port of its own, the same after a restart."""

    def __init__(self, log: Path) -> None:
        self.port = 0
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def access(self) -> S3Access:
        return S3Access(endpoint=self.url, access_key_id="reader", secret_access_key="secret of the store")

    @property
    def client(self) -> Any:
        return open_client(self.access, tries=3)

    def start(self) -> None:
        """Start, and wait until it answers. It is given its socket, so that nobody else can have its port."""
        with socket.socket() as listening, self._log.open("ab") as log:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            until(lambda: self._bound(listening), seconds=60)
            listening.listen(128)
            self.port = listening.getsockname()[1]
            fd = listening.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(self.port), str(fd)], pass_fds=[fd], stdout=log, stderr=log
            )
        assert httpx.get(f"{self.url}/moto-api/", timeout=120).status_code == 200

    def kill(self) -> None:
        """End it as a crash would; idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def bucket(self) -> str:
        """Make a bucket of a test's own and return its name."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name)
        return name

    def place(self, prefix: str = "chunks/") -> ObjectPlace:
        """Return a place for chunks in a bucket of a test's own."""
        return ObjectPlace(self.bucket(), prefix, self.access)

    def put(self, bucket: str, key: str, content: bytes, **more: Any) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=content, **more)

    def keys(self, bucket: str) -> list[str]:
        """Return the keys of a bucket, in order."""
        return sorted(one["Key"] for one in self.client.list_objects_v2(Bucket=bucket).get("Contents", []))

    def _bound(self, listening: socket.socket) -> bool:
        try:
            listening.bind(("127.0.0.1", self.port))
        except OSError:
            return False
        return True
