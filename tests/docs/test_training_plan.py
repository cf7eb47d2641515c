"""Every example of the page on training plans is trained; each member of a plan has one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from services.jobs.again import ForkRequest, merged
from services.jobs.schema import JobRequest
from services.training.schema import CheckpointPolicy, TrainingPlan
from services.training.selection import check_selection
from services.training.start import InitFrom, match_weights
from tests.worker.trainer.harness import SMALL_SPLIT, make_job, train

PAGE = (Path(__file__).parents[2] / "docs" / "training-plan.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```json([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [json.loads(text) for note, text in _BLOCK.findall(PAGE) if not note]
START = [json.loads(text) for note, text in _BLOCK.findall(PAGE) if note.strip() == "init_from"]
FORKS = [json.loads(text) for note, text in _BLOCK.findall(PAGE) if note.strip() == "fork"]
MODEL = "Sequential(Linear(64, 8), BatchNorm1d(8), ReLU(), Linear(8, 10))"
NOT_HERE = {"loss", "metrics", "execution", "execution_fallback"}  # pages of their own

TENSORS = [
    {"name": name, "shape": list(shape), "parameter": True, "trainable": True, "sparse": False, "same_as": None}
    for name, shape in {
        "0.weight": (8, 64),
        "0.bias": (8,),
        "1.weight": (8,),
        "1.bias": (8,),
        "3.weight": (10, 8),
        "3.bias": (10,),
    }.items()
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def request_of(example: dict[str, Any]) -> dict[str, Any]:
    training = {"loss": {"type": "CrossEntropyLoss"}, **example["training"]}
    return {"model": MODEL, "data": {"dataset": "digits"}, **example, "training": training}


def job_of(example: dict[str, Any], folder: Path, cache: Path) -> dict[str, Any]:
    request = request_of(example)
    JobRequest.model_validate(request)
    size = {"split": {**SMALL_SPLIT, "train": 0.1}, **({"batch_size": "auto"} if "data" in example else {})}
    training = {"epochs": None, **request["training"]}
    return make_job(folder, model=MODEL, cache=cache, data=size, checkpoints=request.get("checkpoints"), **training)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: ",".join(example["training"])[:60])
def test_an_example_trains(example: dict[str, Any], tmp_path: Path, cache: Path) -> None:
    job = job_of(example, tmp_path, cache)
    check_selection(job["training"], TENSORS)
    line = train(job)
    assert line.last["event"] == "finished", line.last
    assert line.last["outcome"] == "succeeded"


def test_the_example_of_early_stopping_stops_early(tmp_path: Path, cache: Path) -> None:
    (example,) = (one for one in EXAMPLES if "early_stopping" in one["training"])
    assert train(job_of(example, tmp_path, cache)).last["reason"] == "early_stopped"


def test_the_example_with_weights_begins_with_them(tmp_path: Path, cache: Path) -> None:
    (example,) = START
    weights = {"encoder.weight": torch.ones(8, 64), "encoder.bias": torch.ones(8), "other": torch.ones(1)}
    save_file(weights, tmp_path / "weights.safetensors")
    shapes = {name: list(tensor.shape) for name, tensor in weights.items()}
    start = match_weights(InitFrom.model_validate(example["init_from"]), TENSORS, shapes)
    assert start["report"]["loaded"] == ["0.weight", "0.bias"]
    job = job_of({key: value for key, value in example.items() if key != "init_from"}, tmp_path, cache)
    line = train({**job, "init_from": start, "initial_weights": str(tmp_path / "weights.safetensors")})
    assert line.last["outcome"] == "succeeded"
    assert line.of("weights_loaded")[0]["tensors"] == 2


def test_the_example_of_a_fork_is_a_request_again() -> None:
    (example,) = FORKS
    old = request_of({"training": {"epochs": 1, "optimizer": {"type": "Adam"}}})
    new = JobRequest.model_validate(merged(old, ForkRequest.model_validate(example).changes))
    assert (new.name, new.training.steps, new.training.optimizer.lr) == ("longer", 30, 0.0003)


def test_every_member_of_a_plan_has_an_example() -> None:
    shown = {name for example in [*EXAMPLES, *START] for name in example["training"]}
    assert set(TrainingPlan.model_fields) - NOT_HERE <= shown
    policy = {name for example in EXAMPLES for name in example.get("checkpoints", {})}
    assert policy == set(CheckpointPolicy.model_fields)
