"""Where the service connects to: what nobody allowed, and what lies within, gets no packet."""

import ipaddress
import socket
from dataclasses import replace

import pytest

from services.config import Settings, load_settings
from services.datasets.remote_address import Place, UrlNotAllowed, is_allowed, read_url, resolve, resolve_now

OFF = Settings("postgresql://", "redis://")
ALLOWING = replace(OFF, remote_hosts=("data.example.org", "*.mirror.net", "files.example.org:8443"))

INNER = [
    "127.0.0.1", "10.0.0.5", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "192.0.0.8",
    "198.18.0.1", "203.0.113.9", "224.0.0.1", "255.255.255.255", "240.0.0.1",
    "::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
    "::ffff:10.0.0.5", "::ffff:8.8.8.8", "::10.0.0.5", "64:ff9b::a00:5", "64:ff9b:1::a00:5",
    "2002:a00:5::1", "2001:0:a00:5::1",
    "192.0.0.170", "192.88.99.1", "fec0::1", "2001:2::1", "3fff::1", "5f00::1", "100::1", "4000::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "2a00:1450:4001:80b::200e"]


@pytest.mark.parametrize("address", INNER)
def test_what_is_not_public_is_never_connected_to(address):
    assert not is_allowed(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_may_be(address):
    assert is_allowed(ipaddress.ip_address(address))


def test_an_operators_own_network_may_be_named():
    inner = [ipaddress.ip_network("10.1.0.0/16")]
    assert is_allowed(ipaddress.ip_address("10.1.2.3"), inner)
    assert not is_allowed(ipaddress.ip_address("10.2.2.3"), inner)


@pytest.fixture
def no_network(monkeypatch):
    """Fail a test that asks a name server or connects."""

    def forbidden(*arguments, **named):
        pytest.fail(f"a packet was sent: {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    monkeypatch.setattr(socket.socket, "connect", forbidden)


BAD = [
    "http://data.example.org/x", "ftp://data.example.org/x", "file:///etc/passwd", "gopher://data.example.org/",
    "https://user:secret@data.example.org/x", "https://data.example.org@evil.example/", "https:///x", "https://",
    "data.example.org/x", "https://data.example.org:22/x", "https://data.example.org:99999/x", "https://127.0.0.1/x",
    "https://[::1]/x", "https://2130706433/x", "https://0x7f.1/x", "https://mirror.net/x", "https://evilmirror.net/x",
    "https://data.example.org.evil.example/x", "https://data.example.org\\@evil.example/", "https://data.example.org/\n",
    "https://data.example.org/ä", "https://dätä.example.org/", "https://files.example.org/x", "https://[::1/x",
    "https://169.254.169.254/latest/meta-data/", "//data.example.org/x", "https://data.example.org\t/x",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD)
def test_a_bad_url_is_refused_before_a_packet_is_sent(url, no_network):
    with pytest.raises(UrlNotAllowed) as refused:
        resolve_now(url, ALLOWING)
    assert [(one.code, one.pointer) for one in refused.value.problems] == [("url_not_allowed", "/url")]


@pytest.mark.parametrize("url", ["https://data.example.org/x", BAD[0]])
def test_without_a_host_that_is_allowed_nothing_is_fetched(url, no_network):
    with pytest.raises(UrlNotAllowed):
        resolve_now(url, OFF)


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("https://data.example.org/a/b.csv?x=1&y=%C3%A4#part", "data.example.org", 443, "/a/b.csv?x=1&y=%C3%A4"),
        ("https://DATA.example.org.:443", "data.example.org", 443, "/"),
        ("https://a.b.mirror.net/x", "a.b.mirror.net", 443, "/x"),
        ("https://files.example.org:8443/x", "files.example.org", 8443, "/x"),
    ],
)
def test_an_allowed_url_is_read(url, host, port, target, no_network):
    place = read_url(url, ALLOWING)
    assert (place.host, place.port, place.target) == (host, port, target)


@pytest.mark.parametrize(
    ("host", "port", "authority"),
    [
        ("a.example", 443, "a.example"),
        ("a.example", 8443, "a.example:8443"),
        ("2606:4700::1111", 443, "[2606:4700::1111]"),
        ("2606:4700::1111", 8443, "[2606:4700::1111]:8443"),
    ],
)
def test_a_place_is_named_as_http_has_it(host, port, authority):
    assert Place(host, port, "/").authority == authority


def test_a_name_with_one_inner_address_is_refused_whatever_the_others_are(monkeypatch):
    def answers(*addresses):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    place = read_url("https://data.example.org/x", ALLOWING)
    answers("93.184.216.34", "10.0.0.1")
    with pytest.raises(UrlNotAllowed):
        resolve(place, ALLOWING)
    answers("fe80::1%eth0")
    with pytest.raises(UrlNotAllowed):
        resolve(place, ALLOWING)
    answers()
    with pytest.raises(UrlNotAllowed):
        resolve(place, ALLOWING)
    answers("93.184.216.34")
    assert [str(one) for one in resolve(place, ALLOWING)] == ["93.184.216.34"]


def test_a_name_that_cannot_be_resolved_now_is_no_reason_to_refuse(monkeypatch):
    def fails(*_, **__):
        raise socket.gaierror("try again")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    resolve_now("https://data.example.org/x", ALLOWING)


def test_hosts_and_networks_come_from_the_environment():
    needed = {"DATABASE_URL": "postgresql://x", "REDIS_URL": "redis://x"}
    assert load_settings(needed).remote_hosts == ()
    given = {"MODELWRIGHT_REMOTE_HOSTS": "a.org, *.b.org,,c.org:8443", "MODELWRIGHT_REMOTE_NETWORKS": "10.1.0.0/16"}
    settings = load_settings({**needed, **given})
    assert settings.remote_hosts == ("a.org", "*.b.org", "c.org:8443")
    assert settings.remote_networks == ("10.1.0.0/16",)
