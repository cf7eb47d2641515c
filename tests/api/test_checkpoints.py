"""Downloads over a real socket: whole, in part, conditional, and cut off when a stored byte has changed."""

import base64
import hashlib
import os
import threading
import time

import httpx
import psutil
import pytest
from sqlalchemy import text

from services.checkpoints import service, writer
from services.identifiers import new_id
from services.storage import chunks
from tests.api.server import connected
from tests.factories import add_job, claim

MIB = 1 << 20


@pytest.fixture
def add_checkpoint(database, tmp_path):
    def add(tenant_id, content):
        add_job(database, tenant_id, priority=50)
        owned = claim(database)
        directory = tmp_path / os.urandom(4).hex()
        directory.mkdir()
        # Not a safetensors name inside: cut every 1 MiB, which is all that a download sees of it.
        (directory / service.WEIGHTS).write_bytes(content)
        snapshot = writer.Snapshot(directory, (service.WEIGHTS,), step=10, epoch=1, final=False, metrics={"loss": 0.5})
        return writer.store(database, owned, snapshot, keep=3)

    return add


def file_of(size):
    """A safetensors file of one uint8 tensor, as the writer expects it, ``size`` bytes in all."""
    header = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}'
    length = 128
    data = size - 8 - length
    filled = header % (data, data)
    return length.to_bytes(8, "little") + filled.ljust(length) + os.urandom(data)


@pytest.fixture
def stored(caller, add_checkpoint):
    content = file_of(3 * MIB + 12_345)
    identifier = add_checkpoint(caller.tenant_id, content)
    return f"/v1/checkpoints/{identifier}/content", content


def test_a_checkpoint_is_listed_and_described(caller, add_checkpoint):
    content = file_of(5000)
    identifier = add_checkpoint(caller.tenant_id, content)
    view = caller.client.get(f"/v1/checkpoints/{identifier}").json()
    assert (view["sha256"], view["size_bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    listed = caller.client.get(f"/v1/jobs/{view['job_id']}/checkpoints").json()
    assert listed == {"object": "list", "data": [view], "has_more": False, "last_id": identifier}


def test_the_whole_file_comes_with_everything_needed_to_trust_it(client, stored):
    path, content = stored
    answer = client.get(path)
    digest = hashlib.sha256(content)
    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["etag"] == f'"{digest.hexdigest()}"'
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].endswith('.safetensors"')
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_head_says_the_same_without_the_bytes(client, stored):
    path, _ = stored
    whole, head = client.get(path), client.head(path, headers={"Range": "bytes=0-9"})
    assert head.status_code == 200
    assert head.content == b""
    for name in ("content-length", "etag", "repr-digest", "accept-ranges", "content-disposition"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("first", "last"), [(0, 0), (0, MIB - 1), (MIB - 1, MIB), (100, 2 * MIB + 100), (3 * MIB, None), (None, 77)]
)
def test_one_range_is_206(client, stored, first, last):
    path, content = stored
    answer = client.get(
        path, headers={"Range": f"bytes={'' if first is None else first}-{'' if last is None else last}"}
    )
    start = len(content) - last if first is None else first
    end = len(content) if first is None or last is None else last + 1
    assert answer.status_code == 206
    assert answer.content == content[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(content)}"
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["repr-digest"] == client.head(path).headers["repr-digest"]


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "bytes=" + ",".join(["0-0"] * 10_000), "bytes=9-2", "pages=1-2"])
def test_several_ranges_and_nonsense_get_the_whole(client, stored, header):
    path, content = stored
    answer = client.get(path, headers={"Range": header})
    assert (answer.status_code, len(answer.content)) == (200, len(content))
    assert "content-range" not in answer.headers


def test_a_range_past_the_end_is_416_with_the_size(client, stored, problem):
    path, content = stored
    answer = client.get(path, headers={"Range": f"bytes={len(content)}-"})
    assert problem(answer, 416)["code"] == "range_not_satisfiable"
    assert answer.headers["content-range"] == f"bytes */{len(content)}"


