"""The list of torchmetrics is that of the installed one, and everything on it gives one number."""

import warnings

import pytest
import torch

from services.definition.vocabulary import Vocabulary
from services.errors import InvalidRequest
from services.modules import catalog_metrics
from services.modules.measures import Measure
from services.modules.objective_trial import try_objective
from services.training.metrics import metric_classes

ROWS = 8
ARGUMENTS = {
    "num_classes": 3, "num_labels": 3, "task": "multiclass", "beta": 1.0, "average": "macro", "threshold": 0.5,
    "data_range": 1.0, "p": 2.0,
}  # fmt: skip
# What each metric is called with: the shape of one row of each argument, and its dtype.
SHAPES = {
    "aggregation": [()],
    "audio": [(600,), (600,)],
    "regression": [(), ()],
    "clustering": [("int64",), ("int64",)],
    "nominal": [("int64",), ("int64",)],
    "retrieval": [(), ("int64",), ("int64",)],
    "image": [(3, 24, 24), (3, 24, 24)],
    "segmentation": [(3, 8, 8, "int64"), (3, 8, 8, "int64")],
    "shape": [(6, 2), (6, 2)],
    "text": [(4, 9), (4, "int64")],
}
OWN = {
    "CalinskiHarabaszScore": [(2,), ("int64",)],
    "DaviesBouldinScore": [(2,), ("int64",)],
    "DunnIndex": [(2,), ("int64",)],
    "FleissKappa": [(4, "int64")],
    "TotalVariation": [(3, 16, 16)],
    "CosineSimilarity": [(3,), (3,)],
    "KLDivergence": [(3,), (3,)],
    "JensenShannonDivergence": [(3,), (3,)],
    "ContinuousRankedProbabilityScore": [(5,), ()],
    "MultiScaleStructuralSimilarityIndexMeasure": [(1, 32, 32), (1, 32, 32)],
    "PeakSignalNoiseRatioWithBlockedEffect": [(1, 16, 16), (1, 16, 16)],
    "VisualInformationFidelity": [(1, 41, 41), (1, 41, 41)],
    "ComplexScaleInvariantSignalNoiseRatio": [(5, 20, 2), (5, 20, 2)],
    "SourceAggregatedSignalDistortionRatio": [(2, 100), (2, 100)],
    "SpatialCorrelationCoefficient": [(1, 16, 16), (1, 16, 16)],
    "ExactMatch": [(3, 4), (4, "int64")],
}


def shapes_of(name, listed):
    if name in OWN:
        return OWN[name]
    if listed.family != "classification":
        return SHAPES[listed.family]
    if name.startswith("Binary"):
        return [(), ("int64",)]
    if name.startswith("Multilabel"):
        return [(3,), (3, "int64")]
    return [(3, 4), (4, "int64")] if "ExactMatch" in name else [(3,), ("int64",)]


def made(shape, generator):
    sizes = [size for size in shape if size != "int64"]
    if "int64" in shape:
        return torch.randint(0, 2, (ROWS, *sizes), generator=generator)
    return torch.rand(ROWS, *sizes, generator=generator)


def section(name, listed):
    arguments = {key: ARGUMENTS[key] for key in listed.required}
    if arguments.get("task") == "multiclass":
        arguments["num_classes"] = 3
    if "num_classes" in listed.properties and name.startswith(("Multiclass", "MeanIoU")):
        arguments["num_classes"] = 3
    if name.startswith("MultiScale"):
        arguments |= {"kernel_size": 3, "betas": [0.5, 0.5]}
    inputs = [f"a{index}" for index in range(len(shapes_of(name, listed)))]
    return {"name": name, "type": name, "inputs": inputs, "arguments": arguments}


CLASSES = sorted(metric_classes().items())


def test_the_list_is_generated_from_the_installed_torchmetrics():
    assert catalog_metrics.PATH.read_text(encoding="utf-8") == catalog_metrics.dumps(catalog_metrics.build())


def test_every_class_of_torchmetrics_is_listed_or_refused_with_a_reason():
    installed = {name for _, name, _ in catalog_metrics.installed()}
    listed = catalog_metrics.build()
    assert installed == listed["classes"].keys() | listed["refused"].keys()
    assert not listed["classes"].keys() & listed["refused"].keys()
    assert len(listed["classes"]) > 140
    assert all(entry["doc"] for entry in listed["classes"].values())


