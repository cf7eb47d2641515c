"""What is refused before a sweep begins, each with its code and place."""

from __future__ import annotations

from typing import Any

import pytest

from services.errors import InvalidRequest
from services.sweeps import service
from tests.services.sweeps.harness import BASE, LR, WIDTHS, Rig

SEEDS = {"/training/seed": {"int": [0, 2]}}


def problems_of(rig: Rig, **members: Any) -> dict[str, str]:
    body = {"base": BASE, "space": SEEDS, "strategy": "grid", **members}
    with rig.database.session() as session, pytest.raises(InvalidRequest) as caught:
        service.validate(session, tenant_id=rig.tenant_id, body=body, preflight=rig.preflight, settings=rig.settings)
    return {problem.pointer: problem.code for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("pointer", "code"),
    [
        ("training/seed", "invalid_pointer"),
        ("", "invalid_pointer"),
        ("/training/~2", "invalid_pointer"),
        ("/" + "a" * 600, "invalid_pointer"),
        ("/labels", "not_sweepable"),
        ("/labels/course", "not_sweepable"),
        ("/resources/device", "not_sweepable"),
        ("/checkpoints/keep", "not_sweepable"),
        ("/traning/seed", "unknown_pointer"),
        ("/training/optimzer/lr", "unknown_pointer"),
        ("/training/optimizer/learning_rate", "unknown_pointer"),
        ("/training/gradient_clip/norm", "unknown_pointer"),
        ("/training/metrics/1", "unknown_pointer"),
        ("/training/metrics/-", "unknown_pointer"),
        ("/training/metrics/00", "unknown_pointer"),
        ("/training/epochs/0", "unknown_pointer"),
        ("/model/layers/0/out_features", "unknown_pointer"),
    ],
)
def test_a_pointer_that_leads_nowhere_is_refused(rig: Rig, pointer: str, code: str) -> None:
    place = "/space/" + pointer.replace("~", "~0").replace("/", "~1")
    assert problems_of(rig, space={pointer: {"int": [1, 2]}}) == {place: code}


def test_a_webhook_that_no_trial_could_have_is_refused_at_once(rig: Rig) -> None:
    for webhook, code in (("https://hooks.example.com/x", "url_not_allowed"), ("whk_x", "unknown_webhook")):
        assert set(problems_of(rig, base={**BASE, "webhook": webhook}).values()) == {code}


def test_nearest_names_are_told(rig: Rig) -> None:
    body = {"base": BASE, "strategy": "grid", "space": {"/training/optimizer/weight_decy": {"choice": [0.0, 0.1]}}}
    with rig.database.session() as session, pytest.raises(InvalidRequest) as caught:
        service.validate(session, tenant_id=rig.tenant_id, body=body, preflight=rig.preflight, settings=rig.settings)
    assert caught.value.problems[0].hint == "Did you mean 'weight_decay'?"
    assert problems_of(rig, base={**BASE, "model": WIDTHS}, space={"/model/model/frist": {"int": [1, 2]}}) == {
        "/space/~1model~1model~1frist": "unknown_pointer"
    }


def test_two_pointers_must_not_say_something_about_one_field(rig: Rig) -> None:
    space = {"/training/optimizer": {"choice": [{"type": "Adam"}]}, LR: {"choice": [0.1]}}
    assert problems_of(rig, space=space) == {"/space/~1training~1optimizer~1lr": "conflict"}


def test_values_that_a_field_never_takes_are_refused_each_at_its_place(rig: Rig) -> None:
    space = {
        LR: {"choice": [0.1, "fast", -1]},
        "/training/epochs": {"uniform": [1, 3], "points": 3},
        "/data/batch_size": {"int": [0, 64], "step": 8},
        "/training/optimizer/type": {"choice": ["SGD", "Adamm"]},
    }
    assert problems_of(rig, space=space) == {
        "/space/~1training~1optimizer~1lr/choice/1": "float_type",
        "/space/~1training~1optimizer~1lr/choice/2": "out_of_range",
        "/space/~1training~1epochs/uniform/0": "int_type",
        "/space/~1training~1epochs/uniform/1": "int_type",
        "/space/~1data~1batch_size/int/0": "out_of_range",
        "/space/~1training~1optimizer~1type/choice/1": "unknown_type",
    }


