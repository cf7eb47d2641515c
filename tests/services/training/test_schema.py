"""What a plan may say, and the exact answer to what it may not."""

import json

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from services.training.problems import problems_from
from services.training.schema import CheckpointPolicy, DataSection, Split, TrainingPlan

PLAN = {"epochs": 5, "optimizer": {"type": "Adam"}, "loss": {"type": "CrossEntropyLoss"}}


class Request(BaseModel):
    """The parts of a request as the job schema puts them together."""

    model_config = ConfigDict(strict=True, extra="forbid")

    data: DataSection
    training: TrainingPlan
    checkpoints: CheckpointPolicy = CheckpointPolicy()


def refuse(training=None, data=None, checkpoints=None):
    body = {"data": {"dataset": "digits", **(data or {})}, "training": PLAN if training is None else training}
    if checkpoints is not None:
        body["checkpoints"] = checkpoints
    with pytest.raises(ValidationError) as caught:
        Request.model_validate(body)
    return problems_from(caught.value, Request)


def plan(**changes):
    return {name: value for name, value in {**PLAN, **changes}.items() if value is not ...}


STEP = {"type": "StepLR", "step_size": 1}


def grouped(*groups):
    return {"type": "Adam", "groups": list(groups)}


def sequence(schedulers, *milestones):
    return {"type": "SequentialLR", "schedulers": schedulers, "milestones": list(milestones)}


