"""A file is fetched from an https server once, whole, and unchanged, whatever the server and the process do."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import replace

import pytest
from sqlalchemy import func, select, text

from services.config import Settings
from services.datasets import preparation, remote_fetch, service
from services.datasets.reader import Reader
from services.datasets.remote_fetch import fetch_next
from services.datasets.schema import DatasetRequest
from services.db.dataset_models import Dataset, DatasetChunk
from services.errors import Conflict, InvalidRequest
from tests.services.datasets.https_server import HOST, serving
from worker.fetching import AT_ONCE, Fetcher

CSV = b"length,kind\n" + b"".join(b"%d,%d\n" % (row, row % 3) for row in range(12_000))  # about 90 kB


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("ca")) as opened:
        yield opened


@pytest.fixture
def site(server, monkeypatch, database):
    """The server as it is at first, under a name that leads to it."""
    server.content, server.etag, server.ranges, server.cut_after, server.cuts = CSV, '"v1"', True, None, 1
    server.status, server.headers, server.declares_length, server.requests = 200, {}, True, []
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **n: found if host == HOST else real(host, *a, **n))
    monkeypatch.setattr(remote_fetch, "PART_BYTES", 20_000)
    monkeypatch.setattr(remote_fetch, "_FIRST_PAUSE_SECONDS", -1.0)
    with database.session() as session:
        session.execute(text("DELETE FROM dataset"))
    return server


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def allowing(site, data_dir):
    limits = Settings("postgresql://unused", "redis://unused", data_dir=data_dir, remote_ca_file=site.ca_file)
    return replace(limits, remote_hosts=(f"{HOST}:{site.port}",), remote_networks=("127.0.0.0/8",))


@pytest.fixture(scope="module")
def reader(data_dir):
    opened = Reader(Settings("postgresql://unused", "redis://unused", data_dir=data_dir))
    yield opened
    opened.close()


class World:
    """A tenant, the database, and whoever fetches."""

    def __init__(self, database, tenant_id, settings, reader):
        self.database, self.tenant_id, self.settings, self.reader = database, tenant_id, settings, reader

    def begin(self, site, settings=None, **request):
        wanted = DatasetRequest.model_validate({"format": "csv", "url": site.url, **request})
        with self.database.session() as session:
            settings = settings or self.settings
            begun = service.begin(session, tenant_id=self.tenant_id, request=wanted, settings=settings).dataset
        assert begun["state"] == "fetching"
        return begun["id"]

    def look(self, dataset_id):
        with self.database.read_session() as session:
            return service.get_dataset(session, tenant_id=self.tenant_id, dataset_id=dataset_id)

    def turn(self, settings=None):
        return fetch_next(self.database, settings or self.settings, self.reader)

    def run(self, settings=None, turns=20):
        """Take turns until nothing is due."""
        return sum(1 for _ in range(turns) if self.turn(settings))

    def expire(self):
        """Let every lease end."""
        with self.database.session() as session:
            session.execute(text("UPDATE dataset SET fetch_at = now() - interval '1 second'"))

    def delete(self, dataset_id):
        with self.database.session() as session:
            service.delete_dataset(session, tenant_id=self.tenant_id, dataset_id=dataset_id)


@pytest.fixture
def world(database, tenant_id, allowing, reader):
    return World(database, tenant_id, allowing, reader)


@pytest.fixture
def fetched(world, site):
    def fetch(turns=20, settings=None, **request):
        dataset_id = world.begin(site, settings, **request)
        world.run(settings, turns)
        return world.look(dataset_id)

    return fetch


def test_a_file_comes_over_https_and_is_a_data_set(fetched, site):
    found = fetched()
    assert (found["state"], found["rows"], found["problems"]) == ("ready", 12_000, [])
    assert (found["source_sha256"], found["source_size_bytes"]) == (hashlib.sha256(CSV).hexdigest(), len(CSV))
    assert found["fetch"] == {
        "url": site.url,
        "version": '"v1"',
        "received_bytes": len(CSV),
        "size_bytes": len(CSV),
        "tries": 0,
        "error": None,
    }
    [(path, headers)] = site.requests
    assert path == "/folder/fish.csv?version=1"
    assert headers["Host"] == f"{HOST}:{site.port}"
    assert headers["Accept-Encoding"] == "identity"
    assert not {"Authorization", "Cookie", "Referer"} & headers.keys()


def test_after_a_cut_only_the_rest_is_asked_for(fetched, site):
    site.cut_after = 50_000
    found = fetched()
    assert found["state"] == "ready"
    assert found["source_sha256"] == hashlib.sha256(CSV).hexdigest()
    ranges = [headers.get("Range") for _, headers in site.requests]
    assert ranges == [None, "bytes=50000-"]
    assert site.requests[1][1]["If-Range"] == '"v1"'


def test_a_file_that_changed_meanwhile_is_fetched_anew_never_mixed(fetched, site, world):
    site.cut_after = 50_000
    found = fetched(turns=1)
    assert (found["state"], found["fetch"]["received_bytes"]) == ("fetching", 50_000)
    assert found["fetch"]["error"]
    site.content, site.etag = b"length,kind\n" + b"7,8\n" * 5_000, '"v2"'
    world.run()
    found = world.look(found["id"])
    assert (found["state"], found["source_sha256"]) == ("ready", hashlib.sha256(site.content).hexdigest())


@pytest.mark.parametrize("changes", [{"etag": None}, {"ranges": False}, {"etag": 'W/"weak"'}])
def test_a_server_that_cannot_go_on_begins_again(fetched, site, changes):
    for name, value in changes.items():
        setattr(site, name, value)
    site.cut_after = 30_000
    found = fetched()
    assert (found["state"], found["source_sha256"]) == ("ready", hashlib.sha256(CSV).hexdigest())
    assert len(site.requests) == 2


def test_without_a_declared_length_the_end_is_the_end(fetched, site):
    site.declares_length = False
    found = fetched()
    assert (found["state"], found["fetch"]["size_bytes"]) == ("ready", None)


def test_what_never_gets_farther_is_given_up(fetched, site):
    site.etag, site.cut_after, site.cuts = None, 30_000, 1_000
    found = fetched()
    assert (found["state"], found["problems"][0]["code"]) == ("failed", "fetch_failed")
    assert len(site.requests) == remote_fetch.MAX_TRIES


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (500, 5), (429, 5), (204, 1)])
def test_an_error_of_the_server_is_told_and_tried_again_where_that_may_help(fetched, site, status, requests):
    site.status = status
    found = fetched()
    assert (found["state"], found["problems"][0]["code"]) == ("failed", "fetch_failed")
    assert str(status) in found["problems"][0]["detail"]
    assert len(site.requests) == requests


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(fetched, site, status):
    site.status, site.headers = status, {"Location": "https://169.254.169.254/latest/meta-data/"}
    found = fetched()
    assert (found["state"], found["problems"][0]["code"]) == ("failed", "url_not_allowed")
    assert len(site.requests) == 1


def test_a_certificate_for_another_name_ends_the_connection_before_a_request(world, site, tmp_path, monkeypatch):
    with serving(tmp_path, names=("other.example.test",)) as other:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", other.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        settings = replace(world.settings, remote_hosts=(f"{HOST}:{other.port}",), remote_ca_file=other.ca_file)
        dataset_id = world.begin(other, settings)
        world.run(settings)
        assert world.look(dataset_id)["problems"][0]["code"] == "fetch_failed"
        assert other.requests == []


def test_a_certificate_of_an_unknown_authority_is_not_trusted(fetched, site, world):
    found = fetched(settings=replace(world.settings, remote_ca_file=None))
    assert (found["state"], found["problems"][0]["code"]) == ("failed", "fetch_failed")
    assert site.requests == []


def test_a_name_that_leads_elsewhere_by_now_gets_no_packet(site, world):
    dataset_id = world.begin(site)
    strict = replace(world.settings, remote_networks=())  # the name leads to a loopback address
    world.run(strict)
    found = world.look(dataset_id)
    assert (found["state"], found["problems"][0]["code"]) == ("failed", "url_not_allowed")
    assert site.requests == []
    with pytest.raises(InvalidRequest):
        world.begin(site, strict)


def test_too_many_bytes_are_refused_by_their_declaration_or_as_they_come(fetched, site, allowing):
    small = replace(allowing, max_dataset_bytes=40_000)
    for declares in (True, False):
        site.declares_length = declares
        found = fetched(settings=small)
        assert (found["state"], found["problems"][0]["code"]) == ("failed", "body_too_large")
    quota = replace(allowing, max_tenant_dataset_bytes=30_000)
    assert fetched(settings=quota)["problems"][0]["code"] == "quota_exceeded"


def test_a_file_with_another_checksum_than_promised_is_no_data_set(fetched):
    found = fetched(sha256="0" * 64)
    assert (found["state"], found["problems"][0]["code"]) == ("failed", "checksum_mismatch")


def test_what_is_wrong_with_the_file_is_told_as_for_an_upload(fetched, site):
    site.content = b"a,b\n1,2\n3\n"
    found = fetched()
    assert (found["state"], found["problems"][0]["code"]) == ("failed", "ragged_row")
    site.headers = {"Content-Encoding": "gzip"}
    assert fetched()["problems"][0]["code"] == "fetch_failed"


def test_a_trickle_is_cut_off(fetched, site, monkeypatch):
    monkeypatch.setattr(remote_fetch, "PART_SECONDS", -1.0)
    found = fetched()
    assert (found["state"], found["problems"][0]["code"]) == ("failed", "fetch_failed")


class Killed(BaseException):
    """Nothing of ours catches it."""


def dies(*_, **__):
    raise Killed


def test_a_process_that_died_is_followed_by_another_that_goes_on(site, world, monkeypatch):
    dataset_id = world.begin(site)

    def killed_at(module, name):
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(module, name, dies)
            world.turn()
        assert not world.turn()  # the dead one has its lease
        world.expire()

    killed_at(remote_fetch, "_note")
    killed_at(remote_fetch, "complete")
    assert world.look(dataset_id)["fetch"]["received_bytes"] == len(CSV)
    asked = len(site.requests)
    killed_at(preparation, "_prepare")
    assert world.turn()
    assert world.look(dataset_id)["state"] == "ready"
    assert len(site.requests) == asked  # all bytes were there already


def test_one_that_wakes_up_too_late_writes_nothing(site, world, monkeypatch):
    dataset_id = world.begin(site)
    put = remote_fetch._put

    def slow(fetch, number, writer):
        if fetch.epoch == 1 and number == 2:
            world.expire()
            assert world.turn()  # another one does all of it meanwhile
        return put(fetch, number, writer)

    monkeypatch.setattr(remote_fetch, "_put", slow)
    assert world.turn()
    found = world.look(dataset_id)
    assert (found["state"], found["source_sha256"]) == ("ready", hashlib.sha256(CSV).hexdigest())
    with world.database.read_session() as session:
        left = select(func.count()).where(DatasetChunk.dataset_id == dataset_id, DatasetChunk.file.like("part/%"))
        assert session.scalar(left) == 0


def test_a_data_set_that_is_deleted_meanwhile_is_gone(site, world, monkeypatch):
    dataset_id = world.begin(site)
    put = remote_fetch._put
    monkeypatch.setattr(remote_fetch, "_put", lambda *given: world.delete(dataset_id) or put(*given))
    assert world.turn()
    assert not world.turn()


def test_a_fault_of_ours_is_not_repeated_for_ever(fetched, monkeypatch):
    def breaks(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(remote_fetch, "_put", breaks)
    found = fetched()
    assert (found["state"], found["problems"][0]["code"]) == ("failed", "fetch_failed")
    assert "a bug" not in found["problems"][0]["detail"]


def test_nobody_completes_what_is_still_being_fetched(site, world):
    dataset_id = world.begin(site)
    given = {"tenant_id": world.tenant_id, "reader": world.reader, "settings": world.settings}
    with pytest.raises(Conflict):
        preparation.complete(world.database, dataset_id=dataset_id, **given)
    assert world.look(dataset_id)["state"] == "fetching"


def test_a_data_set_that_is_not_fetched_is_never_claimed(world, site):
    plain = {"name": "x", "state": "preparing", "format": "csv", "options": {}}
    with world.database.session() as session:
        session.add(Dataset(id="ds_plain", tenant_id=world.tenant_id, **plain))
    assert not world.turn()


def test_threads_fetch_what_is_due_and_end(world, site, database_url):
    dataset_ids = [world.begin(site) for _ in range(3)]
    fetcher = Fetcher(replace(world.settings, database_url=database_url))
    try:
        for _ in range(2 * AT_ONCE):
            fetcher.tick()
    finally:
        fetcher.close()
    assert [world.look(one)["state"] for one in dataset_ids] == ["ready"] * 3