def test_the_base_must_be_a_job_that_could_be_sent_as_it_is(rig: Rig) -> None:
    wrong = {**BASE, "model": "Sequential(Linear(64, 8), Linear(9, 10))", "epochs": 3}
    assert problems_of(rig, base=wrong) == {"/base/epochs": "extra_forbidden"}
    shapes = {**BASE, "model": "Sequential(Linear(64, 8), Linear(9, 10))"}
    (pointer, code), *_ = problems_of(rig, base=shapes).items()
    assert pointer.startswith("/base/model")
    assert code == "shape_mismatch"
    missing = dict.fromkeys(("/base/model", "/base/data", "/base/training"), "missing")
    assert problems_of(rig, base={}) == {**missing, "/space/~1training~1seed": "unknown_pointer"}


def test_the_objective_must_be_a_series_of_the_base(rig: Rig) -> None:
    assert problems_of(rig, objective={"metric": "validation/f1", "mode": "max"}) == {
        "/objective/metric": "unknown_metric"
    }
    asha = {"min_steps": 10, "metric": "train/loss", "mode": "min"}
    assert problems_of(rig, asha=asha) == {"/asha/metric": "unknown_metric"}
    best = {"checkpoints": {"best": {"metric": "validation/accuracy", "mode": "max"}}}
    assert problems_of(rig, base={**BASE, **best}) == {"/base/checkpoints/best": "conflict"}


def test_a_grid_is_counted_before_it_is_unrolled(rig: Rig) -> None:
    assert problems_of(rig, space={"/training/seed": {"int": [0, 2**53]}}) == {"/space": "grid_too_large"}
    assert problems_of(rig, budget={"trials": 2}) == {"/space": "grid_too_large"}
    space = {LR: {"log_uniform": [0.1, 1]}}
    assert problems_of(rig, space=space) == {"/space/~1training~1optimizer~1lr": "grid_needs_values"}
    assert problems_of(rig, strategy="random", budget={"trials": 4}) == {"/budget/trials": "too_many_trials"}


def test_limits_and_conflicts(rig: Rig) -> None:
    assert problems_of(rig, budget={"trials": 1001, "parallel": 65}) == {
        "/budget/trials": "out_of_range",
        "/budget/parallel": "out_of_range",
    }
    assert problems_of(rig, space={}) == {"/space": "out_of_range"}
    assert problems_of(rig, asha={}) == {"/asha": "missing"}
    assert problems_of(rig, asha={"min_steps": 1, "min_epochs": 1}) == {"/asha": "conflict"}
    assert problems_of(rig, asha={"min_steps": 1, "metric": "validation/loss"}) == {"/asha/mode": "missing"}
    assert problems_of(rig, base={**BASE, "labels": {"trial": "1"}}) == {"/base/labels/trial": "conflict"}
    steps = {**BASE["training"], "steps": 100}
    del steps["epochs"]
    assert problems_of(rig, base={**BASE, "training": steps}, asha={"min_epochs": 1}) == {
        "/asha/min_epochs": "conflict"
    }


def test_what_is_left_open_is_filled_in(rig: Rig) -> None:
    body = {"base": BASE, "space": {LR: {"log_uniform": [0.1, 1]}}, "asha": {"min_epochs": 2}}
    with rig.database.session() as session:
        found = service.validate(
            session, tenant_id=rig.tenant_id, body=body, preflight=rig.preflight, settings=rig.settings
        )["resolved"]
    assert (found["strategy"], found["points"], found["budget"]["trials"]) == ("tpe", None, 20)
    assert found["objective"] == {"metric": "validation/loss", "mode": "min"}
    assert found["asha"] | found["objective"] == found["asha"]
    assert found["base"]["checkpoints"]["best"] == found["objective"]
    assert found["base"]["training"]["seed"] == found["seed"]
    assert rig.jobs() == []
