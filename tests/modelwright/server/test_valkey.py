import psutil
import pytest
import redis
from kombu import Connection

from modelwright.server.valkey import ValkeyServer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = ValkeyServer(tmp_path_factory.mktemp("with a space") / "valkey")
    server.start()
    yield server
    server.stop()


def test_redis_py_and_celerys_transport_both_take_its_url(server):
    assert redis.Redis.from_url(server.url).ping()
    with Connection(server.url) as connection:
        connection.ensure_connection(max_retries=1)


def test_it_refuses_who_does_not_know_the_password(server):
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=server.port).ping()


def test_it_listens_on_the_loopback_interface_alone(server):
    listening = [c.laddr.ip for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]


def test_its_password_is_on_no_command_line(server):
    password = server.url.split(":")[2].split("@")[0]
    assert all(password not in part for part in psutil.Process(server.pid).cmdline())


def test_it_never_evicts_and_writes_nothing_to_disk(server):
    client = redis.Redis.from_url(server.url)
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert client.config_get("save") == {"save": ""}


def test_after_a_kill_it_comes_back_empty_at_the_same_url(server):
    url = server.url
    redis.Redis.from_url(url).set("a", 1)
    server.kill()
    assert not server.running
    server.start()
    assert server.url == url
    assert redis.Redis.from_url(url).get("a") is None
