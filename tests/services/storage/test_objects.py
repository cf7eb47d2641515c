"""What only an object store can do to chunks: be away, keep objects that nobody owns, be switched on and off."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from services.config import Settings, load_settings
from services.db.engine import Database
from services.errors import ChunkCorrupt, StoreUnavailable
from services.storage import chunks
from services.storage.objects import ObjectName, ObjectStore
from services.storage.orphans import collect_orphans
from services.storage.place import open_database
from tests.object_store import ObjectServer
from tests.services.storage.test_conformance import DAY, LARGE, absent, made, put, read, ref
from tests.stack import free_port
from worker.collecting import Collector
from worker.recovery import collect_objects


def collect(back, *, young=True, **given):
    """Delete objects without a row, as if a day had passed."""
    older = {"older_than_seconds": -10} if young else {}
    return collect_orphans(back.database, **older, **given)


def test_large_chunks_are_objects_named_by_tenant_and_sha256_and_small_ones_are_rows(objects):
    data = made(LARGE)
    put(objects, data, made(100))
    [key] = objects.server.keys(objects.bucket)
    assert key.startswith(f"chunks/{objects.tenant_id}/{ref(data).sha256.hex()}/")
    assert objects.server.client.get_object(Bucket=objects.bucket, Key=key)["Body"].read() == data
    with objects.database.read_session() as session:
        assert sorted(session.execute(text("SELECT size_bytes, data IS NULL FROM chunk")).all()) == [
            (100, False), (LARGE, True),
        ]  # fmt: skip


@pytest.fixture
def away(objects, database_url):
    """The same database with a store that nobody answers for."""
    access = replace(objects.server.access, endpoint=f"http://127.0.0.1:{free_port()}")
    place = replace(objects.server.place(), access=access)
    database = Database(database_url, objects=ObjectStore(place))
    yield replace(objects, database=database)
    database.close()


@pytest.fixture
def nowhere(objects, database_url):
    """The same database with a bucket that does not exist."""
    database = Database(database_url, objects=ObjectStore(replace(objects.server.place(), bucket="no-such-bucket")))
    yield replace(objects, database=database)
    database.close()


def test_a_store_that_is_away_or_wrongly_named_is_no_damage_and_nothing_is_half_stored(objects, away, nowhere):
    data, new = made(LARGE), made(LARGE, 1)
    put(objects, data)
    for broken in (away, nowhere):
        with pytest.raises(StoreUnavailable):
            read(broken, data)
        with pytest.raises(StoreUnavailable):
            put(broken, new, made(100))
        with pytest.raises(StoreUnavailable), broken.database.session() as session:
            chunks.empty_damaged(session, tenant_id=objects.tenant_id, sha256=ref(data).sha256)
        with pytest.raises(StoreUnavailable):
            broken.database.objects.check()
        assert collect_objects(broken.database, after="chunks/x") == "chunks/x"
    assert len(absent(objects, new, made(100))) == 2
    assert read(objects, data) == data


def test_an_old_chunk_is_collected_while_the_store_is_away_and_its_object_later(objects, away):
    data = made(LARGE)
    put(objects, data)
    objects.age(DAY + 1)
    with away.database.session() as session:
        assert chunks.collect_garbage(session) == 1
    assert len(objects.server.keys(objects.bucket)) == 1
    assert collect(objects) == (1, None)
    assert objects.server.keys(objects.bucket) == []


class Killed(BaseException):
    """Nothing of ours catches it."""


def test_objects_of_a_writer_that_died_before_its_commit_are_collected_a_day_later(objects):
    data, kept = made(LARGE), made(LARGE, 1)
    put(objects, kept)
    with pytest.raises(Killed), objects.database.session() as session:
        chunks.put(session, tenant_id=objects.tenant_id, chunks=[data])
        raise Killed
    assert len(objects.server.keys(objects.bucket)) == 2
    assert collect(objects, young=False) == (0, None)  # it might still commit
    assert collect(objects) == (1, None)
    assert objects.server.keys(objects.bucket) == [objects.key(objects.tenant_id, ref(kept).sha256)]
    put(objects, data)
    assert read(objects, data) == data


def test_an_object_that_is_deleted_late_is_not_that_of_the_chunk_that_came_back(objects, monkeypatch):
    data, late = made(LARGE), []
    put(objects, data)
    objects.age(DAY + 1)
    with monkeypatch.context() as patched:
        patched.setattr(objects.database.objects, "delete", late.extend)
        with objects.database.session() as session:
            assert chunks.collect_garbage(session) == 1
    assert len(late) == 1
    put(objects, data)
    objects.database.objects.delete(late)  # the collector wakes up
    assert read(objects, data) == data
    assert len(objects.server.keys(objects.bucket)) == 1


def test_looking_for_orphans_goes_on_page_by_page_and_leaves_alone_what_is_not_ours(objects):
    for seed in range(5):
        put(objects, made(70_000, seed))
    strangers = [f"chunks/ten_other/{'0' * 64}/word", "chunks/readme.txt", f"chunks/{objects.tenant_id}/x/y", "top"]
    lost = ObjectName(objects.tenant_id, b"\xff" * 32, "lost").key("chunks/")
    for key in [*strangers, lost]:
        objects.server.put(objects.bucket, key, b"?")
    seen, after, gone = 0, None, 0
    while seen == 0 or after is not None:
        count, after = collect(objects, limit=3, after=after)
        gone, seen = gone + count, seen + 1
    assert (gone, seen) == (1, 3)
    left = objects.server.keys(objects.bucket)
    assert set(strangers) <= set(left)
    assert len(left) == len(strangers) + 5


def test_switching_the_store_on_and_off_loses_nothing(objects, database):
    inside, apart = made(LARGE), made(LARGE, 1)
    plain = replace(objects, database=database)
    put(plain, inside)
    put(objects, inside, apart)
    assert (read(objects, inside), read(objects, apart)) == (inside, apart)
    assert len(objects.server.keys(objects.bucket)) == 1
    assert read(plain, inside) == inside
    with pytest.raises(StoreUnavailable):
        read(plain, apart)
    objects.age(DAY + 1)
    with plain.database.session() as session:
        assert chunks.collect_garbage(session) == 2
    with pytest.raises(ChunkCorrupt):
        read(objects, apart)
    assert collect(objects) == (1, None)


def test_a_store_that_is_killed_and_comes_back_empty_is_damage_of_those_chunks_alone(database_url, tmp_path, objects):
    server = ObjectServer(tmp_path / "log")
    server.start()
    try:
        place = server.place()
        database = Database(database_url, objects=ObjectStore(place))
        mine = replace(objects, database=database, server=server, bucket=place.bucket)
        data, small = made(LARGE), made(100)
        put(mine, data, small)
        server.kill()
        with pytest.raises(StoreUnavailable):
            read(mine, data)
        assert read(mine, small) == small
        server.start()
        with pytest.raises(StoreUnavailable):  # no bucket: somebody's mistake, not a lost chunk
            read(mine, data)
        server.client.create_bucket(Bucket=place.bucket)
        with pytest.raises(ChunkCorrupt):
            read(mine, data)
        database.close()
    finally:
        server.kill()


BASE = {"DATABASE_URL": "postgresql://x/y", "REDIS_URL": "redis://x"}


def test_the_place_comes_from_the_settings_and_secrets_are_not_shown():
    said = {
        **BASE,
        "MODELWRIGHT_OBJECT_STORE": "s3://chunks-of-all/some/prefix/",
        "MODELWRIGHT_OBJECT_STORE_ENDPOINT": "https://s3.example.org",
        "MODELWRIGHT_OBJECT_STORE_ACCESS_KEY_ID": "writer",
        "MODELWRIGHT_OBJECT_STORE_SECRET_ACCESS_KEY": "hidden",
        "MODELWRIGHT_OBJECT_STORE_REGION": "eu-central-1",
    }
    settings = load_settings(said)
    place = settings.object_store
    assert place is not None
    assert (place.bucket, place.prefix, place.access.region) == ("chunks-of-all", "some/prefix/", "eu-central-1")
    assert "hidden" not in repr(settings)
    opened = open_database(settings, pool_size=1)
    assert opened.objects is not None
    opened.close()
    assert open_database(load_settings(BASE), pool_size=1).objects is None
    assert load_settings({**BASE, "MODELWRIGHT_OBJECT_STORE": "s3://chunks"}).object_store.prefix == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"MODELWRIGHT_OBJECT_STORE": "chunks"},
        {"MODELWRIGHT_OBJECT_STORE": "s3://Chunks/x"},
        {"MODELWRIGHT_OBJECT_STORE": "https://chunks/x"},
        {"MODELWRIGHT_OBJECT_STORE": "s3://chunks", "MODELWRIGHT_OBJECT_STORE_ENDPOINT": "s3.example.org"},
        {"MODELWRIGHT_OBJECT_STORE": "s3://chunks", "MODELWRIGHT_OBJECT_STORE_ACCESS_KEY_ID": "half"},
        {"MODELWRIGHT_OBJECT_STORE": "s3://chunks", "MODELWRIGHT_OBJECT_STORE_REDIRECT": "https://s3.example.org"},
        {"MODELWRIGHT_OBJECT_STORE": "s3://chunks/all", "MODELWRIGHT_S3_BUCKETS": "data,chunks/public"},
        {"MODELWRIGHT_S3_BUCKETS": "data,*"},
        {"MODELWRIGHT_S3_SECRET_ACCESS_KEY": "half"},
        {"MODELWRIGHT_S3_ENDPOINT": "file:///x"},
    ],
)
def test_settings_that_do_not_say_what_they_should_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(reversed(wrong))):
        load_settings({**BASE, **wrong})


def test_no_settings_no_store():
    assert Settings("postgresql://", "redis://").object_store is None
    assert Settings("postgresql://", "redis://").s3_buckets == ()


def test_the_scheduler_collects_rows_and_objects_in_a_thread(objects, database_url):
    data = made(LARGE)
    put(objects, data)
    objects.age(DAY + 1)
    place = replace(objects.server.place(), bucket=objects.bucket)
    collector = Collector(Settings(database_url, "redis://unused", object_store=place))
    collector.tick()
    collector.close()
    assert absent(objects, data) == {ref(data).sha256}
    assert objects.server.keys(objects.bucket) == []
