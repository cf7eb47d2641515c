"""The API with its chunks in an object store: downloads and uploads as ever, 503 while the store is away."""

import hashlib
from contextlib import closing
from dataclasses import replace

import httpx
import pytest

from api.app import create_app
from modelwright import Client
from services import health
from services.checkpoints import service, writer
from services.storage import copies
from services.storage.place import open_database
from tests.api.server import serving
from tests.api.test_checkpoints import MIB, file_of
from tests.factories import add_job, claim
from tests.object_store import ObjectServer
from tests.stack import until

CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (row, row * row) for row in range(20_000))
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def server(tmp_path):
    started = ObjectServer(tmp_path / "objects.log")
    started.start()
    yield started
    started.kill()


@pytest.fixture
def settings(api_settings, server):
    return replace(api_settings, object_store=server.place())


@pytest.fixture
def client(settings, caller):
    headers = {"Authorization": f"Bearer {caller.key}"}
    with serving(create_app(settings)) as url, httpx.Client(base_url=url, headers=headers, timeout=120) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch):
    """What ``/readyz`` says of the store is of this moment, as it may not be elsewhere."""
    monkeypatch.setattr(health, "STORE_FRESH_SECONDS", 0)


@pytest.fixture
def checkpoint(settings, caller, tmp_path):
    """A checkpoint that a worker stored there: its path, and its bytes."""
    content = file_of(2 * MIB + 12_345)
    with closing(open_database(settings, pool_size=1)) as database:
        add_job(database, caller.tenant_id, priority=60)
        folder = tmp_path / "made"
        folder.mkdir()
        (folder / service.WEIGHTS).write_bytes(content)
        snapshot = writer.Snapshot(folder, (service.WEIGHTS,), step=10, epoch=1, final=False, metrics={})
        return f"/v1/checkpoints/{writer.store(database, claim(database), snapshot, keep=3)}", content


def store(client):
    """Return what ``/readyz`` says of the object store."""
    said = client.get("/readyz").json()["components"]["object_store"]
    return said["status"], said["detail"]


def test_bytes_come_from_the_store_and_while_it_is_away_callers_are_told_to_come_back(
    client, checkpoint, server, settings, problem
):
    path, content = checkpoint
    until(lambda: store(client) == ("ok", "The object store answers."), seconds=60)
    answer = client.get(f"{path}/content")
    assert (answer.status_code, answer.content) == (200, content)
    part = client.get(f"{path}/content", headers={"Range": "bytes=1000000-1100000"})
    assert (part.status_code, part.content) == (206, content[1_000_000:1_100_001])
    sent = client.post("/v1/datasets?format=csv", content=CSV, headers=BYTES)
    assert (sent.status_code, sent.json()["source_sha256"]) == (201, hashlib.sha256(CSV).hexdigest())
    assert len(server.keys(settings.object_store.bucket)) >= 3 + 2

    server.kill()
    for refused in (
        client.get(f"{path}/content"),
        client.post("/v1/datasets?format=csv", content=CSV + b"1,2\n", headers=BYTES),
    ):
        assert problem(refused, 503)["code"] == "unavailable"
        assert int(refused.headers["Retry-After"]) >= 1
    assert client.get(path).status_code == 200  # what needs no bytes is there
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert store(client)[0] == "degraded"
    assert store(client)[1].startswith("The object store does not answer: ")

    server.start()
    until(lambda: store(client)[1].startswith("The object store has no such bucket: "), seconds=60)
    server.client.create_bucket(Bucket=settings.object_store.bucket)  # empty: the objects are lost
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"{path}/content")


@pytest.fixture
def redirecting(settings, server, caller, monkeypatch):
    """The API as its operator wants it to send clients to the store; its address, and who asks it."""
    monkeypatch.setattr(copies, "SMALLEST_BYTES", 1 << 20)
    monkeypatch.setattr(copies, "_half_day", lambda: 7)  # it may end while a test runs
    there = replace(settings, object_store=replace(settings.object_store, redirect=server.url))
    headers = {"Authorization": f"Bearer {caller.key}"}
    with serving(create_app(there)) as url, httpx.Client(base_url=url, headers=headers, timeout=120) as opened:
        yield opened


def test_a_client_is_sent_to_the_store_for_what_it_has_a_copy_of(redirecting, checkpoint, problem, server, settings):
    path, content = checkpoint
    first = redirecting.get(f"{path}/content")
    assert (first.status_code, first.content) == (200, content)
    until(lambda: redirecting.get(f"{path}/content").status_code == 307, seconds=60)
    sent = redirecting.get(f"{path}/content")
    assert (sent.content, sent.headers["cache-control"]) == (b"", "no-store")
    assert sent.headers["location"].startswith(f"{server.url}/{settings.object_store.bucket}/")
    assert httpx.get(sent.headers["location"]).content == content
    part = redirecting.get(f"{path}/content", headers={"Range": "bytes=5-1000004"}, follow_redirects=True)
    assert (part.status_code, part.content, len(part.history)) == (206, content[5:1_000_005], 1)
    assert "authorization" not in part.request.headers

    head = redirecting.head(f"{path}/content")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(content)))
    unchanged = redirecting.get(f"{path}/content", headers={"If-None-Match": head.headers["etag"]})
    assert unchanged.status_code == 304
    stale = redirecting.get(f"{path}/content", headers={"Range": "bytes=5-9", "If-Range": '"other"'})
    assert (stale.status_code, stale.content) == (200, content)
    beyond = redirecting.get(f"{path}/content", headers={"Range": f"bytes={len(content)}-"})
    assert problem(beyond, 416)["code"] == "range_not_satisfiable"

    [copy] = [key for key in server.keys(settings.object_store.bucket) if "/file-" in key]
    server.client.delete_object(Bucket=settings.object_store.bucket, Key=copy)
    again = redirecting.get(f"{path}/content")
    assert (again.status_code, again.content) == (200, content)


def test_the_python_client_follows_and_goes_on_where_a_cut_download_stopped(redirecting, checkpoint, caller, tmp_path):
    path, content = checkpoint
    until(lambda: redirecting.get(f"{path}/content").status_code == 307, seconds=60)
    identifier, sha256 = path.rpartition("/")[2], hashlib.sha256(content).hexdigest()
    (tmp_path / f".weights.{sha256[:12]}.part").write_bytes(content[:1_500_000])
    seen = []
    with Client(str(redirecting.base_url), caller.key) as opened:
        opened.download(identifier, tmp_path / "weights", progress=lambda have, total: seen.append(have))
    assert (tmp_path / "weights").read_bytes() == content
    assert min(seen) > 1_500_000


def test_by_default_nobody_is_sent_anywhere(client, checkpoint, server, settings, monkeypatch):
    monkeypatch.setattr(copies, "SMALLEST_BYTES", 1)
    path, content = checkpoint
    assert [client.get(f"{path}/content").content for _ in range(2)] == [content] * 2
    assert [key for key in server.keys(settings.object_store.bucket) if "/file-" in key] == []
