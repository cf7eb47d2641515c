"""What every back end of the chunk store does alike: the database, and an object store."""

from __future__ import annotations

import hashlib
import random
import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from services.checkpoints.service import iter_content, restore
from services.checkpoints.writer import Snapshot, store
from services.config import Settings
from services.datasets import service as datasets
from services.datasets.arrivals import arrive
from services.datasets.fetch import fetch
from services.datasets.reader import Reader
from services.datasets.schema import DatasetRequest
from services.datasets.uploads import PartWriter
from services.errors import ChunkCorrupt
from services.storage import chunks
from services.storage.chunks import SMALLEST_OBJECT_BYTES, ChunkRef, collect_garbage
from tests.factories import add_job, claim

DAY = 86_400.0
SIZES = [1, 1_000, SMALLEST_OBJECT_BYTES - 1, SMALLEST_OBJECT_BYTES, 300_000, 1 << 20]
LARGE = SIZES[4]


def made(size, seed=0):
    return random.Random(f"{size}/{seed}").randbytes(size)


def ref(data, offset=0):
    return ChunkRef(hashlib.sha256(data).digest(), offset, len(data))


def put(back, *contents, tenant_id=None):
    with back.database.session() as session:
        chunks.put(session, tenant_id=tenant_id or back.tenant_id, chunks=contents)


def read(back, data, tenant_id=None):
    with back.database.read_session() as session:
        return chunks.read(session, tenant_id=tenant_id or back.tenant_id, ref=ref(data))


def absent(back, *contents):
    names = [ref(data).sha256 for data in contents]
    with back.database.session() as session:
        return chunks.missing(session, tenant_id=back.tenant_id, hashes=names)


def test_what_was_put_is_read(back):
    contents = [made(size) for size in SIZES]
    assert len(absent(back, *contents)) == len(contents)
    put(back, *contents)
    assert [read(back, data) for data in contents] == contents
    assert absent(back, *contents) == set()


def test_a_run_is_read_at_once_and_in_order(back):
    parts, offset, refs = [made(5_000, 1), made(LARGE, 1), made(100, 1), made(LARGE, 2), made(5_000, 1)], 0, []
    for data in parts:
        refs.append(ref(data, offset))
        offset += len(data)
    put(back, *parts)
    [run] = chunks.runs(refs)
    with back.database.read_session() as session:
        assert chunks.read_run(session, tenant_id=back.tenant_id, run=run) == b"".join(parts)


def test_the_same_bytes_are_stored_once_also_within_one_call(back):
    data = made(LARGE)
    put(back, data, data)
    key = back.key(back.tenant_id, ref(data).sha256)
    put(back, data)
    with back.database.read_session() as session:
        assert session.scalar(text("SELECT count(*) FROM chunk")) == 1
    assert back.key(back.tenant_id, ref(data).sha256) == key
    if back.server is not None:
        assert back.server.keys(back.bucket) == [key]


def test_tenants_share_nothing(back):
    data, other = made(LARGE), back.tenant()
    put(back, data)
    with pytest.raises(ChunkCorrupt):
        read(back, data, tenant_id=other)
    put(back, data, tenant_id=other)
    with back.database.session() as session:
        session.execute(text("DELETE FROM chunk WHERE tenant_id = :tenant"), {"tenant": back.tenant_id})
    assert read(back, data, tenant_id=other) == data


@pytest.mark.parametrize("size", [1_000, LARGE])
@pytest.mark.parametrize("change", [None, b"", b"other bytes", "flipped"])
def test_bytes_that_are_gone_or_changed_are_never_returned_and_can_be_stored_again(back, size, change):
    data = made(size)
    put(back, data)
    flipped = bytes([data[0] ^ 1]) + data[1:]
    back.damage(ref(data).sha256, flipped if change == "flipped" else change)
    with pytest.raises(ChunkCorrupt):
        read(back, data)
    with back.database.session() as session:
        chunks.empty_damaged(session, tenant_id=back.tenant_id, sha256=ref(data).sha256)
    assert absent(back, data) == {ref(data).sha256}
    put(back, data)
    assert read(back, data) == data
    assert absent(back, data) == set()


def test_sound_bytes_are_not_emptied(back):
    for size in (1_000, LARGE):
        data = made(size)
        put(back, data)
        with back.database.session() as session:
            chunks.empty_damaged(session, tenant_id=back.tenant_id, sha256=ref(data).sha256)
        assert read(back, data) == data


def test_what_is_rolled_back_was_never_stored(back):
    data = [made(100), made(LARGE)]
    with pytest.raises(RuntimeError), back.database.session() as session:
        chunks.put(session, tenant_id=back.tenant_id, chunks=data)
        raise RuntimeError
    assert len(absent(back, *data)) == 2


