"""Parts of a plan that cannot work together are refused where the fix is to be made."""

import pytest

from services.datasets.catalog import get_builtin
from services.errors import InvalidRequest
from services.training.plan_checks import check_device
from services.training.resolve import resolve
from services.training.schema import CheckpointPolicy, DataSection, TrainingPlan


class Definition:
    inputs = ()
    outputs = ()


def resolved(data=None, checkpoints=None, **training):
    plan = {"epochs": 5, "optimizer": {"type": "SGD"}, "loss": {"type": "CrossEntropyLoss"}, **training}
    return resolve(
        data=DataSection.model_validate({"dataset": "digits", **(data or {})}),
        training=TrainingPlan.model_validate({name: value for name, value in plan.items() if value is not None}),
        checkpoints=CheckpointPolicy.model_validate(checkpoints or {}),
        dataset=get_builtin("digits"),
        definition=Definition(),
    )


NO_VALIDATION = {"split": {"train": 0.5}}
AUTO = {"batch_size": "auto"}
LBFGS = {"type": "LBFGS"}
CYCLE = {"type": "CyclicLR", "base_lr": 0.1, "max_lr": 1.0}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"optimizer": LBFGS, "gradient_clip": {"norm": 1.0}}, ("conflict", "/training/gradient_clip")),
        ({"optimizer": LBFGS, "on_non_finite": "skip"}, ("conflict", "/training/on_non_finite")),
        ({"optimizer": LBFGS, "precision": "fp16"}, ("conflict", "/training/precision")),
        ({"optimizer": {"type": "SparseAdam"}, "gradient_clip": {"value": 1}}, ("conflict", "/training/gradient_clip")),
        ({"precision": "fp16", "on_non_finite": "skip"}, ("conflict", "/training/on_non_finite")),
        ({"ema": {}, "swa": {}}, ("conflict", "/training/swa")),
        ({"swa": {"anneal_epochs": 3}}, ("conflict", "/training/swa/lr")),
        ({"swa": {"start_epoch": 6}}, ("out_of_range", "/training/swa/start_epoch")),
        ({"swa": {}, "epochs": None, "steps": 10}, ("out_of_range", "/training/swa/start_epoch")),
        (
            {"optimizer": {"type": "Adagrad"}, "scheduler": CYCLE},
            ("invalid_argument", "/training/scheduler/cycle_momentum"),
        ),
        ({"warmup": {"steps": 5}, "scheduler": {"type": "OneCycleLR", "max_lr": 1}}, ("conflict", "/training/warmup")),
        ({"warmup": {"steps": 5}, "scheduler": {"type": "CosineAnnealingLR"}}, ("conflict", "/training/warmup/steps")),
        ({"early_stopping": {"metric": "validation/acuracy"}}, ("unknown_metric", "/training/early_stopping/metric")),
        ({"checkpoints": {"best": {"metric": "train/loss"}}}, ("unknown_metric", "/checkpoints/best/metric")),
        (
            {"scheduler": {"type": "ReduceLROnPlateau", "metric": "validation/r2"}},
            ("unknown_metric", "/training/scheduler/metric"),
        ),
        ({"early_stopping": {}, "data": NO_VALIDATION}, ("validation_required", "/training/early_stopping")),
        ({"checkpoints": {"best": {}}, "data": NO_VALIDATION}, ("validation_required", "/checkpoints/best")),
        ({"evaluate_every": {"steps": 5}, "data": NO_VALIDATION}, ("validation_required", "/training/evaluate_every")),
        (
            {"early_stopping": {"restore_best": True}, "checkpoints": {"best": {"restore": True}}},
            ("conflict", "/checkpoints/best/restore"),
        ),
        (
            {"data": AUTO, "scheduler": {"type": "OneCycleLR", "max_lr": 1.0, "total_steps": 99}},
            ("conflict", "/training/scheduler/total_steps"),
        ),
        ({"data": AUTO, "swa": {"start_epoch": 1}, "epochs": None, "steps": 9}, ("conflict", "/training/swa")),
        ({"frozen_batch_norm": "update"}, ("conflict", "/training/frozen_batch_norm")),
    ],
)
def test_what_cannot_work_is_refused(options, expected):
    with pytest.raises(InvalidRequest) as caught:
        resolved(**options)
    assert [(problem.code, problem.pointer) for problem in caught.value.problems] == [expected]


@pytest.mark.parametrize("name", ["fp16", "tf32"])
def test_a_precision_of_cuda_is_refused_where_the_cpu_is_asked_for(name):
    plan = TrainingPlan.model_validate(
        {"epochs": 1, "optimizer": {"type": "SGD"}, "loss": {"type": "MSELoss"}, "precision": name}
    )
    (problem,) = check_device(plan, "cpu")
    assert (problem.code, problem.pointer) == ("precision_unavailable", "/training/precision")
    assert check_device(plan, "auto") == check_device(plan, "cuda") == []


def test_accumulation_shortens_the_epoch_and_lengths_follow():
    training = resolved(accumulate=10, scheduler={"type": "CosineAnnealingLR", "interval": "step"}, swa={})["training"]
    assert (training["steps_per_epoch"], training["total_steps"]) == (3, 15)  # 23 batches
    assert training["scheduler"]["T_max"] == 15
    assert training["swa"]["start_epoch"] == 3


def test_a_warm_up_becomes_a_sequence_and_the_schedule_gets_what_is_left():
    scheduler = resolved(warmup={"steps": 15}, scheduler={"type": "CosineAnnealingLR", "interval": "step"})["training"][
        "scheduler"
    ]
    assert (scheduler["type"], scheduler["interval"], scheduler["milestones"]) == ("SequentialLR", "step", [15])
    assert [(part["type"], part.get("total_iters") or part.get("T_max")) for part in scheduler["schedulers"]] == [
        ("LinearLR", 15),
        ("CosineAnnealingLR", 100),
    ]
    alone = resolved(warmup={"epochs": 2})["training"]["scheduler"]
    assert (alone["type"], alone["total_iters"], alone["interval"]) == ("LinearLR", 2, "epoch")


def test_a_group_is_resolved_to_all_its_arguments():
    groups = [{"match": "*.bias", "weight_decay": 0}]
    optimizer = resolved(optimizer={"type": "AdamW", "lr": 0.1, "groups": groups})["training"]["optimizer"]
    assert optimizer["groups"][0] == {
        "match": "*.bias",
        "lr": 0.1,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "maximize": False,
        "weight_decay": 0,
        "amsgrad": False,
    }


def test_an_open_batch_size_leaves_the_lengths_open():
    plan = resolved(AUTO, scheduler={"type": "CosineAnnealingLR"}, swa={})
    assert plan["data"]["batch_size"] == "auto"
    training = plan["training"]
    assert (training["steps_per_epoch"], training["total_steps"], training["total_epochs"]) == (None, None, 5)
    assert training["scheduler"]["T_max"] is training["swa"]["start_epoch"] is None
