"""What the preflight saw of a model is held against the loss, the target and the batches."""

import pytest

from services.definition import check
from services.errors import InvalidRequest
from services.modules import preflight
from services.training.fit import check_fit
from services.training.resolve import preflight_inputs, preflight_objective
from tests.services.training.test_resolve import put_together

NORM = "Sequential(Linear(64, 10), BatchNorm1d(10))"


def fit(model, dataset="digits", **options):
    resolved = put_together(dataset, **options)
    objective = preflight_objective(resolved)
    check_fit(resolved, preflight(check(model), preflight_inputs(resolved), objective=objective))


@pytest.mark.parametrize(
    ("model", "options", "code"),
    [
        ("Sequential(Linear(64, 10), Flatten(0))", {}, "shape_mismatch"),
        ("Sequential(Unflatten(1, (8, 8)), Linear(8, 10))", {}, "shape_mismatch"),
        ("Linear(10, 3)", {"dataset": "diabetes", "loss": {"type": "MSELoss"}}, "shape_mismatch"),
        (
            "Sequential(Linear(10, 1), Flatten(0))",
            {"dataset": "diabetes", "loss": {"type": "L1Loss"}},
            "shape_mismatch",
        ),
        ("LSTM(64, 10)", {}, "unexpected_output"),
        ("Flatten()", {}, "no_trainable_parameters"),
        (NORM, {"data": {"batch_size": 1}}, "batchnorm_single_sample"),
        (NORM, {"data": {"batch_size": 1436}}, "batchnorm_single_sample"),
    ],
)
def test_a_model_that_cannot_train_on_this_data_is_refused(model, options, code):
    with pytest.raises(InvalidRequest) as caught:
        fit(model, **options)
    assert caught.value.problems[0].code == code
    assert caught.value.problems[0].hint


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("Linear(64, 10)", {}),
        ("Linear(64, 12)", {}),
        ("Linear(64, 9)", {}),
        ("Linear(10, 1)", {"dataset": "diabetes", "loss": {"type": "MSELoss"}}),
        (NORM, {"data": {"batch_size": 1436, "drop_last": True}}),
        (
            "Sequential(Conv2d(1, 2, kernel_size=3), BatchNorm2d(2), Flatten(), Linear(72, 10))",
            {"data": {"inputs": ["image"], "batch_size": 1}},
        ),
    ],
)
def test_a_model_that_fits_passes(model, options):
    fit(model, **options)


def test_the_answer_names_both_shapes():
    with pytest.raises(InvalidRequest) as caught:
        fit("Linear(10, 3)", "diabetes", loss={"type": "MSELoss"})
    assert "[2, 3]" in caught.value.problems[0].detail
    assert "[2, 1]" in caught.value.problems[0].detail
