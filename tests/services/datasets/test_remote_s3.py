"""An object of an S3 service is fetched whole, the version that was meant, and only where the operator allows it."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from services import s3
from services.config import Settings
from services.datasets import remote_fetch, remote_s3, service
from services.datasets.reader import Reader
from services.datasets.remote_address import UrlNotAllowed
from services.datasets.remote_fetch import fetch_next
from services.datasets.remote_s3 import read_s3_url
from services.datasets.schema import DatasetRequest
from services.errors import BodyTooLarge, InvalidRequest
from services.s3_settings import S3Access
from tests.object_store import ObjectServer
from tests.stack import free_port

CSV = b"length,kind\n" + b"".join(b"%d,%d\n" % (row, row % 3) for row in range(12_000))  # about 90 kB
KEY = "folder/fish über.csv"
DENY_ALL = """{"Version": "2012-10-17", "Statement": [
    {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::%s", "arn:aws:s3:::%s/*"]}]}"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def reader(data_dir):
    opened = Reader(Settings("postgresql://unused", "redis://unused", data_dir=data_dir))
    yield opened
    opened.close()


class World:
    """A tenant, a bucket, the database, and whoever fetches."""

    def __init__(self, database, tenant_id, server, reader, data_dir):
        self.database, self.tenant_id, self.server, self.reader = database, tenant_id, server, reader
        self.bucket = server.bucket()
        self.url = f"s3://{self.bucket}/{KEY}"
        buckets = {"s3_buckets": (self.bucket,), "s3": server.access}
        self.settings = Settings("postgresql://unused", "redis://unused", data_dir=data_dir, **buckets)

    def put(self, content=CSV, **more):
        self.server.put(self.bucket, KEY, content, **more)

    def post(self, settings=None, **request):
        wanted = DatasetRequest.model_validate({"format": "csv", "url": self.url, **request})
        with self.database.session() as session:
            return service.begin(session, tenant_id=self.tenant_id, request=wanted, settings=settings or self.settings)

    def begin(self, settings=None, **request):
        begun = self.post(settings, **request)
        assert (begun.created, begun.dataset["state"]) == (True, "fetching")
        return begun.dataset["id"]

    def refused(self, settings=None, **request):
        with pytest.raises(InvalidRequest) as caught:
            self.post(settings, **request)
        [problem] = caught.value.problems
        assert problem.pointer == "/url"
        return problem

    def look(self, dataset_id):
        with self.database.read_session() as session:
            return service.get_dataset(session, tenant_id=self.tenant_id, dataset_id=dataset_id)

    def run(self, settings=None, turns=20):
        """Take turns until nothing is due."""
        return sum(1 for _ in range(turns) if fetch_next(self.database, settings or self.settings, self.reader))

    def ended(self, dataset_id, settings=None):
        self.run(settings)
        return self.look(dataset_id)

    def code(self, dataset_id, settings=None):
        found = self.ended(dataset_id, settings)
        assert found["state"] == "failed"
        return found["problems"][0]["code"]


@pytest.fixture
def served(reader, data_dir):
    return reader, data_dir


@pytest.fixture
def world(database, tenant_id, object_server, served, quickly):
    with database.session() as session:
        session.execute(text("DELETE FROM dataset"))
    return World(database, tenant_id, object_server, *served)


@pytest.fixture
def quickly(monkeypatch):
    """Small parts, and no pause between tries."""
    monkeypatch.setattr(remote_fetch, "PART_BYTES", 20_000)
    monkeypatch.setattr(remote_s3, "_PIECE_BYTES", 10_000)
    monkeypatch.setattr(remote_fetch, "_FIRST_PAUSE_SECONDS", -1.0)


def test_an_object_is_a_data_set(world):
    world.put()
    found = world.ended(world.begin())
    assert (found["state"], found["rows"], found["problems"]) == ("ready", 12_000, [])
    assert (found["source_sha256"], found["source_size_bytes"]) == (hashlib.sha256(CSV).hexdigest(), len(CSV))
    etag = f'"{hashlib.md5(CSV).hexdigest()}"'
    size = {"received_bytes": len(CSV), "size_bytes": len(CSV)}
    assert found["fetch"] == {"url": world.url, "version": etag, **size, "tries": 0, "error": None}


def test_the_same_object_is_recognised_by_its_version(world):
    world.put()
    dataset_id = world.begin()
    assert (world.post().created, world.post().dataset["id"]) == (False, dataset_id)  # on its way
    world.run()
    assert world.post().dataset["id"] == dataset_id
    assert world.post(target="kind").created  # the same bytes, read in another way
    world.put(CSV + b"7,1\n")
    changed = world.begin()
    assert world.ended(changed)["rows"] == 12_001


def test_a_failed_fetch_is_not_the_answer_to_the_next_request(world):
    world.put(b"a,b\n1,2\n3\n")
    first = world.begin()
    assert world.code(first) == "ragged_row"
    assert world.begin() != first


def test_an_object_that_changes_before_or_while_it_is_read_is_refused_never_mixed(world, monkeypatch):
    world.put()
    before = world.begin()
    world.put(b"length,kind\n7,8\n")
    assert world.code(before) == "source_changed"
    world.put()
    begun = world.begin()
    put = remote_fetch._put

    def cut(fetch, number, writer):
        size = put(fetch, number, writer)
        if number == 2:
            world.put(CSV.replace(b"1", b"2"))  # of the same size
            raise remote_fetch.FetchFailed("cut", passing=True)
        return size

    monkeypatch.setattr(remote_fetch, "_put", cut)
    world.run(turns=1)
    assert world.look(begun)["fetch"]["received_bytes"] == 40_000
    assert world.code(begun) == "source_changed"
    with world.database.read_session() as session:
        assert session.scalar(text("SELECT count(*) FROM dataset_chunk")) == 0


def test_of_a_bucket_that_keeps_versions_the_one_that_was_meant_is_read(world):
    world.server.client.put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration={"Status": "Enabled"})
    world.put()
    dataset_id = world.begin()
    world.put(b"length,kind\n7,8\n")
    assert world.ended(dataset_id)["source_sha256"] == hashlib.sha256(CSV).hexdigest()


def test_a_cut_is_taken_up_where_it_was(world, monkeypatch):
    world.put()
    dataset_id = world.begin()
    put = remote_fetch._put
    monkeypatch.setattr(remote_fetch, "_put", lambda *given: put(*given) and broken())

    def broken():
        raise remote_fetch.FetchFailed("cut", passing=True)

    world.run(turns=1)
    have = world.look(dataset_id)["fetch"]["received_bytes"]
    assert have == 20_000
    monkeypatch.setattr(remote_fetch, "_put", put)
    asked = []
    real = s3.open_client(world.settings.s3).get_object
    monkeypatch.setattr(
        s3.open_client(world.settings.s3), "get_object", lambda **given: asked.append(given) or real(**given)
    )
    found = world.ended(dataset_id)
    assert (found["state"], found["source_sha256"]) == ("ready", hashlib.sha256(CSV).hexdigest())
    assert [one["Range"] for one in asked] == [f"bytes={have}-"]
    assert asked[0]["IfMatch"] == found["fetch"]["version"]


def test_what_is_not_there_or_not_for_us_is_said_at_once_and_when_it_is_so_later(world):
    assert world.refused().code == "source_not_found"
    world.put()
    gone, denied = world.begin(), world.begin(target="kind")
    world.server.client.delete_object(Bucket=world.bucket, Key=KEY)
    with world.database.session() as session:  # one turn at a time
        session.execute(text("UPDATE dataset SET fetch_at = now() + interval '1 day' WHERE id = :id"), {"id": denied})
    assert world.code(gone) == "source_not_found"
    world.put()
    policy = DENY_ALL % (world.bucket, world.bucket)
    world.server.client.put_bucket_policy(Bucket=world.bucket, Policy=policy)
    assert world.refused(name="again").code == "source_access_denied"
    with world.database.session() as session:
        session.execute(text("UPDATE dataset SET fetch_at = now() WHERE id = :id"), {"id": denied})
    assert world.code(denied) == "source_access_denied"
    elsewhere = replace(world.settings, s3_buckets=("no-such-bucket",))
    assert world.refused(elsewhere, url="s3://no-such-bucket/x").code == "source_not_found"


def test_too_many_bytes_are_refused_at_once_or_as_they_come(world):
    world.put()
    small = replace(world.settings, max_dataset_bytes=40_000)
    with pytest.raises(BodyTooLarge):
        world.post(small)
    assert world.code(world.begin(), small) == "body_too_large"
    quota = replace(world.settings, max_tenant_dataset_bytes=30_000)
    assert world.code(world.begin(target="kind"), quota) == "quota_exceeded"
    world.put(b"")
    assert world.refused().code == "empty_dataset"


def test_what_is_stored_compressed_is_refused(world):
    world.put(ContentEncoding="gzip")
    found = world.ended(world.begin())
    assert (found["state"], found["problems"][0]["code"]) == ("failed", "fetch_failed")
    assert "compressed" in found["problems"][0]["detail"]


def test_a_checksum_that_was_promised_is_compared(world):
    world.put()
    assert world.code(world.begin(sha256="0" * 64)) == "checksum_mismatch"


def test_without_a_service_the_data_set_waits_for_it_and_is_given_up_in_the_end(world):
    nobody = replace(world.settings, s3=S3Access(endpoint=f"http://127.0.0.1:{free_port()}"))
    dataset_id = world.begin(nobody)
    world.run(nobody, turns=1)
    assert world.look(dataset_id)["fetch"]["error"] == "The object store does not answer (EndpointConnectionError)."
    assert world.code(dataset_id, nobody) == "fetch_failed"
    assert world.look(dataset_id)["fetch"]["tries"] == remote_fetch.MAX_TRIES - 1


def test_a_service_that_is_killed_in_mid_download_and_comes_back_is_read_on(
    database, tenant_id, reader, tmp_path, monkeypatch
):
    monkeypatch.setattr(remote_fetch, "_FIRST_PAUSE_SECONDS", -1.0)
    monkeypatch.setattr(remote_fetch, "PART_BYTES", 2 << 20)
    row = b"1234567,2\n" * 100
    content = b"length,kind\n" + row * 24_000  # 24 MB: far more than sockets hold
    server = ObjectServer(tmp_path / "log")
    server.start()
    try:
        world = World(database, tenant_id, server, reader, tmp_path)
        world.put(content)
        dataset_id = world.begin(sha256=hashlib.sha256(content).hexdigest())
        put = remote_fetch._put

        def killing(fetch, number, writer):
            size = put(fetch, number, writer)
            if number == 2:
                server.kill()
            return size

        monkeypatch.setattr(remote_fetch, "_put", killing)
        world.run(turns=2)  # it breaks; then nobody answers
        cut = world.look(dataset_id)
        assert cut["state"] == "fetching"
        assert 4 << 20 <= cut["fetch"]["received_bytes"] < len(content)
        assert "EndpointConnectionError" in cut["fetch"]["error"]
        monkeypatch.setattr(remote_fetch, "_put", put)
        server.start()
        server.client.create_bucket(Bucket=world.bucket)
        world.put(content)
        monkeypatch.setattr(remote_fetch, "_start_over", lambda *_: pytest.fail("began again"))
        monkeypatch.setattr(remote_fetch, "complete", lambda *_, **__: None)  # reading so many rows takes a minute
        world.run(turns=1)
        assert world.look(dataset_id)["fetch"]["received_bytes"] == len(content)
    finally:
        server.kill()


ALLOWED = ("data", "shared/public", "own/{tenant}/")


@pytest.mark.parametrize(
    "url",
    ["s3://data-set/x", "s3://data-set/a/b?c#d%20", "s3://shared/public/x", "s3://own/ten_1/x", "s3://own/ten_1/ü"],
)
def test_objects_below_what_the_operator_names_are_allowed(url):
    settings = Settings("postgresql://", "redis://", s3_buckets=("data-set", *ALLOWED[1:]))
    place = read_s3_url(url, settings, tenant_id="ten_1")
    assert f"s3://{place.bucket}/{place.key}" == url


@pytest.mark.parametrize(
    "url",
    [
        "s3://other/x", "s3://data", "s3://data/", "s3:///x", "s3://", "s3://data2/x", "s3://Data/x", "s3://da/x",
        "s3://shared/x", "s3://shared/publicity/x", "s3://shared/public", "s3://shared/public/../x",
        "s3://shared/./public/x", "s3://own/ten_2/x", "s3://own/ten_1", "s3://own/ten_12/x", "s3://own/{tenant}/x",
        "s3://data/a\nb", "s3://data/a\x7f", "s3://data/" + "ü" * 513, "s3://user@data/x", "s3://data:9/x",
        "s3://arn:aws:s3:us-east-1:1:accesspoint/data/x", "S3://data/x",
    ],
)  # fmt: skip
def test_anything_else_is_refused_and_nothing_is_sent(url, monkeypatch):
    monkeypatch.setattr(s3, "open_client", lambda *_: pytest.fail("asked"))
    settings = Settings("postgresql://", "redis://", s3_buckets=ALLOWED, s3=S3Access(endpoint="http://127.0.0.1:9"))
    for given in (settings, replace(settings, s3_buckets=())):
        with pytest.raises(UrlNotAllowed):
            remote_s3.look(url, given, tenant_id="ten_1")


def test_a_bucket_that_is_no_longer_allowed_gets_no_request(world, monkeypatch):
    world.put()
    dataset_id = world.begin()
    monkeypatch.setattr(s3, "open_client", lambda *_: pytest.fail("asked"))
    assert world.code(dataset_id, replace(world.settings, s3_buckets=("another",))) == "url_not_allowed"


def test_the_client_knows_what_the_settings_say_and_nothing_of_the_machine(world, monkeypatch):
    world.put(ACL="public-read")  # else nothing is to be had unsigned
    for name, value in {
        "AWS_PROFILE": "nobody", "AWS_CONFIG_FILE": "/nowhere", "AWS_ACCESS_KEY_ID": "of the machine",
        "AWS_SECRET_ACCESS_KEY": "of the machine", "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_CA_BUNDLE": "/nowhere", "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9", "AWS_REGION": "nowhere-1", "AWS_DEFAULT_REGION": "nowhere-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    unsigned = S3Access(endpoint=world.server.url, region="eu-central-1")
    sent = []
    for access in (unsigned, replace(unsigned, access_key_id="ours", secret_access_key="hidden")):
        client = s3.open_client(access)
        client.meta.events.register("before-send.s3", lambda request, **_: sent.append(request))
        assert client.head_object(Bucket=world.bucket, Key=KEY)["ContentLength"] == len(CSV)
    assert "Authorization" not in sent[0].headers
    assert b"ours" in sent[1].headers["Authorization"]
    assert b"eu-central-1" in sent[1].headers["Authorization"]
    assert not any("of the machine" in str(value) for request in sent for value in request.headers.values())
    assert "hidden" not in repr(access)


def test_several_threads_fetch_with_one_client(world):
    world.put()
    ids = [world.begin(target=target) for target in (None, "kind", "length")]
    threads = [threading.Thread(target=world.run) for _ in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {world.look(one)["state"] for one in ids} == {"ready"}
