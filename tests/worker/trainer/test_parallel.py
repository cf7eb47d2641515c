"""A job in several processes does what it does in one: the same losses, weights and decisions, but for rounding."""

import json
import math
import re
from pathlib import Path

import pytest
import torch

from services.training.resources import Resources
from tests.worker.trainer.forked import in_processes, train_forked
from tests.worker.trainer.harness import make_job, read, train

# Sums over a batch are added up in another order when its rows are spread, so their last bits differ.
LOSSES, WEIGHTS = 1e-5, 1e-4
BATCHES = {"batch_size": 24}  # three full ones an epoch, and eighteen rows
SGD = {"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}}
NORMED = "Sequential(Linear(64, 8, bias=False), BatchNorm1d(8), ReLU(), Linear(8, 10))"
IMAGES = (
    "Sequential(Unflatten(1, [1, 8, 8]), Conv2d(1, 4, 3, bias=False), BatchNorm2d(4, momentum=None), ReLU(), "
    "Flatten(), Linear(144, 10))"
)
BRANCHING = {  # which way a row's process goes depends on its rows; `never` has no gradient at all
    "modules": {
        "Branching": {
            "init": [
                {"bright": "Linear(64, 10)"},
                {"dark": "Linear(64, 10)"},
                {"never": "Linear(64, 10)"},
                {"seen": {"buffer": "torch.zeros(())"}},
            ],
            "forward": [
                "self.seen = self.seen + x.mean()",
                {"if": "self.training and x.mean() > 0.305", "then": ["return self.bright(x)"]},
                "return self.dark(x)",
            ],
        }
    },
    "model": "Branching()",
}
PLANS = {
    "plain": {},
    "uneven shares": {"processes": 3, "data": {"batch_size": 25}, "accumulate": 2},
    "sum": {"loss": {"type": "CrossEntropyLoss", "reduction": "sum"}, "optimizer": {"type": "SGD", "lr": 0.001}},
    "terms": {"loss": {"terms": {"fit": "F.cross_entropy(output, target)", "small": "output.square().mean()"}}},
    "clip and groups": {
        "gradient_clip": {"norm": 0.1},
        "optimizer": {"type": "AdamW", "groups": [{"match": "*.bias", "lr": 0.1}]},
        "scheduler": {"type": "ReduceLROnPlateau", "patience": 0, "threshold": 1.0},
    },
    "lbfgs": {"optimizer": {"type": "LBFGS", "max_iter": 3, "line_search_fn": "strong_wolfe"}},
    "batch norm and ema": {"model": NORMED, "ema": {"decay": 0.5}},
    "images and swa": {"model": IMAGES, "swa": {"start_epoch": 1}},
    "early stopping": {
        "epochs": 30,
        "early_stopping": {"patience": 2, "min_delta": 0.5, "restore_best": True},
        "evaluate_every": {"steps": 3},
    },
    "freeze": {"model": NORMED, "freeze": ["0.*", "1.*"]},
    "bf16": {"precision": "bf16", "losses": 0.02, "weights": 0.05},
}


def final(line):
    assert line.last["event"] == "finished", line.last
    (checkpoint,) = (event for event in line.of("checkpoint") if event["final"])
    return checkpoint


@pytest.mark.parametrize("name", PLANS)
def test_several_processes_compute_what_one_does(name, tmp_path, cache, fork_server):
    plan = {**SGD, "data": BATCHES, **PLANS[name]}
    count, losses, weights = (plan.pop(key, default) for key, default in
                              (("processes", 2), ("losses", LOSSES), ("weights", WEIGHTS)))  # fmt: skip
    job = make_job(tmp_path, cache=cache, **plan)
    alone = train({**job, "output": str(tmp_path / "alone")})
    together = train_forked(fork_server, in_processes(job, count), tmp_path / "together")
    assert together.last == alone.last
    expected = alone.series("train/loss")
    assert list(together.series("train/loss")) == list(expected)
    assert list(together.series("train/loss").values()) == pytest.approx(list(expected.values()), rel=losses)
    found = read(final(together))[0]
    for parameter, tensor in read(final(alone))[0].items():
        torch.testing.assert_close(found[parameter], tensor, rtol=weights, atol=weights)
    assert together.last_latest.keys() >= alone.last_latest.keys() - {"system/memory_bytes"}


def test_ways_that_depend_on_the_rows_may_differ_between_processes(tmp_path, cache, fork_server):
    job = make_job(
        tmp_path, model=BRANCHING, cache=cache, data=BATCHES, optimizer={"type": "Adam", "weight_decay": 0.1}
    )
    line = train_forked(fork_server, in_processes(job, 2), tmp_path / "together")
    weights = read(final(line))[0]
    begun = read(final(train({**job, "training": {**job["training"], "total_steps": 1}})))[0]
    assert torch.equal(weights["never.weight"], begun["never.weight"])  # decay would have moved a gradient of zeros
    assert not torch.equal(weights["bright.weight"], begun["bright.weight"])
    assert not torch.equal(weights["dark.weight"], begun["dark.weight"])


NOT_SEPARABLE = {
    "class weights": {"loss": {"type": "CrossEntropyLoss", "weight": [1.0, 5.0] * 5}},
    "a sum over rows": {"loss": {"terms": {"added": "F.cross_entropy(output, target, reduction='sum')"}}},
    "rows that meet": {
        "model": {
            "modules": {"Meet": {"init": [{"head": "Linear(64, 10)"}], "forward": ["return self.head(x - x.mean(0))"]}},
            "model": "Meet()",
        }
    },
}


@pytest.mark.parametrize("plan", NOT_SEPARABLE.values(), ids=NOT_SEPARABLE)
def test_what_would_not_train_as_in_one_process_is_refused(plan, tmp_path, cache, fork_server):
    job = make_job(tmp_path, cache=cache, **{**SGD, **plan})
    error = train_forked(fork_server, in_processes(job, 2), tmp_path / "together").last["error"]
    assert (error["code"], error["class"]) == ("batch_not_separable", "user")


def test_a_batch_with_fewer_rows_than_processes_is_refused_before_the_first_step(tmp_path, cache, fork_server):
    job = make_job(tmp_path, cache=cache, data={"batch_size": 89})
    line = train_forked(fork_server, in_processes(job, 2), tmp_path / "together")
    assert line.last["error"]["code"] == "batch_too_small"
    assert line.last["error"]["pointer"] == "/data/batch_size"
    assert line.last["step"] == 0


OVERFLOWING = {  # from the sixth step on, in the second process's rows alone
    "modules": {
        "Overflowing": {
            "init": [{"head": "Linear(64, 10)"}],
            "forward": [
                "y = self.head(x)",
                {"if": "self.training", "then": ["y = y + torch.exp(y[-1:].abs().max() * 80) * 0"]},
                "return y",
            ],
        }
    },
    "model": "Overflowing()",
}
ADAM = {"type": "Adam", "lr": 0.02}


def test_a_loss_that_is_not_finite_in_one_process_fails_the_job_at_that_step(tmp_path, cache, fork_server):
    job = make_job(tmp_path, model=OVERFLOWING, cache=cache, data=BATCHES, optimizer=ADAM, epochs=8)
    line = train_forked(fork_server, in_processes(job, 2), tmp_path / "together")
    assert line.last["error"]["code"] == "non_finite_loss"
    assert line.last["step"] > 1
    assert max(line.series("train/loss")) == line.last["step"]


def test_a_step_that_is_not_finite_in_one_process_is_skipped_in_all(tmp_path, cache, fork_server):
    job = make_job(
        tmp_path, model=OVERFLOWING, cache=cache, data=BATCHES, optimizer=ADAM, epochs=8, on_non_finite="skip"
    )
    line = train_forked(fork_server, in_processes(job, 2), tmp_path / "together")
    skipped = line.series("train/skipped_steps")
    assert skipped
    assert all(torch.isfinite(tensor).all() for tensor in read(final(line))[0].values())
    losses = line.series("train/loss")
    assert [step for step, loss in losses.items() if math.isnan(loss)] == list(skipped)


def test_ways_through_different_batch_normalisations_are_refused_before_anything_is_kept(tmp_path, cache, fork_server):
    model = {
        "modules": {
            "Ways": {
                "init": [{"bright": "BatchNorm1d(64)"}, {"dark": "BatchNorm1d(64)"}, {"head": "Linear(64, 10)"}],
                "forward": [
                    {"if": "self.training and x.mean() > 0.305", "then": ["return self.head(self.bright(x))"]},
                    "return self.head(self.dark(x))",
                ],
            }
        },
        "model": "Ways()",
    }
    job = make_job(tmp_path, model=model, cache=cache, data=BATCHES)
    line = train_forked(fork_server, in_processes(job, 2), tmp_path / "together")
    assert (line.last["error"]["code"], line.last["error"]["class"]) == ("batch_norms_differ", "user")
    assert line.of("checkpoint") == []


def test_the_page_s_example_trains_in_two_processes_as_in_one(tmp_path, cache, fork_server):
    page = (Path(__file__).parents[3] / "docs" / "training-plan.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```json parallel\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    example = json.loads(text)
    count = Resources.model_validate(example["resources"]).count
    job = make_job(tmp_path, cache=cache, data=example["data"], **example["training"])
    alone = train({**job, "output": str(tmp_path / "alone")})
    together = train_forked(fork_server, in_processes(job, count), tmp_path / "together")
    assert together.last == alone.last
    expected = list(alone.series("train/loss").values())
    assert list(together.series("train/loss").values()) == pytest.approx(expected, rel=LOSSES)
