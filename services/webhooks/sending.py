"""Sends one POST to an address that was judged a moment before: one address, no redirects, seconds and bytes bounded.

httpcore and not httpx: only there can one deadline hold for a whole exchange, however slowly a server drips.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpcore

from services.config import Settings
from services.datasets.remote_address import Address, Place, UrlNotAllowed, read_place, resolve

SHOWN_BYTES = 1024
"""What the log keeps of an answer; no more than one network read (64 KiB) beyond it is ever read."""
_SUCCESS = range(200, 300)
_REDIRECT = range(300, 400)


@dataclass(frozen=True, slots=True)
class Try:
    """What came of one try; ``status`` is None where no answer came."""

    status: int | None
    latency_ms: float
    answer: str | None = None
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the receiver has taken the event: any 2xx."""
        return self.status is not None and self.status in _SUCCESS

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"status": self.status, "latency_ms": self.latency_ms, "answer": self.answer, "error": self.error}


def post(url: str, *, headers: Mapping[str, str], body: bytes, settings: Settings) -> Try:
    """POST ``body``; whatever happens is in what is returned."""
    begun = time.monotonic()
    try:
        place = read_place(url, settings.webhook_hosts)
        addresses = resolve(place, settings)
    except UrlNotAllowed as error:
        return Try(None, _since(begun), error=f"url_not_allowed: {error.detail} Nothing was sent.")
    except OSError:
        return Try(None, _since(begun), error=f"The name {_host(url)} cannot be resolved.")
    status, answer, failure = _first_that_answers(place, addresses, headers, body, settings)
    if status is not None and status in _REDIRECT:
        failure = "A redirect is not followed: give the address it leads to."
    elif status is not None and status not in _SUCCESS:
        failure = f"The receiver answers with HTTP {status}."
    return Try(status, _since(begun), answer, failure)


class _Deadline(httpcore.NetworkStream):
    """A stream whose every operation has what is left of one time."""

    def __init__(self, stream: httpcore.NetworkStream, end: float) -> None:
        self._stream = stream
        self._end = end

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, timeout=_left(self._end, timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout=_left(self._end, timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(self._end, timeout)
        return _Deadline(self._stream.start_tls(ssl_context, server_hostname, left), self._end)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as its base
        return self._stream.get_extra_info(info)


class _Network(httpcore.NetworkBackend):
    """Connections that end at one time, answered or not."""

    def __init__(self, end: float) -> None:
        self._end = end
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self._end, timeout)
        return _Deadline(self._inner.connect_tcp(host, port, left, local_address, socket_options), self._end)


def _first_that_answers(
    place: Place, addresses: list[Address], headers: Mapping[str, str], body: bytes, settings: Settings
) -> tuple[int | None, str | None, str | None]:
    end = time.monotonic() + settings.webhook_timeout_seconds
    trust = ssl.create_default_context(cafile=settings.remote_ca_file)
    failure = "no address"
    for address in addresses:
        try:
            with httpcore.ConnectionPool(ssl_context=trust, network_backend=_Network(end)) as pool:
                status, answer = _exchange(pool, place, address, headers, body)
                return status, answer, None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, ssl.SSLError) as error:
            failure = _words(error)
    return None, None, f"{place.host} cannot be reached ({failure})."


def _exchange(
    pool: httpcore.ConnectionPool, place: Place, address: Address, headers: Mapping[str, str], body: bytes
) -> tuple[int, str]:
    named = {
        "Host": place.authority,
        "Accept-Encoding": "identity",
        "Connection": "close",
        "Content-Length": str(len(body)),
        **headers,
    }
    url = httpcore.URL(scheme=b"https", host=str(address).encode(), port=place.port, target=place.target.encode())
    # The name, and not the address, is what the certificate must be for.
    with pool.stream(
        "POST", url, headers=[*named.items()], content=body, extensions={"sni_hostname": place.host}
    ) as answer:
        return answer.status, _beginning(answer)


def _beginning(answer: httpcore.Response) -> str:
    """Return the first bytes of the content as text; one that breaks off, or never ends, is no failure."""
    found = b""
    try:
        for piece in answer.iter_stream():
            found += piece
            if len(found) >= SHOWN_BYTES:
                break
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
        pass
    # PostgreSQL keeps no NUL in a text.
    return found[:SHOWN_BYTES].decode("utf-8", "replace").replace("\x00", "�")


def _left(end: float, timeout: float | None) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time is over")
    return left if timeout is None else min(left, timeout)


def _words(error: Exception) -> str:
    if isinstance(error, httpcore.TimeoutException):
        return "no answer in time"
    text = str(error).split("\n", 1)[0][:200]
    return text or type(error).__name__


def _host(url: str) -> str:
    return url.split("/")[2][:200]


def _since(begun: float) -> float:
    return round((time.monotonic() - begun) * 1e3, 1)
