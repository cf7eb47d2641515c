"""Parts in the store: what a kill leaves, what is forgotten, what belongs to whom."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from sqlalchemy import func, select, text

from services.config import Settings
from services.datasets import preparation, service, uploads
from services.datasets.fetch import fetch
from services.datasets.reader import Reader
from services.datasets.schema import DatasetRequest
from services.datasets.uploads import PartWriter
from services.db.dataset_models import Dataset, DatasetChunk
from services.db.models import Chunk
from services.errors import BodyTooLarge, QuotaExceeded, TrainingFailure
from services.storage.chunks import collect_garbage

CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (row, row % 3) for row in range(50_000))


@pytest.fixture(scope="module")
def limits(tmp_path_factory):
    return Settings("postgresql://unused", "redis://unused", data_dir=tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def reader(limits):
    opened = Reader(limits)
    yield opened
    opened.close()


def begin(database, tenant_id, limits, **request):
    wanted = DatasetRequest.model_validate({"format": "csv", **request})
    with database.session() as session:
        return service.begin(session, tenant_id=tenant_id, request=wanted, settings=limits).dataset["id"]


def written(database, tenant_id, content):
    writer = PartWriter(database, tenant_id=tenant_id)
    for start in range(0, len(content), 60_000):
        if writer.take(content[start : start + 60_000]):
            writer.store()
    writer.store(last=True)
    return writer


def put(database, tenant_id, limits, dataset_id, number, content):  # noqa: PLR0917
    writer = written(database, tenant_id, content)
    with database.session() as session:
        return uploads.put_part(
            session, tenant_id=tenant_id, dataset_id=dataset_id, number=number, written=writer, settings=limits
        )


def ready(database, tenant_id, limits, reader, content=CSV):
    dataset_id = begin(database, tenant_id, limits)
    put(database, tenant_id, limits, dataset_id, 1, content)
    return preparation.complete(database, tenant_id=tenant_id, dataset_id=dataset_id, reader=reader, settings=limits)


def count(database, *where):
    with database.read_session() as session:
        return session.scalar(select(func.count()).where(*where))


def test_a_part_is_cut_into_chunks_of_a_mebibyte_and_holds_no_more_in_memory(database, tenant_id):
    content = bytes(range(256)) * 10_000
    writer = written(database, tenant_id, content)
    assert [ref.size_bytes for ref in writer.refs] == [1 << 20, 1 << 20, len(content) - (2 << 20)]
    assert writer.sha256 == hashlib.sha256(content).hexdigest()
    assert len(writer._buffer) == 0


def test_bytes_that_no_part_lists_are_collected_after_a_day_and_the_others_stay(database, tenant_id, limits, reader):
    dataset = ready(database, tenant_id, limits, reader)
    written(database, tenant_id, b"the part that a kill cut off")
    with database.session() as session:
        session.execute(text("UPDATE chunk SET created_at = now() - interval '2 days'"))
        collect_garbage(session)
    kept = count(database, Chunk.tenant_id == tenant_id)
    assert kept == count(database, DatasetChunk.dataset_id == dataset["id"]) > 0
    with database.session() as session:
        service.delete_dataset(session, tenant_id=tenant_id, dataset_id=dataset["id"])
        collect_garbage(session)
    assert count(database, Chunk.tenant_id == tenant_id) == 0


def test_an_upload_that_nobody_goes_on_with_is_deleted(database, tenant_id, limits, reader):
    old, fresh = begin(database, tenant_id, limits), begin(database, tenant_id, limits)
    done = ready(database, tenant_id, limits, reader)["id"]
    with database.session() as session:
        session.execute(
            text("UPDATE dataset SET updated_at = now() - interval '8 days' WHERE id IN (:old, :done)"),
            {"old": old, "done": done},
        )
        uploads.delete_abandoned(session, older_than_seconds=7 * 86_400)
    with database.read_session() as session:
        left = set(session.scalars(select(Dataset.id).where(Dataset.tenant_id == tenant_id)))
    assert left == {fresh, done}


def test_a_process_that_died_while_it_prepared_leaves_what_the_next_one_finishes(database, tenant_id, limits, reader):
    dataset_id = begin(database, tenant_id, limits)
    put(database, tenant_id, limits, dataset_id, 1, CSV)

    class Killed(Reader):
        def read(self, folder, *, format_, options):
            raise KeyboardInterrupt

    dying = Killed(limits)
    with pytest.raises(KeyboardInterrupt):
        preparation.complete(database, tenant_id=tenant_id, dataset_id=dataset_id, reader=dying, settings=limits)
    with database.session() as session:  # a kill -9 has no chance to set the state back
        session.execute(text("UPDATE dataset SET state = 'preparing' WHERE id = :id"), {"id": dataset_id})
    done = preparation.complete(database, tenant_id=tenant_id, dataset_id=dataset_id, reader=reader, settings=limits)
    assert (done["state"], done["rows"]) == ("ready", 50_000)
    assert list((limits.scratch_dir / "uploads").iterdir()) == []


def test_sizes_are_bounded_for_a_data_set_and_for_a_tenant(database, tenant_id, limits):
    small = replace(limits, max_dataset_bytes=1000)
    dataset_id = begin(database, tenant_id, small)
    put(database, tenant_id, small, dataset_id, 1, b"x" * 600)
    with pytest.raises(BodyTooLarge):
        put(database, tenant_id, small, dataset_id, 2, b"x" * 600)
    put(database, tenant_id, small, dataset_id, 1, b"y" * 900)
    full = replace(limits, max_tenant_dataset_bytes=1000)
    with pytest.raises(QuotaExceeded):
        put(database, tenant_id, full, begin(database, tenant_id, limits), 1, b"x" * 200)
    with pytest.raises(QuotaExceeded):
        begin(database, tenant_id, full, size_bytes=500)


def test_a_worker_fetches_verifies_and_evicts(database, tenant_id, limits, reader, tmp_path):
    first = ready(database, tenant_id, limits, reader)
    second = ready(database, tenant_id, limits, reader, CSV + b"1,1\n")

    def get(dataset, cache_bytes=1 << 30):
        return fetch(
            database, tenant_id=tenant_id, dataset_id=dataset["id"], cache_dir=tmp_path, cache_bytes=cache_bytes
        )

    file = get(first)
    assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256 == first["sha256"]
    file.path.write_bytes(b"damaged")
    assert get(first).path.stat().st_size == first["size_bytes"]
    get(second, cache_bytes=1)
    assert [path.stem for path in tmp_path.glob("datasets/*/*.safetensors")] == [second["sha256"]]
    with database.session() as session:
        session.execute(
            text("UPDATE chunk SET data = set_byte(data, 5, 1 + get_byte(data, 5) % 200) WHERE tenant_id = :tenant"),
            {"tenant": tenant_id},
        )
    with pytest.raises(TrainingFailure) as caught:
        get(first)
    assert (caught.value.code, list(tmp_path.rglob("*.partial"))) == ("dataset_corrupt", [])
    with database.session() as session:
        service.delete_dataset(session, tenant_id=tenant_id, dataset_id=first["id"])
    with pytest.raises(TrainingFailure) as caught:
        get(first)
    assert caught.value.code == "dataset_deleted"
