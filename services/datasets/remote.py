"""Reads a file from an https server that the operator allowed: one address, no redirects, bounds on time and bytes."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from services.config import Settings
from services.datasets.remote_address import Address, Place, UrlNotAllowed, read_url, resolve

_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_RETRIED = (408, 425, 429)


class FetchFailed(Exception):
    """The file could not be had; ``passing`` where another try may help. Code, text and hint are for the client."""

    def __init__(self, detail: str, *, passing: bool, code: str = "fetch_failed", hint: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.passing = passing
        self.code = code
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Remote:
    """An answer that is being read: from which byte it begins, and what pins the file's version.

    ``pieces`` are the bytes as they come; a connection that breaks raises `FetchFailed`.
    """

    begins: int
    version: str | None
    size_bytes: int | None
    pieces: Iterator[bytes]
    version_id: str | None = None


@contextmanager
def opened(url: str, settings: Settings, *, begin: int = 0, version: str | None = None) -> Iterator[Remote]:
    """Ask for a file from byte ``begin`` on, as long as it is still the ``version`` of which the first bytes are here.

    What comes begins at 0 if the file is another one by now, or the server knows no ranges.

    Raises:
        UrlNotAllowed: nothing was sent; or the answer is a redirect.
        FetchFailed: no answer, or not the file.
    """
    place = read_url(url, settings)
    try:
        addresses = resolve(place, settings)
    except OSError:
        raise FetchFailed(f"The name {place.host} cannot be resolved.", passing=True) from None
    with httpx.Client(
        verify=_trust(settings), timeout=_TIMEOUT, follow_redirects=False, trust_env=False, http2=False
    ) as client:
        rest = {"Range": f"bytes={begin}-", "If-Range": version} if begin and version is not None else {}
        response = _send(client, place, addresses, rest)
        try:
            yield _judged(response, place, begin, version)
        finally:
            response.close()


def _trust(settings: Settings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.remote_ca_file)


def _send(client: httpx.Client, place: Place, addresses: list[Address], extra: dict[str, str]) -> httpx.Response:
    headers = {
        "Host": place.authority,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "User-Agent": "modelwright",
        **extra,
    }
    failure = "no address"
    for address in addresses:
        literal = f"[{address}]" if isinstance(address, ipaddress.IPv6Address) else str(address)
        request = client.build_request("GET", f"https://{literal}:{place.port}{place.target}", headers=headers)
        request.extensions["sni_hostname"] = place.host  # also what the certificate must be for
        try:
            return client.send(request, stream=True)
        except httpx.HTTPError as error:
            failure = type(error).__name__
    raise FetchFailed(f"{place.host} cannot be reached ({failure}).", passing=True)


def _judged(response: httpx.Response, place: Place, begin: int, version: str | None) -> Remote:
    status = response.status_code
    if 300 <= status < 400:
        raise UrlNotAllowed(f"{place.host} answers with a redirect (HTTP {status}).", "Give the address it leads to.")
    if status not in (200, 206):
        passing = status >= 500 or status in _RETRIED
        raise FetchFailed(f"{place.host} answers with HTTP {status}.", passing=passing)
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise FetchFailed(f"{place.host} sends the file compressed, though it was asked not to.", passing=False)
    length = response.headers.get("content-length", "")
    size = int(length) if length.isdecimal() and len(length) < 19 else None
    found = _version(response)
    if status == 206:
        expected = response.headers.get("content-range", "").startswith(f"bytes {begin}-")
        if not begin or not expected or found != version:
            raise FetchFailed(f"{place.host} sends another part of the file than was asked for.", passing=True)
        return Remote(begin, found, None if size is None else begin + size, _pieces(response))
    return Remote(0, found, size, _pieces(response))


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_raw()  # as it comes: who waits for more cannot see how slow it is
    except httpx.HTTPError as error:
        raise FetchFailed(f"The connection broke ({type(error).__name__}).", passing=True) from None


def _version(response: httpx.Response) -> str | None:
    """Return a strong validator (RFC 9110 §13.1.5): only that can promise the same bytes."""
    etag = response.headers.get("etag", "")
    return etag if etag.startswith('"') and len(etag) <= 200 else None
