"""Several GPUs or processes: how they are asked for, and what they cannot do together."""

import pytest
from pydantic import ValidationError

from services.config import Settings
from services.training.problems import problems_from
from services.training.resources import Resources, check_shares, check_sharing, device_class
from services.training.schema import DataSection, TrainingPlan

PLAN = {"epochs": 1, "optimizer": {"type": "Adam"}, "loss": {"type": "CrossEntropyLoss"}}


def read(section):
    return Resources.model_validate(section)


@pytest.mark.parametrize(
    ("section", "expected", "wanted"),
    [
        ({}, {"device": "auto", "gpus": None, "processes": 1}, "auto"),
        ({"device": "cpu"}, {"device": "cpu", "gpus": None, "processes": 1}, "cpu"),
        ({"gpus": 1}, {"device": "cuda", "gpus": 1, "processes": 1}, "cuda"),
        ({"gpus": 4}, {"device": "cuda", "gpus": 4, "processes": 4}, "cuda:4"),
        ({"device": "cuda", "gpus": 2}, {"device": "cuda", "gpus": 2, "processes": 2}, "cuda:2"),
        ({"device": "cpu", "processes": 2}, {"device": "cpu", "gpus": None, "processes": 2}, "cpu:2"),
    ],
)
def test_a_section_says_how_many_processes_train_and_which_worker_can(section, expected, wanted):
    assert read(section).resolved() == expected
    assert device_class(expected) == wanted


@pytest.mark.parametrize(
    ("section", "code", "pointer"),
    [
        ({"device": "cpu", "gpus": 2}, "conflict", "/gpus"),
        ({"processes": 2}, "conflict", "/processes"),
        ({"device": "cuda", "processes": 2}, "conflict", "/processes"),
        ({"gpus": 0}, "out_of_range", "/gpus"),
        ({"gpus": 65}, "out_of_range", "/gpus"),
        ({"gpus": True}, "int_type", "/gpus"),
        ({"gpus": 2.0}, "int_type", "/gpus"),
    ],
)
def test_a_section_that_cannot_be_is_refused(section, code, pointer):
    with pytest.raises(ValidationError) as caught:
        read(section)
    (problem,) = problems_from(caught.value, Resources)
    assert (problem.code, problem.pointer) == (code, pointer)


@pytest.mark.parametrize(
    ("data", "training", "pointer"),
    [
        ({}, {"execution": "static"}, "/training/execution"),
        ({}, {"optimizer": {"type": "SparseAdam"}}, "/training/optimizer/type"),
        ({"batch_size": "auto"}, {}, "/data/batch_size"),
        ({}, {"loss": {"type": "CrossEntropyLoss", "weight": [1.0] * 10}}, "/training/loss/weight"),
        ({}, {"loss": {"type": "NLLLoss", "ignore_index": 0}}, "/training/loss/ignore_index"),
    ],
)
def test_what_processes_cannot_do_together_is_refused(data, training, pointer):
    plan = TrainingPlan.model_validate({**PLAN, **training})
    section = DataSection.model_validate({"dataset": "digits", **data})
    (problem,) = check_sharing(plan, section, 2)
    assert (problem.code, problem.pointer) == ("conflict", pointer)
    assert problem.hint
    assert check_sharing(plan, section, 1) == []


def test_a_sum_over_rows_may_be_weighted():
    loss = {"type": "CrossEntropyLoss", "weight": [1.0] * 10, "reduction": "sum"}
    plan = TrainingPlan.model_validate({**PLAN, "loss": loss})
    assert check_sharing(plan, DataSection.model_validate({"dataset": "digits"}), 2) == []


@pytest.mark.parametrize(
    ("size", "rows", "drop_last", "code"),
    [
        (64, 129, False, "batch_too_small"),
        (64, 129, True, None),
        (64, 130, False, None),
        (64, 128, False, None),
        (1, 128, False, "out_of_range"),
    ],
)
def test_every_batch_needs_a_row_for_each_process(size, rows, drop_last, code):
    data = {"batch_size": size, "rows": {"train": rows}, "drop_last": drop_last}
    assert [problem.code for problem in check_shares(data, 2)] == ([code] if code else [])
    assert check_shares(data, 1) == []


def test_a_worker_offers_what_it_has():
    settings = Settings("postgresql://unused", "redis://unused", devices=("cuda", "cpu"), gpus=3, processes=2)
    assert settings.device_classes == ("cuda", "cpu", "cuda:2", "cuda:3", "cpu:2")
    assert Settings("postgresql://unused", "redis://unused").device_classes == ("cpu",)
