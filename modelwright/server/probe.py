"""Small questions to the network of this machine: is the port free, is the service ready, does this key work."""

from __future__ import annotations

import errno
import http.client
import socket
from contextlib import closing

from modelwright.server.process import ServerError

_TIMEOUT_SECONDS = 5.0


def choose_port(port: int) -> int:
    """Return ``port`` if it is free, or any free one for 0.

    Raises:
        ServerError: the port is in use, or may not be used.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does: connections that linger are fine
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise ServerError(
                f"Port {port} {why}. Choose another with --port, or any free one with --port 0."
            ) from None
        return int(probe.getsockname()[1])


def get(port: int, path: str, *, api_key: str = "") -> tuple[int, bytes]:
    """Return status and body of ``GET path`` on the loopback interface; status 0 when there is no answer."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)) as connection:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
    except (OSError, http.client.HTTPException, UnicodeError):
        return 0, b""
