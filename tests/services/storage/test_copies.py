"""Copies of whole files in the object store: made when they are asked for, found at a signed address, gone in a day."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from services.errors import ChunkCorrupt
from services.storage import copies
from services.storage.copies import Copies, WholeFile
from services.storage.objects import ObjectStore
from services.storage.orphans import collect_orphans
from tests.stack import until

CONTENT = os.urandom(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def whole(tenant_id, *pieces, **other):
    made = WholeFile(tenant_id, SHA256, len(CONTENT), "ckpt_1.safetensors", "application/x-test", lambda: iter(pieces))
    return replace(made, **other)


@pytest.fixture
def made(objects, tmp_path, monkeypatch):
    """Copies in a bucket of this test's own, of files of any size."""
    monkeypatch.setattr(copies, "SMALLEST_BYTES", 1)
    monkeypatch.setattr(copies, "_half_day", lambda: 7)  # it may end while a test runs
    store = ObjectStore(replace(objects.database.objects._place, redirect=objects.server.url))
    with closing(store), closing(Copies(store, tmp_path / "room")) as opened:
        yield opened


def there(objects):
    return [key for key in objects.server.keys(objects.bucket) if "/file-" in key]


def test_who_comes_first_is_served_and_later_ones_get_an_address_that_gives_the_file(made, objects, tmp_path):
    file = whole(objects.tenant_id, CONTENT[:100_000], CONTENT[100_000:])
    assert made.find_address(file) is None
    until(lambda: made.find_address(file) is not None, seconds=60)
    address = made.find_address(file)
    got = httpx.get(address)
    assert (got.status_code, got.content) == (200, CONTENT)
    assert got.headers["content-disposition"] == 'attachment; filename="ckpt_1.safetensors"'
    assert got.headers["content-type"] == "application/x-test"
    part = httpx.get(address, headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, CONTENT[1000:2000])
    signed = parse_qs(urlsplit(address).query)
    assert signed["X-Amz-Expires"] == ["60"]
    assert signed["X-Amz-SignedHeaders"] == ["host"]
    assert len(there(objects)) == 1
    assert list((tmp_path / "room").iterdir()) == []
    assert made.find_address(replace(file, tenant_id=objects.tenant())) is None  # another tenant has none of it


def test_a_copy_is_what_the_collector_of_orphans_deletes_after_a_day(made, objects):
    file = whole(objects.tenant_id, CONTENT)
    until(lambda: made.find_address(file) is not None, seconds=60)
    assert collect_orphans(objects.database) == (0, None)
    assert collect_orphans(objects.database, older_than_seconds=-10) == (1, None)
    assert there(objects) == []
    assert made.find_address(file) is None


def test_it_is_handed_out_in_its_half_day_alone(made, objects, monkeypatch):
    file = whole(objects.tenant_id, CONTENT)
    until(lambda: made.find_address(file) is not None, seconds=60)
    monkeypatch.setattr(copies, "_half_day", lambda: 1)
    assert made.find_address(file) is None
    until(lambda: len(there(objects)) == 2, seconds=60)


def fails():
    yield CONTENT[:1000]
    raise ChunkCorrupt("It is corrupt.")


@pytest.mark.parametrize("pieces", [lambda: iter([CONTENT[:-1]]), lambda: iter([CONTENT, b"x"]), fails])
def test_bytes_that_are_not_those_of_the_file_become_no_copy_and_the_next_file_does(made, objects, pieces):
    wrong = whole(objects.tenant_id, pieces=pieces)
    other = os.urandom(1000)
    right = whole(objects.tenant_id, other, sha256=hashlib.sha256(other).hexdigest(), size_bytes=1000)
    assert made.find_address(wrong) is None
    until(lambda: made.find_address(right) is not None, seconds=60)
    assert [hashlib.sha256(other).hexdigest() in key for key in there(objects)] == [True]


def test_small_and_enormous_files_have_none_nor_has_anything_after_the_end(made, objects, monkeypatch):
    file = whole(objects.tenant_id, CONTENT)
    with monkeypatch.context() as limits:
        limits.setattr(copies, "SMALLEST_BYTES", len(CONTENT) + 1)
        assert made.find_address(file) is None
    with monkeypatch.context() as limits:
        limits.setattr(copies, "LARGEST_BYTES", len(CONTENT) - 1)
        assert made.find_address(file) is None
    made.close()
    assert made.find_address(file) is None
    assert there(objects) == []


def test_while_the_store_is_away_there_is_none(made, objects, monkeypatch, tmp_path):
    place = replace(objects.database.objects._place, bucket="no-such-bucket", redirect=objects.server.url)
    with closing(ObjectStore(place)) as nowhere, closing(Copies(nowhere, tmp_path)) as opened:
        assert opened.find_address(whole(objects.tenant_id, CONTENT)) is None
