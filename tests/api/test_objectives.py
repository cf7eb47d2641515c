"""Losses and metrics over HTTP: what is wrong is a 422 at its expression, before anything is queued."""

import pytest

from api import examples

REQUEST = examples.REQUESTS["autoencoder"]["value"]


def changed(**training):
    return {**REQUEST, "training": {**REQUEST["training"], **training}}


def problems_of(answer, problem):
    return [(one["code"], one.get("pointer"), one.get("column")) for one in problem(answer, 422)["errors"]]


LOSS, METRICS = "/training/loss", "/training/metrics"
AGAIN = {"name": "a", "expression": "again.mean(0)"}
OWN = {"type": "accuracy", "threshold": 1}


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"loss": {"terms": {"a": "F.mse_loss(agian, x)"}}}, ("unknown_name", f"{LOSS}/terms/a", 12)),
        ({"loss": {"terms": {"a": "F.mse_loss(again, code)"}}}, ("shape_mismatch", f"{LOSS}/terms/a", 1)),
        ({"loss": {"terms": {"a": "again - x"}, "total": "a"}}, ("loss_not_scalar", f"{LOSS}/total", None)),
        ({"loss": {"terms": {"a": "x.mean()"}, "total": "a"}}, ("loss_without_gradient", f"{LOSS}/total", None)),
        ({"loss": {"terms": {"a": "again.__class__"}}}, ("invalid_expression", f"{LOSS}/terms/a", 1)),
        ({"loss": {"terms": {"b": "c", "c": "b"}}}, ("recursive_definition", f"{LOSS}/terms/b", None)),
        ({"loss": {"terms": {}}}, ("out_of_range", f"{LOSS}/terms", None)),
        ({"loss": {"terms": {"a": 1}}}, ("string_type", f"{LOSS}/terms/a", None)),
        ({"loss": {"type": "MSELoss"}}, ("inputs_required", f"{LOSS}/inputs", None)),
        ({"loss": {"type": "MSELoss", "inputs": ["again"]}}, ("invalid_argument", f"{LOSS}/inputs", None)),
        ({"loss": {"type": "MseLoss"}}, ("unknown_type", f"{LOSS}/type", None)),
        ({"metrics": [AGAIN]}, ("metric_not_scalar", f"{METRICS}/0/expression", None)),
        ({"metrics": ["MulticlassF1"]}, ("unknown_value", f"{METRICS}/0", None)),
        ({"metrics": [OWN]}, ("extra_forbidden", f"{METRICS}/0/threshold", None)),
    ],
)
def test_a_wrong_loss_or_metric_is_refused_at_its_place(client, problem, training, expected):
    assert expected in problems_of(client.post("/v1/jobs", json=changed(**training)), problem)


def test_classes_of_torchmetrics_are_tried_in_the_sandbox(client, problem):
    # Of a part of torchmetrics that its own import leaves out.
    images = ["again.view(-1, 8, 8)", "x.view(-1, 8, 8)"]
    good = {"type": "ProcrustesDisparity", "inputs": images, "name": "disparity"}
    bad = {"type": "MeanSquaredError", "inputs": ["again", "code"]}
    answer = client.post("/v1/jobs?validate_only=true", json=changed(metrics=[good]))
    assert answer.status_code == 200, answer.text
    assert answer.json()["resolved"]["training"]["metrics"] == [
        {"name": "disparity", "type": "ProcrustesDisparity", "inputs": images, "arguments": {}}
    ]
    found = problems_of(client.post("/v1/jobs?validate_only=true", json=changed(metrics=[good, bad])), problem)
    assert found == [("metric_failed", "/training/metrics/1", None)]


def test_the_catalog_has_every_loss_and_metric_with_what_it_takes(client):
    entry = client.get("/v1/catalog/GaussianNLLLoss").json()
    assert (entry["kind"], entry["schema"]["called_with"]) == ("loss", ["input", "target", "var"])
    assert "eps" in entry["schema"]["properties"]
    metrics = {one["name"] for one in client.get("/v1/catalog?kind=metric").json()["data"]}
    assert {"accuracy", "MulticlassF1Score", "PearsonCorrCoef", "torchmetrics.CosineSimilarity"} <= metrics
    schema = client.get("/v1/catalog/MulticlassF1Score").json()["schema"]
    assert schema["properties"]["average"]["enum"] == ["micro", "macro", "weighted"]
    assert client.get("/v1/catalog/CosineSimilarity").json()["kind"] == "layer"
