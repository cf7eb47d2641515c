"""A plan, a data set and a model are put together, or refused with what does not fit."""

from dataclasses import dataclass

import pytest

from services.datasets.catalog import get_builtin
from services.errors import InvalidRequest
from services.training.resolve import preflight_inputs, resolve
from services.training.schema import CheckpointPolicy, DataSection, TrainingPlan


@dataclass
class Input:
    name: str
    dtype: str | None = None
    shape: tuple[int | str, ...] | None = None
    column: str | None = None
    optional: bool = False


@dataclass
class Definition:
    inputs: tuple[Input, ...] = ()
    outputs: tuple[str, ...] = ()


def put_together(dataset="digits", data=None, inputs=(), outputs=(), **training):
    plan = {"epochs": 5, "optimizer": {"type": "SGD"}, "loss": {"type": "CrossEntropyLoss"}, **training}
    return resolve(
        data=DataSection.model_validate({"dataset": dataset, **(data or {})}),
        training=TrainingPlan.model_validate({name: value for name, value in plan.items() if value is not None}),
        checkpoints=CheckpointPolicy(),
        dataset=get_builtin(dataset),
        definition=Definition(tuple(inputs), tuple(outputs)),
    )


def refusal(*arguments, **options):
    with pytest.raises(InvalidRequest) as caught:
        put_together(*arguments, **options)
    return [(problem.code, problem.pointer) for problem in caught.value.problems]


def test_defaults_are_filled_and_lengths_counted():
    resolved = put_together()
    assert resolved["data"]["inputs"] == ["pixels"]
    assert resolved["data"]["target"] == "label"
    assert resolved["data"]["rows"] == {"train": 1437, "validation": 180, "test": 180}
    assert resolved["data"]["columns"]["label"]["classes"] == 10
    assert resolved["training"]["steps_per_epoch"] == 23
    assert resolved["training"]["total_steps"] == 115
    assert resolved["training"]["total_epochs"] == 5
    assert resolved["training"]["metrics"] == [
        {"name": "accuracy", "type": "accuracy", "inputs": ["output", "target"], "arguments": {}}
    ]
    assert resolved["training"]["optimizer"]["lr"] == 1e-3
    assert resolved["checkpoints"] == {"every": None, "keep": 3, "best": None, "keep_days": None}


def test_a_seed_is_chosen_once_and_a_given_one_is_kept():
    assert put_together(seed=7)["training"]["seed"] == 7
    assert 0 <= put_together()["training"]["seed"] < 2**31


def test_steps_are_counted_in_epochs_too():
    training = put_together(epochs=None, steps=24)["training"]
    assert (training["total_steps"], training["total_epochs"]) == (24, 2)


def test_drop_last_shortens_the_epoch():
    assert put_together(data={"drop_last": True})["training"]["steps_per_epoch"] == 22


def test_inputs_bind_by_name_then_by_position():
    assert put_together(inputs=[Input("image")])["data"]["inputs"] == ["image"]
    resolved = put_together(inputs=[Input("x", "float32", ("B", 1, 8, 8))], data={"inputs": ["image"]})
    assert resolved["data"]["bindings"] == [{"input": "x", "column": "image"}]
    assert preflight_inputs(resolved) == {"x": {"dtype": "float32", "shape": ["B", 1, 8, 8]}}


def test_an_input_may_name_its_column():
    resolved = put_together(inputs=[Input("x", column="image")])
    assert resolved["data"]["bindings"] == [{"input": "x", "column": "image"}]
    assert refusal(inputs=[Input("x", column="images")]) == [("unknown_column", "/data/inputs")]


def test_without_declared_inputs_the_preflight_names_the_columns():
    assert preflight_inputs(put_together()) == {"pixels": {"dtype": "float32", "shape": ["B", 64]}}


@pytest.mark.parametrize(
    ("scheduler", "argument", "turns"),
    [
        ({"type": "CosineAnnealingLR"}, "T_max", 5),
        ({"type": "CosineAnnealingLR", "interval": "step"}, "T_max", 115),
        ({"type": "CosineAnnealingLR", "T_max": 3}, "T_max", 3),
        ({"type": "PolynomialLR"}, "total_iters", 5),
        ({"type": "OneCycleLR", "max_lr": 0.1}, "total_steps", 115),
    ],
)
def test_a_schedule_spans_the_run_by_default(scheduler, argument, turns):
    assert put_together(scheduler=scheduler)["training"]["scheduler"][argument] == turns


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"data": {"inputs": ["pixel"]}}, ("unknown_column", "/data/inputs/0")),
        ({"data": {"target": "labels"}}, ("unknown_column", "/data/target")),
        ({"data": {"inputs": ["pixels", "image"]}, "inputs": [Input("x")]}, ("input_count_mismatch", "/data/inputs")),
        ({"inputs": [Input("x", "float32", ("B", 20))]}, ("shape_mismatch", "/model/inputs/0/shape")),
        ({"inputs": [Input("x", "float32", ("B", 1, 64))]}, ("shape_mismatch", "/model/inputs/0/shape")),
        ({"inputs": [Input("x", "int64")]}, ("dtype_mismatch", "/model/inputs/0/dtype")),
        ({"dataset": "diabetes"}, ("loss_target_mismatch", "/training/loss/type")),
        ({"loss": {"type": "MSELoss"}}, ("loss_target_mismatch", "/training/loss/type")),
        ({"metrics": ["r2"]}, ("metric_target_mismatch", "/training/metrics/0")),
        (
            {"dataset": "iris", "metrics": ["accuracy", "top_5_accuracy"]},
            ("metric_target_mismatch", "/training/metrics/1"),
        ),
        ({"loss": {"type": "NLLLoss", "weight": [1.0, 2.0]}}, ("invalid_argument", "/training/loss/weight")),
        (
            {"dataset": "linnerud", "data": {"split": {"train": 0.01}}, "loss": {"type": "L1Loss"}},
            ("empty_dataset", "/data/split"),
        ),
        ({"data": {"drop_last": True, "batch_size": 2000}}, ("out_of_range", "/data/batch_size")),
        (
            {"scheduler": {"type": "OneCycleLR", "max_lr": 1.0, "total_steps": 9}},
            ("out_of_range", "/training/scheduler/total_steps"),
        ),
        (
            {"optimizer": {"type": "Adagrad"}, "scheduler": {"type": "OneCycleLR", "max_lr": 1.0}},
            ("invalid_argument", "/training/scheduler/cycle_momentum"),
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_code_and_pointer(options, expected):
    assert refusal(**options) == [expected]


def test_every_misfit_is_reported_at_once():
    assert len(refusal(data={"inputs": ["a"], "target": "b", "drop_last": True, "batch_size": 9999})) == 3


def test_the_hint_of_a_loss_that_cannot_work_names_columns_that_can():
    with pytest.raises(InvalidRequest) as caught:
        put_together("breast_cancer", loss={"type": "BCEWithLogitsLoss"})
    assert "benign" in caught.value.problems[0].hint
    assert put_together("breast_cancer", {"target": "benign"}, loss={"type": "BCEWithLogitsLoss"})