def test_if_range_and_if_none_match(client, stored):
    path, content = stored
    tag = client.head(path).headers["etag"]
    part = {"Range": "bytes=0-9"}
    assert client.get(path, headers={**part, "If-Range": tag}).status_code == 206
    for stale in (f"W/{tag}", '"other"', "Mon, 23 Nov 2026 04:00:00 GMT"):
        answer = client.get(path, headers={**part, "If-Range": stale})
        assert (answer.status_code, len(answer.content)) == (200, len(content))
    unchanged = client.get(path, headers={**part, "If-None-Match": f'"x", W/{tag}'})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200


def test_another_tenants_checkpoint_answers_exactly_like_an_absent_one(make_caller, stored):
    stranger = make_caller().client
    path, _ = stored
    for theirs, absent in (
        (path, f"/v1/checkpoints/{new_id('ckpt')}/content"),
        (path.removesuffix("/content"), f"/v1/checkpoints/{new_id('ckpt')}"),
    ):
        answers = [stranger.get(theirs), stranger.get(absent)]
        assert [answer.status_code for answer in answers] == [404, 404]
        texts = [answer.text.replace(answer.headers["x-request-id"], "") for answer in answers]
        assert texts[0] == texts[1]


def test_other_formats_are_refused(client, stored, problem):
    assert problem(client.get(f"{stored[0]}?format=pickle"), 422)["errors"][0]["parameter"] == "format"
    assert client.get(f"{stored[0]}?format=safetensors").status_code == 200


@pytest.mark.parametrize("damage", ["UPDATE chunk SET data = set_byte(data, 7, get_byte(data, 7) # 1)", "DELETE FROM"])
@pytest.mark.parametrize("position", [0, 2])
def test_a_damaged_chunk_cuts_the_connection_and_what_came_before_is_good(database, client, stored, damage, position):
    path, content = stored
    identifier = path.split("/")[3]
    with database.session() as session:
        where = (
            "WHERE sha256 = (SELECT chunk_sha256 FROM checkpoint_chunk WHERE checkpoint_id = :id AND position = :at)"
        )
        if damage.startswith("DELETE"):
            session.execute(text("SET session_replication_role = replica"))  # past the foreign key, as lost pages would
            damage = "DELETE FROM chunk"
        session.execute(text(f"{damage} {where}"), {"id": identifier, "at": position})
    received = bytearray()
    with pytest.raises(httpx.RemoteProtocolError), client.stream("GET", path) as answer:
        assert answer.status_code == 200
        for part in answer.iter_bytes():
            received += part
    assert bytes(received) == content[: len(received)]
    assert len(received) < len(content)
    good = client.get(path, headers={"Range": "bytes=1048600-1048700"})
    assert (good.status_code, good.content) == (206, content[1048600:1048701])


def test_a_large_file_goes_through_in_constant_memory(caller, add_checkpoint):
    content = file_of(48 * MIB)
    path = f"/v1/checkpoints/{add_checkpoint(caller.tenant_id, content)}/content"
    digest, process, peak = hashlib.sha256(), psutil.Process(), 0
    before = process.memory_info().rss
    with caller.client.stream("GET", path) as answer:
        for part in answer.iter_bytes(1 << 16):
            digest.update(part)
            peak = max(peak, process.memory_info().rss)
    assert digest.digest() == hashlib.sha256(content).digest()
    assert peak - before < 24 * MIB


def test_a_client_that_leaves_stops_the_reading(caller, add_checkpoint, url, monkeypatch):
    reads = []
    read = chunks.read_run
    monkeypatch.setattr(chunks, "read_run", lambda *arguments, **named: reads.append(1) or read(*arguments, **named))
    path = f"/v1/checkpoints/{add_checkpoint(caller.tenant_id, file_of(48 * MIB))}/content"
    with connected(url) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caller.key}\r\n\r\n".encode())
        sock.recv(1000)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        seen = len(reads)
        time.sleep(0.3)
        if len(reads) == seen:
            break
    assert len(reads) < 40


def test_downloads_run_side_by_side(caller, stored):
    path, content = stored
    expected, seen = hashlib.sha256(content).digest(), []

    def download():
        seen.append(hashlib.sha256(caller.client.get(path).content).digest())

    threads = [threading.Thread(target=download) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == [expected] * 20
