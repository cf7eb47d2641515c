"""Which addresses of others may be connected to: https, a host that the operator named, and no address within.

A name is resolved once, every address it has is judged, and the connection goes to one of those: what the name says a
moment later does not matter (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.config import Settings
from services.errors import InvalidRequest, Problem

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
POINTER = "/url"
_PORT = 443
_MOST_ADDRESSES = 8
# IPv6 networks whose addresses carry an IPv4 address where a packet may end (NAT64, 6to4, Teredo, mapped, compatible),
# and what `ipaddress` of some Python versions takes for global though the registries of IANA do not (CVE-2024-4032).
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::ffff:0:0/96", "::/96"),
        *("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20", "5f00::/16", "fec0::/10"),
    )
)
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that IANA gives out; whatever else a later version may call global."""


class UrlNotAllowed(InvalidRequest):
    """The service does not connect there."""

    def __init__(self, detail: str, hint: str | None = None) -> None:
        super().__init__([Problem("url_not_allowed", detail, POINTER, hint)])

    def below(self, prefix: str) -> InvalidRequest:
        """Return the same refusal with its pointer moved below ``prefix``."""
        return InvalidRequest([problem.below(prefix) for problem in self.problems])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL points: the host's name for the certificate, and what is asked of it."""

    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What the ``Host`` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORT else f"{host}:{self.port}"


def read_url(url: str, settings: Settings) -> Place:
    """Return what a URL says; nothing is sent, not even to a name server.

    Raises:
        UrlNotAllowed: the operator has named no host, or not this one, or it is no plain https URL.
    """
    if not settings.remote_hosts:
        raise UrlNotAllowed("This service fetches nothing: no host is allowed.", "Upload the file instead.")
    return read_place(url, settings.remote_hosts)


def read_place(url: str, hosts: Sequence[str]) -> Place:
    """Return what an https URL of one of ``hosts`` says; nothing is sent.

    Raises:
        UrlNotAllowed: it is of no such host, or no plain https URL.
    """
    if not url.isascii() or any(character <= " " or character in "\\\x7f" for character in url):
        raise UrlNotAllowed("A URL has only visible ASCII characters; encode the others with %.")
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
    except ValueError:
        raise UrlNotAllowed("This is not a URL.") from None
    host = (parts.hostname or "").rstrip(".").lower()
    if parts.scheme != "https" or not host or parts.username is not None or parts.password is not None:
        raise UrlNotAllowed("Only https URLs without a user name are connected to.")
    if not _is_named(host, port, hosts):
        raise UrlNotAllowed(f"The host {host}:{port} is not allowed.", "The operator names the hosts that are.")
    return Place(host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def resolve(place: Place, settings: Settings) -> list[Address]:
    """Return the addresses of a host, all of them allowed.

    Raises:
        UrlNotAllowed: one of them is not global, or carries an IPv4 address.
        OSError: the name cannot be resolved now.
    """
    found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found[:_MOST_ADDRESSES]]
    inner = [ipaddress.ip_network(network) for network in settings.remote_networks]
    if not addresses or not all(is_allowed(address, inner) for address in addresses):
        raise UrlNotAllowed(f"The host {place.host} has an address that is not public.")
    return addresses


def resolve_now(url: str, settings: Settings) -> None:
    """Judge a URL when it is given; a name that cannot be resolved now may be later.

    Raises:
        UrlNotAllowed: as `read_url` and `resolve`.
    """
    resolve_place(read_url(url, settings), settings)


def resolve_place(place: Place, settings: Settings) -> None:
    """Judge the addresses of a host that is given; a name that cannot be resolved now may be later.

    Raises:
        UrlNotAllowed: as `resolve`.
    """
    with suppress(OSError):
        resolve(place, settings)


def is_allowed(address: Address, inner: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = ()) -> bool:
    """Tell whether an address may be connected to: a global unicast one, or one of the operator's own networks."""
    if any(address in network for network in inner):
        return True
    if any(address in network for network in _REFUSED):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _is_named(host: str, port: int, names: Sequence[str]) -> bool:
    """Compare with ``host``, ``host:port``, ``*.domain``, ``*``; without a port it is 443."""
    for name in names:
        allowed, _, its_port = name.lower().partition(":")
        same = host.endswith(allowed[1:]) and host != allowed[2:] if allowed.startswith("*.") else host == allowed
        same = same or allowed == "*"
        if same and port == int(its_port or _PORT):
            return True
    return False
