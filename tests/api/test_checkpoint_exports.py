"""Checkpoints in other formats, their state and all that rebuilds the model, over HTTP."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file
from sqlalchemy import text

from services.checkpoints import service, writer
from services.definition import check
from services.modules.build import build
from tests.factories import RESOLVED, add_job, claim

DOCUMENT = {"model": "Sequential(Linear(4, 8), ReLU(), Linear(8, 2))"}
DATA = {
    "bindings": [{"input": None, "column": "features"}],
    "columns": {"features": {"dtype": "float32", "shape": [4]}},
}


@pytest.fixture
def stored(caller, database, tmp_path):
    torch.manual_seed(0)
    module = build(check(DOCUMENT))
    save_file(module.state_dict(), tmp_path / service.WEIGHTS)
    save_file({"momentum": torch.arange(3.0)}, tmp_path / service.STATE)
    digest = hashlib.sha256((tmp_path / service.STATE).read_bytes()).hexdigest()
    meta = {"sha256": {service.STATE: digest}, "preprocessing": {"features": {"sources": []}}}
    (tmp_path / service.META).write_text(json.dumps(meta))
    add_job(database, caller.tenant_id, priority=50, resolved={**RESOLVED, "definition": DOCUMENT, "data": DATA})
    files = (service.WEIGHTS, service.STATE, service.META)
    snapshot = writer.Snapshot(tmp_path, files, step=10, epoch=1, final=True, metrics={})
    return f"/v1/checkpoints/{writer.store(database, claim(database), snapshot, keep=3)}", module


def test_a_state_dict_file_is_made_once_described_and_sent_with_its_digest(client, stored, tmp_path):
    path, module = stored
    answer = client.get(f"{path}/content?format=torch")
    report = client.get(f"{path}/exports/torch").json()
    assert answer.status_code == 200
    assert report["sha256"] == hashlib.sha256(answer.content).hexdigest() == answer.headers["etag"].strip('"')
    (tmp_path / "model.pt").write_bytes(answer.content)
    loaded = torch.load(tmp_path / "model.pt", weights_only=True)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in module.state_dict().items())
    part = client.get(f"{path}/content?format=torch", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, answer.content[10:20])


def test_onnx_is_converted_by_a_sandboxed_child_and_says_how_exact_it_is(client, stored):
    path, _ = stored
    report = client.get(f"{path}/exports/onnx", timeout=120).json()
    assert (report["format"], report["free_sizes"]) == ("onnx", ["B"])
    assert report["difference"]["max_abs"] < 1e-5
    assert client.get(f"{path}/content?format=onnx").headers["content-length"] == str(report["size_bytes"])


def test_the_state_of_the_optimizer_can_be_had_as_it_was_stored(client, stored):
    path, _ = stored
    tensors = client.get(f"{path}/content?part=state")
    assert b"momentum" in tensors.content
    assert tensors.headers["etag"].strip('"') == hashlib.sha256(tensors.content).hexdigest()
    rest = client.get(f"{path}/content?part=state-json")
    assert rest.headers["content-type"] == "application/json"
    assert rest.json()["sha256"]["state.safetensors"] == tensors.headers["etag"].strip('"')


def test_the_sidecar_has_all_that_rebuilds_the_model(client, stored):
    path, module = stored
    sidecar = client.get(f"{path}/model").json()
    assert sidecar["definition"] == DOCUMENT
    assert sidecar["data"]["fitted"] == {"features": {"sources": []}}
    assert sidecar["inputs"]["features"]["shape"] == ["B", 4]
    rebuilt = build(check(sidecar["definition"]))
    rebuilt.load_state_dict(module.state_dict())
    assert "class " in sidecar["source"] or "Sequential" in sidecar["source"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("content?format=pickle", "literal_error"),
        ("content?format=onnx&part=state", "conflict"),
        ("content?part=all", "literal_error"),
        ("exports/safetensors", "literal_error"),
    ],
)
def test_what_cannot_be_had_is_said(client, stored, problem, query, code):
    path, _ = stored
    assert problem(client.get(f"{path}/{query}"), 422)["errors"][0]["code"] == code


def test_another_tenants_checkpoint_cannot_be_converted(make_caller, stored):
    path, _ = stored
    stranger = make_caller().client
    for tail in ("exports/torch", "content?format=torch", "content?part=state", "model"):
        assert stranger.get(f"{path}/{tail}").status_code == 404


def test_a_checkpoint_is_pinned_and_deleted_over_http(client, database, stored):
    path, _ = stored
    assert client.patch(path, json={"pinned": True}).json()["pinned"] is True
    refused = client.delete(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "checkpoint_in_use")
    with database.session() as session:
        session.execute(text("UPDATE job SET state = 'cancelled'"))
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