def test_many_writers_of_the_same_chunks_store_each_once(back):
    contents = [made(size, seed) for seed in range(6) for size in (200, 70_000)]
    threads = [
        threading.Thread(target=put, args=(back, *random.Random(number).sample(contents, len(contents))))
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert absent(back, *contents) == set()
    assert [read(back, data) for data in contents] == contents
    if back.server is not None:
        assert len(back.server.keys(back.bucket)) == 6


def test_the_collector_takes_what_is_unused_for_a_day_and_nothing_else(back, tmp_path):
    checkpoint(back, tmp_path)
    kept = [bytes(one) for one in hashes(back)]
    unused = [made(100), made(LARGE)]
    put(back, *unused)
    with back.database.session() as session:
        assert collect_garbage(session) == 0
    back.age(DAY + 1)
    again = made(LARGE, 2)
    put(back, again)
    with back.database.session() as session:
        assert collect_garbage(session) == 2
    assert absent(back, *unused) == {ref(data).sha256 for data in unused}
    assert read(back, again) == again
    assert set(kept) <= {bytes(one) for one in hashes(back)}
    if back.server is not None:
        with back.database.read_session() as session:
            rows = session.scalar(text("SELECT count(*) FROM chunk WHERE object IS NOT NULL"))
        assert len(back.server.keys(back.bucket)) == rows


def test_what_somebody_just_asked_for_stays_another_day(back):
    data = made(LARGE)
    put(back, data)
    back.age(DAY + 1)
    assert absent(back, data) == set()
    with back.database.session() as session:
        assert collect_garbage(session) == 0


def test_a_manifest_that_comes_too_late_fails_and_the_bytes_can_be_put_again(back):
    data = made(LARGE)
    put(back, data)
    back.age(DAY + 1)
    with back.database.session() as session:
        assert collect_garbage(session) == 1
    with pytest.raises(IntegrityError), back.database.session() as session:
        refer(session, back, data)
    put(back, data)
    with back.database.session() as session:
        refer(session, back, data)
    assert read(back, data) == data


def test_a_chunk_that_a_manifest_is_about_to_name_is_not_collected(back):
    data = made(LARGE)
    put(back, data)
    back.age(DAY + 1)
    with back.database.session() as writing:
        refer(writing, back, data)
        with back.database.session() as session:
            assert collect_garbage(session) == 0  # its row is locked by the foreign key
    assert read(back, data) == data


def refer(session, back, data):
    """Insert a data set that lists one chunk."""
    name = f"ds_{hashlib.sha256(data).hexdigest()[:8]}"
    session.execute(
        text("INSERT INTO dataset (id, tenant_id, name, format, options) VALUES (:id, :tenant, 'x', 'csv', '{}')"),
        {"id": name, "tenant": back.tenant_id},
    )
    session.execute(
        text("INSERT INTO dataset_chunk VALUES (:id, 'part/1', 0, :tenant, :sha256, 0, :size)"),
        {"id": name, "tenant": back.tenant_id, "sha256": ref(data).sha256, "size": len(data)},
    )


def hashes(back):
    with back.database.read_session() as session:
        return list(session.scalars(text("SELECT sha256 FROM chunk")))


def checkpoint(back, directory: Path, step=1):
    """Store a checkpoint of a job that is claimed; return its id and weights."""
    if step == 1:
        add_job(back.database, back.tenant_id)
        back.owner = claim(back.database)
    folder = directory / f"step-{step}"
    folder.mkdir()
    weights = made(2_500_000, step)
    (folder / "weights.safetensors").write_bytes(b"\0" * 8 + weights)  # an empty header: cut every MiB
    (folder / "state.json").write_text(f'{{"step": {step}}}')
    files = ("weights.safetensors", "state.json")
    snapshot = Snapshot(folder, files, step=step, epoch=1, final=False, metrics={})
    return store(back.database, back.owner, snapshot, keep=3), b"\0" * 8 + weights


def test_a_checkpoint_comes_back_by_range_and_a_resume_skips_a_damaged_one(back, tmp_path):
    first, content = checkpoint(back, tmp_path)
    second, _ = checkpoint(back, tmp_path, step=2)
    for start, end in ((0, len(content)), (1_000_000, 1_100_000), (len(content) - 1, len(content))):
        read = iter_content(back.database, tenant_id=back.tenant_id, checkpoint_id=first, start=start, end=end)
        assert b"".join(read) == content[start:end]
    with back.database.read_session() as session:
        [damaged] = session.scalars(
            text("SELECT chunk_sha256 FROM checkpoint_chunk WHERE checkpoint_id = :id AND offset_bytes = 1048576"),
            {"id": second},
        )
    back.damage(bytes(damaged), b"rotten")
    found, corrupt = restore(back.database, job_id=back.owner.job_id, directory=tmp_path / "resume")
    assert found is not None
    assert (found["id"], corrupt) == (first, [second])
    assert (tmp_path / "resume" / "weights.safetensors").read_bytes() == content


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings("postgresql://unused", "redis://unused", data_dir=tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def reader(settings):
    opened = Reader(settings)
    yield opened
    opened.close()


def test_a_data_set_is_uploaded_read_and_brought_to_a_worker(back, settings, reader, tmp_path):
    lines = b"a,b\n" + b"".join(b"%d,%d\n" % (row, row * row) for row in range(20_000))
    writer = PartWriter(back.database, tenant_id=back.tenant_id)
    writer.take(lines)
    writer.store(last=True)
    request = DatasetRequest.model_validate({"format": "csv"})
    begun = arrive(
        back.database, tenant_id=back.tenant_id, request=request, file=writer, reader=reader, settings=settings
    )
    assert (begun.dataset["state"], begun.dataset["rows"]) == ("ready", 20_000)
    place = {"cache_dir": tmp_path, "cache_bytes": 1 << 30}
    file = fetch(back.database, tenant_id=back.tenant_id, dataset_id=begun.dataset["id"], **place)
    assert hashlib.sha256(file.path.read_bytes()).hexdigest() == begun.dataset["sha256"]
    with back.database.session() as session:
        datasets.delete_dataset(session, tenant_id=back.tenant_id, dataset_id=begun.dataset["id"])