@pytest.mark.parametrize(
    ("training", "code", "pointer"),
    [
        (plan(epochs="7"), "int_type", "/training/epochs"),
        (plan(epochs=True), "int_type", "/training/epochs"),
        (plan(epochs=7.0), "int_type", "/training/epochs"),
        (plan(epochs=0), "out_of_range", "/training/epochs"),
        (plan(epochs=-1), "out_of_range", "/training/epochs"),
        (plan(epochs=10**9), "out_of_range", "/training/epochs"),
        (plan(epochs=10**30), "out_of_range", "/training/epochs"),
        (plan(epochs=...), "missing", "/training/epochs"),
        (plan(steps=5), "conflict", "/training/steps"),
        (plan(optimizer={"type": "Adam", "lr": 0}), "out_of_range", "/training/optimizer/lr"),
        (plan(optimizer={"type": "Adam", "lr": -1}), "out_of_range", "/training/optimizer/lr"),
        (plan(optimizer={"type": "Adam", "lr": 1e308}), "out_of_range", "/training/optimizer/lr"),
        (plan(optimizer={"type": "Adam", "lr": float("nan")}), "out_of_range", "/training/optimizer/lr"),
        (plan(optimizer={"type": "Adam", "lr": "0.1"}), "float_type", "/training/optimizer/lr"),
        (plan(optimizer={"type": "Adam", "lr": True}), "float_type", "/training/optimizer/lr"),
        (plan(optimizer={"type": "Adam", "amsgrad": 1}), "bool_type", "/training/optimizer/amsgrad"),
        (plan(optimizer={"type": "Adam", "betas": [0.9]}), "out_of_range", "/training/optimizer/betas"),
        (plan(optimizer={"type": "Adam", "betas": [0.9, 1]}), "out_of_range", "/training/optimizer/betas/1"),
        (plan(optimizer={"type": "Adam", "momentum": 0.9}), "extra_forbidden", "/training/optimizer/momentum"),
        (plan(optimizer={"type": "Adam", "Adam": 1}), "extra_forbidden", "/training/optimizer/Adam"),
        (plan(optimizer={"type": "Adam", "a/b~c": 1}), "extra_forbidden", "/training/optimizer/a~1b~0c"),
        (plan(optimizer={"type": "os.system"}), "unknown_type", "/training/optimizer/type"),
        (plan(optimizer={"type": "__class__"}), "unknown_type", "/training/optimizer/type"),
        (plan(optimizer={"type": 7}), "string_type", "/training/optimizer/type"),
        (plan(optimizer={"lr": 1}), "missing", "/training/optimizer/type"),
        (plan(optimizer="Adam"), "dict_type", "/training/optimizer"),
        (plan(optimizer={"type": "SGD", "nesterov": True}), "invalid_argument", "/training/optimizer/nesterov"),
        (plan(optimizer=...), "missing", "/training/optimizer"),
        (plan(loss={"type": "CrossEntropyLoss", "reduction": "none"}), "unknown_value", "/training/loss/reduction"),
        (
            plan(loss={"type": "CrossEntropyLoss", "label_smoothing": 1.5}),
            "out_of_range",
            "/training/loss/label_smoothing",
        ),
        (plan(metrics=["accuracy", "acuracy"]), "unknown_value", "/training/metrics/1"),
        (plan(metrics="accuracy"), "list_type", "/training/metrics"),
        (plan(scheduler={"type": "StepLR"}), "missing", "/training/scheduler/step_size"),
        (plan(scheduler={"type": "StepLr", "step_size": 1}), "unknown_type", "/training/scheduler/type"),
        (plan(gradient_clip={}), "missing", "/training/gradient_clip/norm"),
        (plan(gradient_clip={"norm": 1, "value": 1}), "conflict", "/training/gradient_clip/value"),
        (plan(seed=-1), "out_of_range", "/training/seed"),
        (plan(seed=2**63), "out_of_range", "/training/seed"),
        (plan(on_non_finite="explode"), "unknown_value", "/training/on_non_finite"),
        (plan(optimizer={"type": "LBFGS", "groups": [{"match": "*"}]}), "conflict", "/training/optimizer/groups"),
        (plan(optimizer=grouped({"lr": 1})), "missing", "/training/optimizer/groups/0/match"),
        (plan(optimizer=grouped({"match": ""})), "out_of_range", "/training/optimizer/groups/0/match"),
        (plan(optimizer=grouped({"match": "*", "lr": 0})), "out_of_range", "/training/optimizer/groups/0/lr"),
        (plan(optimizer=grouped({"match": "*", "l": 1})), "extra_forbidden", "/training/optimizer/groups/0/l"),
        (
            plan(optimizer=grouped({"match": "*", "type": "SGD"})),
            "extra_forbidden",
            "/training/optimizer/groups/0/type",
        ),
        (
            plan(optimizer=grouped({"match": "*", "groups": []})),
            "extra_forbidden",
            "/training/optimizer/groups/0/groups",
        ),
        (plan(optimizer=grouped(*[{"match": "*"}] * 65)), "out_of_range", "/training/optimizer/groups"),
        (plan(optimizer={"type": "Rprop", "etas": [1.5, 1.2]}), "invalid_argument", "/training/optimizer/etas"),
        (plan(optimizer={"type": "Muon", "ns_steps": 100}), "out_of_range", "/training/optimizer/ns_steps"),
        (plan(scheduler={"type": "LambdaLR", "lr_lambda": "x"}), "unsupported_type", "/training/scheduler/type"),
        (plan(scheduler={"type": "MultiplicativeLR"}), "unsupported_type", "/training/scheduler/type"),
        (plan(scheduler=sequence([])), "out_of_range", "/training/scheduler/schedulers"),
        (plan(scheduler=sequence([STEP, STEP])), "invalid_argument", "/training/scheduler/milestones"),
        (plan(scheduler=sequence([STEP] * 3, 5, 5)), "invalid_argument", "/training/scheduler/milestones"),
        (plan(scheduler=sequence([{"type": "StepLR"}])), "missing", "/training/scheduler/schedulers/0/step_size"),
        (
            plan(scheduler=sequence([{**STEP, "interval": "step"}])),
            "conflict",
            "/training/scheduler/schedulers/0/interval",
        ),
        (
            plan(scheduler=sequence([{"type": "ReduceLROnPlateau"}])),
            "unknown_type",
            "/training/scheduler/schedulers/0/type",
        ),
        (plan(scheduler={"type": "ReduceLROnPlateau", "factor": 1}), "out_of_range", "/training/scheduler/factor"),
        (plan(accumulate=0), "out_of_range", "/training/accumulate"),
        (plan(precision="fp8"), "unknown_value", "/training/precision"),
        (plan(ema={"decay": 1}), "out_of_range", "/training/ema/decay"),
        (plan(early_stopping={"patience": 0}), "out_of_range", "/training/early_stopping/patience"),
        (plan(evaluate_every={"steps": 1, "epochs": 1}), "conflict", "/training/evaluate_every/steps"),
        (plan(warmup={}), "missing", "/training/warmup/steps"),
        (plan(freeze="*"), "list_type", "/training/freeze"),
        (plan(tenant_id="x"), "extra_forbidden", "/training/tenant_id"),
        ([], "dict_type", "/training"),
    ],
)
def test_a_wrong_plan_is_refused_with_code_and_pointer(training, code, pointer):
    assert [(problem.code, problem.pointer) for problem in refuse(training)] == [(code, pointer)]


