"""An edit's report names a checkpoint's tensors."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from services.checkpoints.writer import Snapshot, store
from services.config import Settings
from services.db.engine import Database
from services.errors import InvalidRequest
from services.identifiers import new_id
from services.models.edits import edit_model
from services.models.service import create_model
from services.preflight import Preflight
from tests.factories import add_job, claim

OLD = {"format": "model/1", "model": "Sequential(Linear(4, 3), ReLU(), Linear(3, 2))"}
EDIT = {"operations": [{"op": "add", "path": "", "module": "Flatten()", "at": 0}, {"op": "remove", "path": "3"}]}


@pytest.fixture
def preflight(settings: Settings):
    opened = Preflight(settings)
    yield opened
    opened.close()


def test_the_tensors_of_a_checkpoint_are_named_old_and_new(
    database: Database, tenant_id: str, preflight: Preflight, tmp_path: Path
) -> None:
    with database.session() as session:
        old = create_model(session, tenant_id=tenant_id, document=OLD, preflight=preflight).model
    checkpoint = _checkpoint(database, tenant_id, old["sha256"], tmp_path)
    with database.session() as session:
        made = edit_model(
            session,
            tenant_id=tenant_id,
            model_id=old["id"],
            body={**EDIT, "checkpoint": checkpoint},
            preflight=preflight,
        )
    assert made["model"]["parameters"]["total"] == 4 * 3 + 3
    assert made["weights"]["carried_tensors"] == {"1.weight": "0.weight", "1.bias": "0.bias"}
    assert made["weights"]["left_tensors"] == ["2.bias", "2.weight"]


def test_a_checkpoint_of_another_model_or_of_nobody_is_refused(
    database: Database, tenant_id: str, preflight: Preflight, tmp_path: Path
) -> None:
    with database.session() as session:
        old = create_model(session, tenant_id=tenant_id, document=OLD, preflight=preflight).model
    other = _checkpoint(database, tenant_id, "0" * 64, tmp_path)
    for checkpoint, code in ((other, "checkpoint_mismatch"), (new_id("ckpt"), "unknown_checkpoint")):
        with database.session() as session, pytest.raises(InvalidRequest) as caught:
            edit_model(
                session,
                tenant_id=tenant_id,
                model_id=old["id"],
                body={**EDIT, "checkpoint": checkpoint},
                preflight=preflight,
            )
        assert (caught.value.code, caught.value.problems[0].pointer) == (code, "/checkpoint")


def _checkpoint(database: Database, tenant_id: str, definition_sha256: str, folder: Path) -> str:
    add_job(database, tenant_id, definition_sha256=definition_sha256, priority=9)
    names = {"0.weight": (3, 4), "0.bias": (3,), "2.weight": (2, 3), "2.bias": (2,)}
    save_file(
        {name: np.zeros(shape, dtype=np.float32) for name, shape in names.items()}, folder / "weights.safetensors"
    )
    snapshot = Snapshot(folder, ("weights.safetensors",), step=1, epoch=1, final=True, metrics={})
    return store(database, claim(database), snapshot, keep=1)
