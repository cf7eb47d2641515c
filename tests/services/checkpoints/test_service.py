"""Checkpoints: whole or not at all, streamed by range, restored from the newest sound one."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from sqlalchemy import text

from services.checkpoints.service import fetch_weights, get_checkpoint, iter_content, list_checkpoints, restore
from services.checkpoints.writer import Snapshot, store
from services.db.engine import Database
from services.errors import ChunkCorrupt, Fenced, NotFound
from services.identifiers import new_id
from services.jobs.claims import Claim
from services.storage.chunks import collect_garbage
from tests.factories import add_job, claim
from worker.recovery import sweep


@pytest.fixture(autouse=True)
def _empty_queue(database: Database) -> None:
    with database.session() as session:
        session.execute(text("DELETE FROM checkpoint; DELETE FROM chunk; DELETE FROM job"))


@pytest.fixture
def owner(database: Database, tenant_id: str) -> Claim:
    add_job(database, tenant_id)
    return claim(database)


def snapshot(directory: Path, step: int, *, final: bool = False, best: bool = False) -> Snapshot:
    folder = directory / f"step-{step}"
    folder.mkdir()
    rng = np.random.default_rng(step)
    save_file({"weight": rng.random(400_000), "bias": rng.random(10)}, folder / "weights.safetensors")
    save_file({"momentum": rng.random(1_000)}, folder / "state.safetensors")
    (folder / "state.json").write_text(f'{{"step": {step}}}')
    files = ("weights.safetensors", "state.safetensors", "state.json")
    return Snapshot(folder, files, step=step, epoch=1, final=final, metrics={"validation/loss": 0.5}, best=best)


def put(database: Database, owner: Claim, made: Snapshot, keep: int = 3) -> str:
    return store(database, owner, made, keep=keep)


def test_a_stored_checkpoint_comes_back_byte_for_byte(database: Database, owner: Claim, tmp_path: Path) -> None:
    made = snapshot(tmp_path, 1)
    checkpoint_id = put(database, owner, made)
    content = (made.directory / "weights.safetensors").read_bytes()
    with database.read_session() as session:
        shown = get_checkpoint(session, tenant_id=owner.tenant_id, checkpoint_id=checkpoint_id)
    assert shown["sha256"] == hashlib.sha256(content).hexdigest()
    assert shown["size_bytes"] == len(content)
    assert b"".join(_read(database, owner, checkpoint_id, 0, len(content))) == content


@pytest.mark.parametrize(("start", "end"), [(0, 1), (5, 1_048_580), (1_048_576, 1_048_577), (3_000_000, 3_200_000)])
def test_any_range_can_be_read(database: Database, owner: Claim, tmp_path: Path, start: int, end: int) -> None:
    made = snapshot(tmp_path, 1)
    checkpoint_id = put(database, owner, made)
    content = (made.directory / "weights.safetensors").read_bytes()
    assert b"".join(_read(database, owner, checkpoint_id, start, end)) == content[start:end]


def test_only_the_newest_are_kept_and_the_collector_takes_what_nothing_needs(
    database: Database, owner: Claim, tmp_path: Path
) -> None:
    for step in range(1, 6):
        put(database, owner, snapshot(tmp_path, step), keep=2)
    with database.read_session() as session:
        page = list_checkpoints(session, tenant_id=owner.tenant_id, job_id=owner.job_id)
    assert [one["step"] for one in page.data] == [5, 4]
    with database.session() as session:
        assert collect_garbage(session) == 0  # younger than a day
        assert collect_garbage(session, older_than_seconds=-1) > 0
    with database.read_session() as session:
        assert collect_garbage(session, older_than_seconds=-1) == 0
    content = b"".join(_read(database, owner, page.data[0]["id"], 0, page.data[0]["size_bytes"]))
    assert hashlib.sha256(content).hexdigest() == page.data[0]["sha256"]


def test_a_zombies_checkpoint_is_never_listed(database: Database, tenant_id: str, tmp_path: Path) -> None:
    add_job(database, tenant_id)
    zombie = claim(database, lease_seconds=-1)
    sweep(database)
    with pytest.raises(Fenced):
        put(database, zombie, snapshot(tmp_path, 1))
    with database.read_session() as session:
        assert list_checkpoints(session, tenant_id=tenant_id, job_id=zombie.job_id).data == []


def test_storing_the_same_step_twice_makes_one_checkpoint(database: Database, owner: Claim, tmp_path: Path) -> None:
    made = snapshot(tmp_path, 1)
    assert put(database, owner, made) == put(database, owner, made)


def test_a_changed_byte_ends_the_stream_before_it_is_sent(database: Database, owner: Claim, tmp_path: Path) -> None:
    made = snapshot(tmp_path, 1)
    checkpoint_id = put(database, owner, made)
    _flip(database, checkpoint_id, position=2)
    content = (made.directory / "weights.safetensors").read_bytes()
    received = b""
    with pytest.raises(ChunkCorrupt):
        for piece in _read(database, owner, checkpoint_id, 0, len(content)):
            received += piece
    assert 0 < len(received) < len(content)
    assert content.startswith(received)


def test_a_resume_falls_back_to_the_newest_sound_checkpoint_and_says_so(
    database: Database, owner: Claim, tmp_path: Path
) -> None:
    put(database, owner, snapshot(tmp_path, 1))
    newest = put(database, owner, snapshot(tmp_path, 2))
    _flip(database, newest, position=2)  # the first two have equal headers, which are stored once
    found, corrupt = restore(database, job_id=owner.job_id, directory=tmp_path / "resume")
    assert found is not None
    assert (found["step"], corrupt) == (1, [newest])
    for name in ("weights.safetensors", "state.safetensors", "state.json"):
        assert (tmp_path / "resume" / name).read_bytes() == (tmp_path / "step-1" / name).read_bytes()


def test_another_tenants_checkpoint_does_not_exist(database: Database, owner: Claim, tmp_path: Path) -> None:
    checkpoint_id = put(database, owner, snapshot(tmp_path, 1))
    with database.read_session() as session, pytest.raises(NotFound):
        get_checkpoint(session, tenant_id=new_id("ten"), checkpoint_id=checkpoint_id)


def _read(database: Database, owner: Claim, checkpoint_id: str, start: int, end: int):
    return iter_content(database, tenant_id=owner.tenant_id, checkpoint_id=checkpoint_id, start=start, end=end)


def _flip(database: Database, checkpoint_id: str, position: int) -> None:
    with database.session() as session:
        session.execute(
            text(
                "UPDATE chunk SET data = set_byte(data, 0, get_byte(data, 0) # 1) FROM checkpoint_chunk c"
                " WHERE c.checkpoint_id = :id AND c.file = 'weights.safetensors' AND c.position = :position"
                " AND chunk.sha256 = c.chunk_sha256"
            ),
            {"id": checkpoint_id, "position": position},
        )


def test_the_best_checkpoint_outlives_the_last_ones_until_a_better_one_comes(
    database: Database, owner: Claim, tmp_path: Path
) -> None:
    def kept() -> dict[int, bool]:
        with database.read_session() as session:
            page = list_checkpoints(session, tenant_id=owner.tenant_id, job_id=owner.job_id)
        return {row["step"]: row["best"] for row in page.data}

    for step in range(1, 6):
        put(database, owner, snapshot(tmp_path, step, best=step == 2), keep=2)
    assert kept() == {2: True, 4: False, 5: False}
    put(database, owner, snapshot(tmp_path, 6, best=True), keep=2)
    assert kept() == {5: False, 6: True}


def test_weights_are_fetched_whole_or_not_at_all(database: Database, owner: Claim, tmp_path: Path) -> None:
    made = snapshot(tmp_path, 1)
    checkpoint_id = put(database, owner, made)
    file = tmp_path / "initial" / "weights.safetensors"
    fetch_weights(database, tenant_id=owner.tenant_id, checkpoint_id=checkpoint_id, path=file)
    assert file.read_bytes() == (made.directory / "weights.safetensors").read_bytes()
    with pytest.raises(NotFound):
        fetch_weights(database, tenant_id=owner.tenant_id, checkpoint_id=new_id("ckpt"), path=file)
    with database.session() as session:
        session.execute(text("UPDATE chunk SET data = 'x'"))
    with pytest.raises(ChunkCorrupt):
        fetch_weights(database, tenant_id=owner.tenant_id, checkpoint_id=checkpoint_id, path=file)
