"""Every route of the service has a method of the client: each method is called, and what it would send is looked at."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modelwright import Client
from modelwright.transport import Transport

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text(encoding="utf-8"))
METHODS = ("get", "post", "put", "patch", "delete")
OPERATIONS = sorted((verb.upper(), path) for path, one in DOCUMENT["paths"].items() for verb in one if verb in METHODS)
JOB = {"model": "Linear(1, 1)"}
PLACES: dict[str, object] = {
    "id": "ds_1",
    "state": "uploading",
    "checkpoint_id": "ckpt_1",
    "file_name": "x",
    "sha256": "0",
    "links": {"parts": "/v1/datasets/ds_1/parts", "complete": "/v1/datasets/ds_1/complete"},
}

CALLS = {
    "GET /readyz": lambda c: c.readiness(),
    "GET /v1/audit": lambda c: list(c.audit()),
    "GET /v1/catalog": lambda c: c.catalog(),
    "GET /v1/catalog/{name}": lambda c: c.catalog_entry("Linear"),
    "GET /v1/schema/model.json": lambda c: c.model_schema(),
    "GET /v1/checkpoints/{checkpoint_id}": lambda c: c.get_checkpoint("ckpt_1"),
    "PATCH /v1/checkpoints/{checkpoint_id}": lambda c: c.pin_checkpoint("ckpt_1"),
    "DELETE /v1/checkpoints/{checkpoint_id}": lambda c: c.delete_checkpoint("ckpt_1"),
    "GET /v1/checkpoints/{checkpoint_id}/content": lambda c: c.download("ckpt_1", "/nowhere/file"),
    "GET /v1/checkpoints/{checkpoint_id}/exports/{format}": lambda c: c.export("ckpt_1", "onnx"),
    "GET /v1/checkpoints/{checkpoint_id}/model": lambda c: c.checkpoint_model("ckpt_1"),
    "POST /v1/checkpoints/{checkpoint_id}/predict": lambda c: c.predict("ckpt_1", {"x": [1]}),
    "GET /v1/datasets": lambda c: list(c.datasets()),
    "POST /v1/datasets": lambda c: c.create_dataset({"x": [1]}),
    "GET /v1/datasets/{dataset_id}": lambda c: c.get_dataset("ds_1"),
    "DELETE /v1/datasets/{dataset_id}": lambda c: c.delete_dataset("ds_1"),
    "GET /v1/datasets/{dataset_id}/preview": lambda c: c.preview_dataset("ds_1"),
    "GET /v1/datasets/{dataset_id}/parts": lambda c: c.upload_dataset(__file__, format="text"),
    "PUT /v1/datasets/{dataset_id}/parts/{number}": lambda c: c.upload_dataset(__file__, format="text"),
    "POST /v1/datasets/{dataset_id}/complete": lambda c: c.upload_dataset(__file__, format="text"),
    "POST /v1/graphs": lambda c: c.graph(JOB),
    "POST /v1/graphs/capture": lambda c: c.capture(JOB),
    "POST /v1/graphs/compare": lambda c: c.compare(JOB),
    "POST /v1/graphs/diff": lambda c: c.graph_diff(JOB, [{}]),
    "GET /v1/jobs": lambda c: list(c.list_jobs()),
    "POST /v1/jobs": lambda c: c.submit(JOB),
    "GET /v1/jobs/{job_id}": lambda c: c.get_job("job_1"),
    "PATCH /v1/jobs/{job_id}": lambda c: c.change_job("job_1", priority=1),
    "POST /v1/jobs/{job_id}/cancel": lambda c: c.cancel("job_1"),
    "POST /v1/jobs/{job_id}/pause": lambda c: c.pause("job_1"),
    "POST /v1/jobs/{job_id}/resume": lambda c: c.resume("job_1"),
    "POST /v1/jobs/{job_id}/retry": lambda c: c.retry("job_1"),
    "POST /v1/jobs/{job_id}/fork": lambda c: c.fork("job_1"),
    "GET /v1/jobs/{job_id}/checkpoints": lambda c: list(c.checkpoints("job_1")),
    "GET /v1/jobs/{job_id}/events": lambda c: list(c.events("job_1")),
    "GET /v1/jobs/{job_id}/logs": lambda c: list(c.logs("job_1")),
    "GET /v1/jobs/{job_id}/metrics": lambda c: c.metrics("job_1"),
    "GET /v1/keys": lambda c: list(c.keys()),
    "POST /v1/keys": lambda c: c.create_key(["jobs:read"]),
    "GET /v1/keys/self": lambda c: c.own_key(),
    "GET /v1/keys/{key_id}": lambda c: c.get_key("key_1"),
    "POST /v1/keys/{key_id}/revoke": lambda c: c.revoke_key("key_1"),
    "POST /v1/keys/{key_id}/rotate": lambda c: c.rotate_key("key_1"),
    "GET /v1/models": lambda c: list(c.list_models()),
    "POST /v1/models": lambda c: c.create_model("Linear(1, 1)"),
    "POST /v1/models/validate": lambda c: c.validate_model("Linear(1, 1)"),
    "GET /v1/models/{model_id}": lambda c: c.get_model("mdl_1"),
    "POST /v1/models/{model_id}/edit": lambda c: c.edit_model("mdl_1", []),
    "GET /v1/models/{model_id}/graph": lambda c: c.model_graph("mdl_1"),
    "GET /v1/models/{model_id}/source": lambda c: c.model_source("mdl_1"),
    "GET /v1/models/{model_id}/summary": lambda c: c.model_summary("mdl_1"),
    "GET /v1/queue": lambda c: list(c.queue()),
    "GET /v1/sweeps": lambda c: list(c.sweeps()),
    "POST /v1/sweeps": lambda c: c.sweep({}),
    "GET /v1/sweeps/{sweep_id}": lambda c: c.get_sweep("swp_1"),
    "POST /v1/sweeps/{sweep_id}/cancel": lambda c: c.cancel_sweep("swp_1"),
    "GET /v1/sweeps/{sweep_id}/parallel-coordinates": lambda c: c.parallel_coordinates("swp_1"),
    "GET /v1/sweeps/{sweep_id}/trials": lambda c: list(c.trials("swp_1")),
    "GET /v1/usage": lambda c: c.usage(),
    "GET /v1/webhooks": lambda c: list(c.webhooks()),
    "POST /v1/webhooks": lambda c: c.create_webhook("https://hooks.example.com/training"),
    "GET /v1/webhooks/{webhook_id}": lambda c: c.get_webhook("wh_1"),
    "PATCH /v1/webhooks/{webhook_id}": lambda c: c.change_webhook("wh_1", enabled=False),
    "DELETE /v1/webhooks/{webhook_id}": lambda c: c.delete_webhook("wh_1"),
    "POST /v1/webhooks/{webhook_id}/rotate-secret": lambda c: c.rotate_webhook_secret("wh_1"),
    "POST /v1/webhooks/{webhook_id}/test": lambda c: c.test_webhook("wh_1"),
    "GET /v1/webhooks/{webhook_id}/deliveries": lambda c: list(c.webhook_deliveries("wh_1")),
    "GET /v1/webhooks/{webhook_id}/deliveries/{event_id}": lambda c: c.get_webhook_delivery("wh_1", "evt_1"),
    "POST /v1/webhooks/{webhook_id}/deliveries/{event_id}/redeliver": lambda c: c.redeliver("wh_1", "evt_1"),
    "GET /v1/workers": lambda c: list(c.workers()),
    "GET /v1/workers/{worker_id}": lambda c: c.get_worker("wrk_1"),
}
FOR_MACHINES = {"GET /healthz", "GET /openapi.json", "GET /metrics"}

MOMENT = datetime(2026, 11, 23, tzinfo=UTC)
FILTERED = {
    "GET /v1/audit": lambda c: c.audit(
        key_id="key_1", object_id="job_1", status=404, created_after=MOMENT, created_before=MOMENT
    ),
    "GET /v1/catalog": lambda c: c.catalog(kind="layer", search="conv"),
    "GET /v1/datasets": lambda c: c.datasets(owner="own", states=["ready"], created_after=MOMENT),
    "GET /v1/datasets/{dataset_id}/preview": lambda c: c.preview_dataset("ds_1", rows=3),
    "POST /v1/graphs": lambda c: c.graph_picture("Linear(1, 1)"),
    "GET /v1/jobs": lambda c: c.list_jobs(states=["running"], created_after=MOMENT),
    "POST /v1/jobs": lambda c: c.validate(JOB),
    "GET /v1/jobs/{job_id}/checkpoints": lambda c: c.checkpoints("job_1", created_after=MOMENT),
    "GET /v1/jobs/{job_id}/events": lambda c: c.events("job_1"),
    "GET /v1/jobs/{job_id}/logs": lambda c: c.logs("job_1", levels=["error"]),
    "GET /v1/jobs/{job_id}/metrics": lambda c: c.metrics(
        "job_1", names=["train/loss"], after_step=1, max_points=10, latest=True
    ),
    "GET /v1/keys": lambda c: c.keys(),
    "GET /v1/models": lambda c: c.list_models(created_after=MOMENT),
    "GET /v1/models/{model_id}/graph": lambda c: c.model_graph("mdl_1", gradients=True, mode="eval", seed=1),
    "GET /v1/models/{model_id}/summary": lambda c: c.model_summary("mdl_1"),
    "GET /v1/queue": lambda c: c.queue(),
    "GET /v1/sweeps": lambda c: c.sweeps(states=["running"], created_after=MOMENT),
    "POST /v1/sweeps": lambda c: c.validate_sweep({}),
    "GET /v1/sweeps/{sweep_id}/parallel-coordinates": lambda c: c.sweep_picture("swp_1"),
    "GET /v1/sweeps/{sweep_id}/trials": lambda c: c.trials("swp_1", states=["failed"]),
    "GET /v1/webhooks": lambda c: c.webhooks(),
    "GET /v1/webhooks/{webhook_id}/deliveries": lambda c: c.webhook_deliveries("whk_1", states=["failed"]),
    "GET /v1/workers": lambda c: c.workers(),
}
OTHERWISE = {
    "GET /v1/checkpoints/{checkpoint_id}/content": {"format", "part"},  # `export`; the state is for who resumes by hand
    "POST /v1/datasets": {"format", "name", "target", "inputs"},  # uploads go in parts, and say it in the body
    "POST /v1/datasets/{dataset_id}/complete": {"sha256"},
    "GET /v1/jobs/{job_id}": {"wait"},  # `watch`, from the second look on
    "GET /v1/models/{model_id}/graph": {"format", "collapse"},  # `graph_picture`
}
PARAMETERS = {
    f"{verb} {path}": {
        one["name"] for one in DOCUMENT["paths"][path][verb.lower()].get("parameters", ()) if one["in"] == "query"
    }
    for verb, path in OPERATIONS
}


class Seen(BaseException):
    """The request that was looked for was made."""


@pytest.fixture
def sending(monkeypatch):
    """A client that gets a plausible answer to all but the request that is looked for."""

    def look_for(operation):
        verb, path = operation.split(" ")
        wanted = re.compile(re.sub(r"\{\w+\}", "[^/?]+", path) + r"(\?.*)?")

        def sent(self, method, where, **given):
            if method == verb and wanted.fullmatch(where):
                raise Seen({name for name, _ in given.get("params") or ()})
            return Answer()

        monkeypatch.setattr(Transport, "_request", sent)
        monkeypatch.setattr(Transport, "stream", lambda self, where, headers, **_: sent(self, "GET", where))
        return Client("http://127.0.0.1:9", "mw_key")

    return look_for


class Answer:
    """Whatever is asked for."""

    status_code, text, headers = 200, "", {}

    def json(self):
        return {**PLACES, "data": [], "has_more": False, "last_id": None, "size_bytes": 1}


@pytest.mark.parametrize("operation", CALLS)
def test_a_method_of_the_client_asks_for_it(operation, sending, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = CALLS[operation]
    if "content" in operation:
        call = lambda client: client.download("ckpt_1", tmp_path / "file")  # noqa: E731
    with pytest.raises(Seen):
        call(sending(operation))


def test_no_route_is_without_a_method():
    assert {f"{verb} {path}" for verb, path in OPERATIONS} - FOR_MACHINES == CALLS.keys()


@pytest.mark.parametrize("operation", [name for name, wanted in PARAMETERS.items() if wanted])
def test_whatever_may_stand_in_the_query_is_an_argument(operation, sending):
    missing = PARAMETERS[operation] - OTHERWISE.get(operation, set())
    if missing:
        with pytest.raises(Seen) as seen:
            list(FILTERED[operation](sending(operation)))
        assert missing - {"after"} == seen.value.args[0]  # the next page's