@pytest.mark.parametrize(("name", "listed"), CLASSES, ids=[name for name, _ in CLASSES])
def test_every_listed_class_passes_the_trial_and_gives_one_number(name, listed):
    shapes = shapes_of(name, listed)
    names = {f"a{index}": f"a{index}" for index in range(1, len(shapes))}
    vocabulary = Vocabulary(("a0",), names)
    metric = section(name, listed)
    columns = {
        column: {"dtype": "int64" if "int64" in shape else "float32", "shape": [one for one in shape if one != "int64"]}
        for column, shape in zip(names, shapes[1:], strict=True)
    }
    generator = torch.Generator().manual_seed(0)
    values = [made(shape, generator) for shape in shapes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        objective = {
            "loss": {"type": "terms", "terms": {"a": "(a0 * 1.0).mean()"}, "total": None},
            "metrics": [metric], "names": names, "columns": columns,
        }  # fmt: skip
        try_objective(objective, ["a0"], values[0][:2], batch=2, trains=False)
        measure = Measure(metric, 0, vocabulary, loss_type="terms", device="cpu")
        for half in (slice(0, 4), slice(4, 8)):
            measure.update(values[0][half], {f"a{i}": value[half] for i, value in enumerate(values) if i}, 4)
        assert measure.compute().numel() == 1


def test_a_metric_that_is_called_with_the_wrong_things_says_so():
    metric = {"name": "f1", "type": "MulticlassF1Score", "inputs": ["output", "y"], "arguments": {"num_classes": 3}}
    measure = Measure(metric, 2, Vocabulary((), {"y": "y"}, open=True), loss_type="MSELoss", device="cpu")
    with pytest.raises(InvalidRequest) as caught:
        measure.update(torch.rand(4, 5), {"y": torch.zeros(4, dtype=torch.int64)}, 4)
    problem = caught.value.problems[0]
    assert (problem.code, problem.pointer) == ("metric_failed", "/training/metrics/2")
    assert "[4, 5]" in problem.detail
    assert "inputs" in problem.hint


@pytest.mark.parametrize(
    ("metric", "code", "pointer"),
    [
        ({"name": "a", "expression": "(output - y).abs()"}, "metric_not_scalar", "/training/metrics/0/expression"),
        ({"name": "a", "expression": "output.mean(5)"}, "shape_mismatch", "/training/metrics/0/expression"),
        ({"name": "a", "expression": "(output @ y).sum()"}, "shape_mismatch", "/training/metrics/0/expression"),
        ({"name": "r2", "type": "r2", "inputs": ["output[:1]", "y"]}, "metric_failed", "/training/metrics/0"),
        (
            {"name": "x", "type": "MulticlassF1Score", "inputs": ["output", "y"], "arguments": {"num_classes": 1}},
            "invalid_argument",
            "/training/metrics/0",
        ),
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused_before_the_queue(metric, code, pointer):
    objective = {
        "loss": {"type": "terms", "terms": {"a": "output.mean()"}, "total": None},
        "metrics": [metric],
        "names": {"y": "y"},
        "columns": {"y": {"dtype": "float32", "shape": [3]}},
    }
    with pytest.raises(InvalidRequest) as caught:
        try_objective(objective, [], torch.rand(2, 3, requires_grad=True)[:, :3] * 1, batch=2)
    assert [(problem.code, problem.pointer) for problem in caught.value.problems] == [(code, pointer)]


def test_a_metric_that_compares_what_the_loss_does_does_not_repeat_what_is_wrong_with_it():
    names = {"y": "y"}
    metrics = [
        {"name": name, "type": name, "inputs": ["output", text]} for name, text in (("r2", "y"), ("accuracy", "y"))
    ]
    objective = {
        "loss": {"type": "MSELoss", "inputs": ["output", "y"]},
        "metrics": metrics,
        "names": names,
        "columns": {"y": {"dtype": "float32", "shape": [3]}},
    }
    with pytest.raises(InvalidRequest) as caught:
        try_objective(objective, [], torch.rand(2, 4, requires_grad=True), batch=2)
    assert [problem.pointer for problem in caught.value.problems] == ["/model"]
