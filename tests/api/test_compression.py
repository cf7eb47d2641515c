"""zstd and gzip for text in one piece; never for checkpoints and streams; tags that tell the forms apart."""

import gzip
import os

import pytest
import zstandard

from api.compression import MIN_BYTES
from tests.api.stored import add_checkpoint
from tests.factories import add_job

GZIP = {"Accept-Encoding": "gzip"}
EVERY = {"Accept-Encoding": "gzip, zstd"}
PLAIN = {"Accept-Encoding": "identity"}
UNPACK = {"gzip": gzip.decompress, "zstd": zstandard.decompress}
BOTH = pytest.mark.parametrize("coding", UNPACK)


def raw(client, path, **headers):
    """GET without the client unpacking anything."""
    with client.stream("GET", path, headers=headers) as answer:
        return answer, b"".join(answer.iter_raw())


@BOTH
def test_long_json_is_compressed_for_who_takes_it(client, coding):
    plain, content = raw(client, "/openapi.json", **PLAIN)
    packed, fewer = raw(client, "/openapi.json", **{"Accept-Encoding": coding})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == coding
    assert packed.headers["content-length"] == str(len(fewer))
    assert len(fewer) < len(content) / 4
    assert UNPACK[coding](fewer) == content
    assert "Accept-Encoding" in packed.headers["vary"]


@pytest.mark.parametrize(
    "header", ["", "br", "gzip;q=0", "identity", "*;q=0", "deflate, br;q=0.5", "zstd;q=0", "identity, gzip;q=0.5"]
)
def test_it_is_not_for_who_does_not(client, header):
    answer, _ = raw(client, "/openapi.json", **{"Accept-Encoding": header})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("br;q=0.9, gzip;q=0.1", "gzip"),
        ("*", "gzip"),
        ("zstd;q=0.5, gzip;q=0.8", "gzip"),
        ("zstd;q=0, *", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=0.5, zstd;q=0.8, identity;q=0.1", "zstd"),
        ("zstd, gzip;q=0", "zstd"),
        ("zstd;q=0.3", "zstd"),
    ],
)
def test_it_is_for_who_does_as_it_would_rather_have_it(client, header, coding):
    answer, _ = raw(client, "/openapi.json", **{"Accept-Encoding": header})
    assert answer.headers["content-encoding"] == coding


def test_what_fits_a_packet_stays_as_it_is(client):
    for path in ("/v1/jobs", "/v1/nothing", "/healthz"):
        answer, content = raw(client, path, **GZIP)
        assert len(content) < MIN_BYTES
        assert "content-encoding" not in answer.headers


@BOTH
def test_the_two_forms_have_two_tags_and_each_is_known_again(client, coding):
    taken = {"Accept-Encoding": coding}
    plain, packed = (client.get("/v1/catalog", headers=headers) for headers in (PLAIN, taken))
    assert packed.content == plain.content
    assert packed.headers["etag"] == plain.headers["etag"][:-1] + f'-{coding}"'
    for tag, headers in ((plain.headers["etag"], PLAIN), (packed.headers["etag"], taken)):
        unchanged = client.get("/v1/catalog", headers={**headers, "If-None-Match": tag})
        assert (unchanged.status_code, unchanged.headers["etag"]) == (304, tag)
        assert "content-encoding" not in unchanged.headers


@pytest.mark.parametrize("now", ["identity", "gzip", "zstd"])
def test_what_came_compressed_is_known_to_who_takes_another_form_now(client, now):
    packed, other = (
        client.get("/v1/catalog", headers={"Accept-Encoding": coding}).headers["etag"] for coding in ("gzip", now)
    )
    unchanged = client.get("/v1/catalog", headers={"Accept-Encoding": now, "If-None-Match": packed})
    assert (unchanged.status_code, unchanged.headers["etag"]) == (304, other)


@BOTH
def test_head_says_what_get_would(client, coding):
    taken = {"Accept-Encoding": coding}
    got, head = raw(client, "/v1/catalog", **taken)[0], client.head("/v1/catalog", headers=taken)
    for name in ("content-encoding", "content-length", "etag", "vary"):
        assert head.headers[name] == got.headers[name]


def test_a_checkpoint_and_a_stream_are_never_compressed(client, caller, database):
    content = bytes(50_000)
    path = f"/v1/checkpoints/{add_checkpoint(database, caller.tenant_id, content)}/content"
    answer, received = raw(client, path, **EVERY)
    assert received == content
    assert "content-encoding" not in answer.headers
    assert not answer.headers["etag"].endswith(('-gzip"', '-zstd"'))
    part, received = raw(client, path, Range="bytes=0-9999", **EVERY)
    assert (part.status_code, len(received)) == (206, 10_000)
    job = add_job(database, caller.tenant_id, name=os.urandom(40).hex(), state="succeeded")
    events, _ = raw(client, f"/v1/jobs/{job}/events", Accept="text/event-stream", **EVERY)
    assert events.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in events.headers
