"""Bad data over HTTP, row by row as the reliability page lists it: the exact status, code, pointer and words."""

from __future__ import annotations

import io
import json
import pickle

import numpy as np
import pytest
import torch

from tests.services.datasets.files import npz
from tests.services.datasets.test_bad_files import BAD

ROWS = np.arange(40)
LABELS = ROWS % 3
POINTS = np.linspace(0, 1, 160, dtype=np.float32).reshape(40, 4)

LISTED = {
    "CSV ragged": 422,
    "CSV of a million columns": 422,
    "CSV with an endless cell": 422,
    "CSV without rows": 422,
    "npy of objects": 422,
    "npy that claims 4 GB": 422,
    "npz that inflates a thousandfold": 422,
    "npz whose members overlap": 422,
    "npz with a path upwards": 422,
    "npz with a pickle": 415,
    "a torch file as npz": 415,
    "a pickle as npy": 415,
    "safetensors that are cut": 422,
    "safetensors with a huge header": 422,
}


def saved_by_torch(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.mark.parametrize("case", LISTED)
def test_a_bad_file_is_refused_and_nothing_of_it_is_kept(client, problem, case):
    kind, content, code, said = BAD[case]
    answer = client.post(f"/v1/datasets?format={kind}", content=content)
    found = problem(answer, LISTED[case])
    assert found["code"] == code
    assert said is None or said in str(found)
    assert [one["pointer"] for one in found.get("errors", [])] in ([], [""])
    assert client.get("/v1/datasets?owner=own").json()["data"] == []


KINDS = ["csv", "npy", "npz", "safetensors", "parquet", "images", "text"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writer", [pickle.dumps, saved_by_torch], ids=["pickle", "torch"])
def test_a_pickle_is_415_whatever_it_is_called(client, problem, writer, kind):
    answer = client.post(f"/v1/datasets?format={kind}", content=writer({"weights": [1.0, 2.0]}))
    assert problem(answer, 415)["code"] == "unsupported_format"


def ask(client, content, model="Linear(4, 3)", **data):
    made = client.post("/v1/datasets?format=npz&target=y", content=content).json()
    training = {"epochs": 1, "optimizer": {"type": "SGD", "lr": 0.1}, "loss": {"type": "CrossEntropyLoss"}}
    request = {"model": model, "data": {"dataset": made["id"], **data}, "training": training}
    return client.post("/v1/jobs?validate_only=true", json=request)


NORM = "Sequential(Linear(4, 3), BatchNorm1d(3))"


@pytest.mark.parametrize(
    ("model", "data", "expected"),
    [
        (NORM, {"batch_size": 1}, ("batchnorm_single_sample", "/data/batch_size")),
        (NORM, {"batch_size": 13, "split": {"train": 1.0}}, ("batchnorm_single_sample", "/data/batch_size")),
        ("Linear(4, 3)", {"split": {"train": 0.01, "test": 0.9}}, ("empty_dataset", "/data/split")),
        ("Linear(4, 3)", {"split": {"by_group": "x"}}, ("conflict", "/data/split/by_group")),
        ("Linear(5, 3)", {}, ("shape_mismatch", "/model")),
        ("Linear(4, 3)", {"window": {"length": 100}}, ("empty_dataset", "/data/window/length")),
    ],
)
def test_data_that_cannot_train_the_model_is_refused_before_the_queue(client, problem, model, data, expected):
    found = problem(ask(client, npz(x=POINTS, y=LABELS), model, **data), 422)
    assert (found["errors"][0]["code"], found["errors"][0]["pointer"]) == expected, found


def test_a_last_batch_of_one_may_be_left_out(client):
    assert ask(client, npz(x=POINTS, y=LABELS), NORM, batch_size=13, drop_last=True, split={"train": 1.0}).is_success


@pytest.mark.parametrize("values", [POINTS * np.float64(1e300) * 1e7, np.array([-1.7e308, 1.7e308] * 20)])
def test_numbers_at_the_end_of_float64_have_statistics_without_infinities(client, values):
    made = client.post("/v1/datasets?format=npz", content=npz(x=values, y=LABELS))
    assert made.status_code == 201, made.text
    found = client.get(made.json()["links"]["preview"]).json()["statistics"]["x"]
    assert found["max"] == values.max()
    assert found["std"] is None or found["std"] > 1e300


@pytest.mark.parametrize(
    ("loss", "code"), [("MSELoss", "loss_target_mismatch"), ("BCEWithLogitsLoss", "loss_target_mismatch")]
)
def test_the_way_from_classes_to_real_numbers_is_shown_and_goes(client, problem, loss, code):
    table = b"x,kind\n" + b"".join(b"%d,%s\n" % (n, (b"cat", b"dog")[n % 2]) for n in range(40))
    made = client.post("/v1/datasets?format=csv&target=kind", content=table).json()
    training = {"epochs": 1, "optimizer": {"type": "SGD", "lr": 0.1}, "loss": {"type": loss}}
    request = {"model": "Linear(1, 1)", "data": {"dataset": made["id"]}, "training": training}
    request["data"] |= {"features": {"v": {"columns": ["x"]}}, "inputs": ["v"]}
    (found,) = problem(client.post("/v1/jobs?validate_only=true", json=request), 422)["errors"]
    assert found["code"] == code
    shown = json.loads("{" + found["hint"].split("As real numbers: ")[1].rstrip(".") + "}")
    assert shown == {"features": {"y": {"columns": ["kind"], "encode": "label"}}, "target": "y"}
    request["data"] |= {"features": {**request["data"]["features"], **shown["features"]}, "target": shown["target"]}
    assert client.post("/v1/jobs?validate_only=true", json=request).is_success


def test_a_target_without_a_dimension_is_told_how_to_get_one(client, problem):
    made = client.post("/v1/datasets?format=npz&target=p", content=npz(x=POINTS, p=POINTS[:, 0])).json()
    training = {"epochs": 1, "optimizer": {"type": "SGD", "lr": 0.1}, "loss": {"type": "MSELoss"}}
    request = {"model": "Linear(4, 1)", "data": {"dataset": made["id"]}, "training": training}
    (found,) = problem(client.post("/v1/jobs?validate_only=true", json=request), 422)["errors"]
    assert found["code"] == "shape_mismatch"
    assert '"features": {"y": {"columns": [the target]}}, "target": "y"' in found["hint"]
    request["data"] |= {"inputs": ["x"], "features": {"y": {"columns": ["p"]}}, "target": "y"}
    assert client.post("/v1/jobs?validate_only=true", json=request).is_success
