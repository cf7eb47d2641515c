"""What loss and metrics are called with when the request does not say, and what is asked for when only it can."""

import pytest

from tests.services.training.test_resolve import Input, put_together, refusal

TWO = ("mean", "variance")
LOSS = "/training/loss"


def objective(**options):
    training = put_together(**options)["training"]
    return training["loss"], training["metrics"]


@pytest.mark.parametrize(
    ("loss", "outputs", "inputs"),
    [
        ("CrossEntropyLoss", (), ["output", "target"]),
        ("CrossEntropyLoss", ("logits",), ["logits", "target"]),
        ("TripletMarginLoss", (), ["output[0]", "output[1]", "output[2]"]),
        ("TripletMarginLoss", ("negative", "anchor", "positive"), ["anchor", "positive", "negative"]),
        ("TripletMarginLoss", ("a", "b", "c"), ["a", "b", "c"]),
        ("CosineEmbeddingLoss", ("a", "b"), ["a", "b", "target"]),
        ("MarginRankingLoss", (), ["output[0]", "output[1]", "target"]),
    ],
)
def test_inputs_of_a_loss_are_found(loss, outputs, inputs):
    assert objective(loss={"type": loss}, outputs=outputs)[0]["inputs"] == inputs


def test_an_output_called_as_the_loss_calls_it_is_meant():
    loss, metrics = objective(dataset="diabetes", loss={"type": "GaussianNLLLoss"}, outputs=("var", "mean"))
    assert loss["inputs"] == ["mean", "target", "var"]
    assert metrics[0]["inputs"] == ["mean", "target"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dataset": "diabetes", "loss": {"type": "MSELoss"}, "outputs": TWO}, ("inputs_required", f"{LOSS}/inputs")),
        ({"loss": {"type": "TripletMarginLoss"}, "outputs": TWO}, ("inputs_required", f"{LOSS}/inputs")),
        ({"loss": {"type": "CTCLoss"}}, ("inputs_required", f"{LOSS}/inputs")),
        ({"loss": {"type": "MSELoss", "inputs": ["output"]}}, ("invalid_argument", f"{LOSS}/inputs")),
        ({"loss": {"type": "MSELoss", "inputs": ["y", "lable"]}, "outputs": "y"}, ("unknown_name", f"{LOSS}/inputs/1")),
        ({"loss": {"type": "MSELoss", "inputs": ["output", "label"]}}, ("loss_target_mismatch", "/training/loss/type")),
        ({"data": {"target": ["label", "image"]}}, ("target_required", "/data/target")),
        ({"data": {"target": ["label", "imgae"]}}, ("unknown_column", "/data/target/1")),
        ({"metrics": [{"type": "MulticlassF1Score", "name": "loss"}]}, ("duplicate_name", "/training/metrics/0/name")),
        ({"metrics": ["r2"]}, ("metric_target_mismatch", "/training/metrics/0")),
        ({"metrics": ["BinaryFBetaScore"]}, ("missing", "/training/metrics/0/beta")),
        ({"metrics": ["RetrievalMAP"]}, ("inputs_required", "/training/metrics/0/inputs")),
        (
            {"metrics": ["accuracy"], "loss": {"terms": {"a": "a.mean()"}}, "outputs": TWO},
            ("recursive_definition", "/training/loss/terms/a"),
        ),
        ({"loss": {"terms": {"label": "output.mean()"}}}, ("duplicate_name", "/training/loss/terms/label")),
    ],
)  # fmt: skip
def test_what_only_the_request_can_say_is_asked_for(options, expected):
    assert expected in refusal(**options)


def test_the_data_tell_tasks_and_numbers_of_classes():
    metrics = objective(metrics=["F1Score", "MulticlassAUROC", {"type": "MulticlassF1Score", "num_classes": 12}])[1]
    assert [metric["arguments"] for metric in metrics] == [
        {"task": "multiclass", "num_classes": 10},
        {"num_classes": 10},
        {"num_classes": 12},
    ]
    linnerud = {"dataset": "linnerud", "loss": {"type": "BCEWithLogitsLoss"}, "metrics": ["F1Score"]}
    assert objective(**linnerud)[1][0]["arguments"] == {"task": "multilabel", "num_labels": 3}
    cancer = {"dataset": "breast_cancer", "data": {"target": "benign"}, "loss": {"type": "BCELoss"}}
    assert objective(**cancer, metrics=["F1Score"])[1][0]["arguments"] == {"task": "binary"}


def test_the_same_metric_twice_is_one():
    assert [metric["name"] for metric in objective(metrics=["accuracy", "accuracy", "top_5_accuracy"])[1]] == [
        "accuracy",
        "top_5_accuracy",
    ]


def test_columns_that_nothing_names_are_not_loaded_and_a_job_needs_no_target():
    terms = {"terms": {"a": "(output - x).mean()"}}
    data = put_together(loss=terms, inputs=[Input("x", column="pixels")])["data"]
    assert (data["target"], list(data["columns"])) == (None, ["pixels"])
    terms = {"terms": {"a": "(output - image.flatten(1)).mean() + label.float().mean()"}}
    data = put_together(loss=terms)["data"]
    assert (data["target"], list(data["columns"])) == ("label", ["pixels", "label", "image"])
    data = put_together(loss=terms, data={"target": ["image", "label"]})["data"]
    assert data["target"] == ["image", "label"]


def test_a_named_target_is_loaded_and_checked_even_when_nothing_compares_with_it():
    data = put_together(loss={"terms": {"a": "output.mean()"}}, data={"target": "label"})["data"]
    assert "label" in data["columns"]


def test_series_that_may_be_watched_are_those_of_the_terms_too():
    terms = {"terms": {"bce": "output.mean()", "kld": "output.std()"}}
    stopping = {"metric": "validation/loss/kld", "mode": "min", "patience": 3}
    assert put_together(loss=terms, early_stopping=stopping)["training"]["early_stopping"]["metric"]
    wrong = {**stopping, "metric": "validation/loss/kdl"}
    assert ("unknown_metric", "/training/early_stopping/metric") in refusal(loss=terms, early_stopping=wrong)