@pytest.mark.parametrize(
    ("data", "code", "pointer"),
    [
        ({"batch_size": 0}, "out_of_range", "/data/batch_size"),
        ({"batch_size": 2**20 + 1}, "out_of_range", "/data/batch_size"),
        ({"batch_size": "Auto"}, "int_type", "/data/batch_size"),
        ({"batch_size": 7.5}, "int_type", "/data/batch_size"),
        ({"inputs": []}, "out_of_range", "/data/inputs"),
        ({"inputs": ["pixels", 3]}, "string_type", "/data/inputs/1"),
        ({"split": {"train": 0.9, "test": 0.2}}, "out_of_range", "/data/split"),
        ({"split": {"train": 0}}, "out_of_range", "/data/split/train"),
        ({"shuffle": "yes"}, "bool_type", "/data/shuffle"),
        ({"path": "/etc/passwd"}, "extra_forbidden", "/data/path"),
    ],
)
def test_a_wrong_data_section_is_refused_with_code_and_pointer(data, code, pointer):
    assert [(problem.code, problem.pointer) for problem in refuse(data=data)] == [(code, pointer)]


def test_a_wrong_checkpoint_policy_is_refused():
    problems = refuse(checkpoints={"every": {"epochs": 1, "steps": 5}, "keep": 0})
    assert {(problem.code, problem.pointer) for problem in problems} == {
        ("conflict", "/checkpoints/every/steps"),
        ("out_of_range", "/checkpoints/keep"),
    }


def test_all_problems_are_reported_at_once():
    problems = refuse({"epochs": "7", "optimizer": {"type": "Adm"}, "loss": {}, "extra": 1}, {"batch_size": 0})
    assert len(problems) == 5


def test_both_limits_are_named():
    (problem,) = refuse(plan(epochs=0))
    assert "at least 1 and at most 1000000" in problem.detail
    (problem,) = refuse(plan(optimizer={"type": "SGD", "lr": 0}))
    assert "greater than 0 and at most 1000000" in problem.detail


@pytest.mark.parametrize(
    ("training", "name"),
    [
        (plan(optimizer={"type": "adam"}), "'Adam'"),
        (plan(loss={"type": "CrossEntropy"}), "'CrossEntropyLoss'"),
        (plan(metrics=["acc"]), "'accuracy'"),
        (plan(epoch=3), "'epochs'"),
    ],
)
def test_the_nearest_name_is_offered(training, name):
    assert name in refuse(training)[0].hint


def test_a_prefix_moves_every_pointer():
    with pytest.raises(ValidationError) as caught:
        TrainingPlan.model_validate(plan(epochs=0))
    assert problems_from(caught.value, TrainingPlan, pointer="/training")[0].pointer == "/training/epochs"


def test_integers_are_numbers_where_a_number_is_wanted():
    assert TrainingPlan.model_validate(plan(optimizer={"type": "SGD", "lr": 1})).optimizer.lr == 1


def test_a_split_of_ten_tenths_adds_up_in_spite_of_rounding():
    assert Split(train=0.7, validation=0.2, test=0.1).train == 0.7


def test_a_huge_value_is_shortened_in_the_answer():
    (problem,) = refuse(plan(on_non_finite="x" * 10_000))
    assert len(problem.detail) < 200


def test_the_json_schema_of_a_request_can_be_written():
    assert "Adagrad" in json.dumps(Request.model_json_schema())


def test_a_value_that_may_be_of_several_types_has_one_problem_that_names_them():
    """Not one for each way through pydantic's union, whose names are no part of a document."""

    class Either(BaseModel):
        model_config = ConfigDict(strict=True)
        output: str | int | None = None

    with pytest.raises(ValidationError) as caught:
        Either.model_validate({"output": [1]})
    (problem,) = problems_from(caught.value, Either)
    assert (problem.pointer, problem.detail) == ("/output", "This must be a string or an integer, not [1].")
