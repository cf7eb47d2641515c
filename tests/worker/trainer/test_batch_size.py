"""A batch size that the plan leaves open is found before the first step, said, and kept for good."""

import pytest
import torch
from torch import nn

from tests.worker.trainer.harness import assert_same_bits, make_job, read, resumed, train
from worker.trainer import batch_size, main

MODEL = "Sequential(Linear(64, 8), BatchNorm1d(8), ReLU(), Dropout(0.3), Linear(8, 10))"
PLAN = {"scheduler": {"type": "CosineAnnealingLR", "interval": "step"}, "accumulate": 2}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def open_job(folder, cache, size="auto", **options):
    data = {"batch_size": size, "split": {"train": 0.2, "validation": 0.1}}  # 359 rows
    return make_job(folder, model=options.pop("model", MODEL), cache=cache, data=data, **{**PLAN, **options})


def test_the_run_is_that_of_a_plan_with_the_size_that_was_found(tmp_path, cache):
    line = train(open_job(tmp_path, cache))
    assert line.last["outcome"] == "succeeded", line.last
    (said,) = line.of("batch_size")
    size = said["batch_size"]
    assert size in (8, 16, 32)
    assert line.last["step"] == said["training"]["total_steps"] == said["training"]["scheduler"]["T_max"]
    plain = train(open_job(tmp_path, cache, size=size))
    assert_same_bits(read(line.of("checkpoint")[-1]), read(plain.of("checkpoint")[-1]))


def test_a_resume_keeps_the_size_whatever_would_be_found_now(tmp_path, cache, monkeypatch):
    job = open_job(tmp_path, cache, checkpoints={"every": {"steps": 1}})
    whole = train(job)
    monkeypatch.setattr(batch_size, "_candidates", lambda *_, **__: pytest.fail("it was found already"))
    rest = train(resumed(job, whole.of("checkpoint")[2], tmp_path / "resumed"))
    assert rest.events[0]["resume"] == "exact"
    assert_same_bits(read(rest.of("checkpoint")[-1]), read(whole.of("checkpoint")[-1]))
    # What the supervisor notes of the event gives the same run too.
    (said,) = whole.of("batch_size")
    noted = {**job, "data": {**job["data"], "batch_size": said["batch_size"]}, "training": said["training"]}
    rest = train(resumed(noted, whole.of("checkpoint")[2], tmp_path / "noted"))
    assert rest.events[0]["resume"] == "exact"
    assert_same_bits(read(rest.of("checkpoint")[-1]), read(whole.of("checkpoint")[-1]))


def fails_above(limit):
    """Return a model for which memory ends where a batch has more rows than ``limit``."""

    class Large(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, x):
            if len(x) > limit and self.training:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return self.layer(x)

    return lambda payload, line: main.train(payload, line, lambda definition: Large())


def test_a_size_that_does_not_fit_is_not_taken(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(batch_size, "_TOLERANCE", float("inf"))
    line = train(open_job(tmp_path, cache, model="Linear(64, 10)"), run=fails_above(16))
    assert line.of("batch_size")[0]["batch_size"] == 16
    assert line.last["outcome"] == "succeeded"
    line = train(open_job(tmp_path, cache, model="Linear(64, 10)"), run=fails_above(4))
    assert line.last["error"]["code"] == "out_of_memory"
    assert "smaller model" in line.last["error"]["hint"]


def test_sizes_are_powers_of_two_that_leave_eight_batches_and_no_single_row():
    def sizes(rows, **options):
        return list(batch_size._candidates(rows, **{"single_row_fails": False, **options}))

    assert sizes(1437) == [8, 16, 32, 64, 128]
    assert sizes(129, single_row_fails=True) == [129]  # any power of two would leave one row
    assert sizes(40) == [4]
    assert sizes(5) == [1]
    assert sizes(2, single_row_fails=True) == [2]
