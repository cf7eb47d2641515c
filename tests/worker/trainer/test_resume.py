"""Training stopped anywhere and resumed ends in the same bits as training that was never disturbed."""

import pytest
import torch

from tests.worker.trainer.harness import Line, assert_same_bits, make_job, read, resumed, train

# Dropout draws random numbers, batch norm keeps running statistics in buffers.
MODEL = "Sequential(Linear(64, 8), BatchNorm1d(8), ReLU(), Dropout(0.3), Linear(8, 10))"
EVERY_STEP = {"every": {"steps": 1}}
BATCHES = {"batch_size": 24}  # three full ones an epoch, and the rest

OPTIMIZERS = {
    "SGD": {"type": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True},
    "SGD-plain": {"type": "SGD", "lr": 0.1},
    "Adam": {"type": "Adam", "lr": 0.01, "amsgrad": True, "weight_decay": 1e-3},
    "AdamW": {"type": "AdamW", "lr": 0.01},
    "RMSprop": {"type": "RMSprop", "lr": 0.001, "momentum": 0.9, "centered": True},
    "Adagrad": {"type": "Adagrad", "lr": 0.05, "lr_decay": 0.01},
    "Adadelta": {"type": "Adadelta"},
    "Adafactor": {"type": "Adafactor"},
    "Adamax": {"type": "Adamax"},
    "ASGD": {"type": "ASGD", "t0": 3.0},
    "NAdam": {"type": "NAdam"},
    "RAdam": {"type": "RAdam"},
    "Rprop": {"type": "Rprop"},
}
SCHEDULERS = {
    "StepLR": {"type": "StepLR", "step_size": 1, "gamma": 0.5},
    "MultiStepLR": {"type": "MultiStepLR", "milestones": [2, 3, 3, 6], "interval": "step"},
    "ExponentialLR": {"type": "ExponentialLR", "gamma": 0.9, "interval": "step"},
    "ConstantLR": {"type": "ConstantLR", "total_iters": 5, "interval": "step"},
    "LinearLR": {"type": "LinearLR", "total_iters": 6, "interval": "step"},
    "PolynomialLR": {"type": "PolynomialLR", "power": 2.0, "interval": "step"},
    "CosineAnnealingLR": {"type": "CosineAnnealingLR", "interval": "step"},
    "CosineAnnealingWarmRestarts": {"type": "CosineAnnealingWarmRestarts", "T_0": 2, "T_mult": 2, "interval": "step"},
    "OneCycleLR": {"type": "OneCycleLR", "max_lr": 0.1},
    "CyclicLR": {"type": "CyclicLR", "base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "interval": "step"},
    "ReduceLROnPlateau": {"type": "ReduceLROnPlateau", "patience": 0, "factor": 0.5, "threshold": 1.0},
    "SequentialLR": {
        "type": "SequentialLR",
        "interval": "step",
        "schedulers": [
            {"type": "LinearLR", "total_iters": 2},
            {"type": "CosineAnnealingLR"},
            {"type": "StepLR", "step_size": 1, "gamma": 0.5},
        ],
        "milestones": [2, 5],
    },
    "ChainedScheduler": {
        "type": "ChainedScheduler",
        "interval": "step",
        "schedulers": [{"type": "ExponentialLR", "gamma": 0.9}, {"type": "ConstantLR", "total_iters": 3}],
    },
}
LSTM = {
    "modules": {
        "Reader": {
            "init": [{"lstm": "LSTM(8, 6, batch_first=True, num_layers=2, dropout=0.2)"}, {"head": "Linear(6, 10)"}],
            "forward": ["outputs, _ = self.lstm(x.view(-1, 8, 8))", "return self.head(outputs[:, -1])"],
        }
    },
    "model": "Reader()",
}
SPARSE = {
    "modules": {
        "Bag": {
            "init": [{"table": "Embedding(17, 10, sparse=True)"}],
            "forward": ["return self.table((x * 16).long().clamp(0, 16)).mean(1)"],
        }
    },
    "model": "Bag()",
}
OVERFLOWING = {  # from the sixth step on
    "modules": {
        "Overflowing": {
            "init": [{"head": "Linear(64, 10)"}],
            "forward": ["y = self.head(x)", "return y + torch.exp(y.abs().max() * 80) * 0"],
        }
    },
    "model": "Overflowing()",
}
ADAM = {"optimizer": {"type": "Adam", "lr": 0.02}}
EVERY_TWO = {"evaluate_every": {"steps": 2}}
# Of each: the plan, and whatever else of the request differs.
PLANS = {
    "accumulate": {"accumulate": 3, "steps": 6, "epochs": None},
    "precision-bf16": {"precision": "bf16"},
    "ema": {"ema": {"decay": 0.5, "every": 2}},
    "ema-with-buffers": {"ema": {"decay": 0.9, "use_buffers": True}, **EVERY_TWO},
    "swa": {"swa": {"start_epoch": 1}},
    "swa-with-a-rate": {
        "swa": {"start_epoch": 1, "lr": 0.5, "anneal_epochs": 2},
        "scheduler": {"type": "StepLR", "step_size": 1},
        "epochs": 4,
    },
    "early-stopping": {
        "epochs": 50,
        "early_stopping": {"patience": 2, "min_delta": 0.5, "restore_best": True},
        "ema": {"decay": 0.5},
        **EVERY_TWO,
    },
    "best": {"checkpoints": {"best": {"metric": "validation/accuracy", "mode": "max", "restore": True}}, **EVERY_TWO},
    "warmup": {"warmup": {"steps": 3}, "scheduler": {"type": "PolynomialLR", "interval": "step"}},
    "skip": {"on_non_finite": "skip", "model": OVERFLOWING},
    "groups": {
        "optimizer": {
            "type": "AdamW",
            "groups": [{"match": "*.bias", "weight_decay": 0, "lr": 0.1}, {"match": "0.*", "betas": [0.8, 0.9]}],
        },
        "scheduler": {"type": "ExponentialLR", "gamma": 0.5},
    },
    "freeze": {"freeze": ["0.*", "1.*"]},
    "freeze-renewing-statistics": {"freeze": ["0.*", "1.*"], "frozen_batch_norm": "update"},
    "lstm": {"model": LSTM},
    "lbfgs": {"optimizer": {"type": "LBFGS", "max_iter": 3}, "gradient_clip": None},
    "lbfgs-with-line-search": {
        "optimizer": {"type": "LBFGS", "max_iter": 4, "history_size": 3, "line_search_fn": "strong_wolfe"},
        "gradient_clip": None,
        "accumulate": 2,
        "steps": 6,
        "epochs": None,
        "model": LSTM,
    },
    "muon": {
        "optimizer": {"type": "Muon", "lr": 0.02},
        "model": "Sequential(Linear(64, 8, bias=False), ReLU(), Dropout(0.3), Linear(8, 10, bias=False))",
    },
    "sparse-adam": {"optimizer": {"type": "SparseAdam", "lr": 0.1}, "gradient_clip": None, "model": SPARSE},
    "clip-by-value": {"gradient_clip": {"value": 0.01}},
    "everything": {
        "accumulate": 2,
        "steps": 7,
        "epochs": None,
        "precision": "bf16",
        "ema": {"decay": 0.5},
        "early_stopping": {"patience": 100, "restore_best": True},
        "scheduler": {"type": "ReduceLROnPlateau", "patience": 0, "threshold": 1.0},
        "optimizer": {"type": "NAdam", "groups": [{"match": "*.bias", "lr": 0.1}]},
        "freeze": ["1.*"],
        "model": LSTM | {"model": "Sequential(Linear(64, 64), BatchNorm1d(64), Reader())"},
        **EVERY_TWO,
    },
}
CASES = (
    [pytest.param({"optimizer": section}, id=name) for name, section in OPTIMIZERS.items()]
    + [
        pytest.param({"optimizer": OPTIMIZERS["SGD"], "scheduler": section}, id=name)
        for name, section in SCHEDULERS.items()
    ]
    + [pytest.param({**ADAM, **plan}, id=name) for name, plan in PLANS.items()]
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def final(line):
    assert line.last["event"] == "finished", line.last
    assert line.last["outcome"] == "succeeded"
    (checkpoint,) = (event for event in line.of("checkpoint") if event["final"])
    return checkpoint


def own_series(line):
    """Return all series but those that depend on the machine."""
    names = {name for event in line.of("metrics") for name in event["series"]}
    return {name: line.series(name) for name in sorted(names) if not name.startswith("system/")}


@pytest.mark.parametrize("plan", CASES)
def test_resuming_at_any_step_gives_the_same_bits(plan, tmp_path, cache):
    plan = {"model": MODEL, "gradient_clip": {"norm": 1.0}, **plan}
    policy = {**EVERY_STEP, **plan.pop("checkpoints", {})}
    job = make_job(tmp_path, checkpoints=policy, data=BATCHES, cache=cache, **plan)
    whole = train(job)
    expected, series, last = read(final(whole)), own_series(whole), whole.last
    checkpoints = whole.of("checkpoint")
    assert [event["step"] for event in checkpoints] == list(range(1, last["step"] + 1))
    assert ("train/skipped_steps" in series) == ("on_non_finite" in plan)
    job["checkpoints"]["every"] = None
    for checkpoint in checkpoints[:-1]:
        rest = train(resumed(job, checkpoint, tmp_path / "resumed"))
        assert rest.events[0]["resume"] == "exact"
        assert rest.last == last
        assert_same_bits(read(final(rest)), expected)
        after = {name: {s: v for s, v in points.items() if s > checkpoint["step"]} for name, points in series.items()}
        # repr: NaN equals itself then
        assert repr(own_series(rest)) == repr({name: points for name, points in after.items() if points})


class PauseAt(Line):
    """Asks for a pause at the n-th look, which here is the n-th step."""

    def __init__(self, number):
        super().__init__()
        self.looks = number

    def poll(self):
        self.looks -= 1
        return [{"command": "pause"}] if self.looks == 0 else []


def test_pausing_at_every_look_and_resuming_each_time_gives_the_same_bits(tmp_path, cache):
    from worker.trainer.main import run

    job = make_job(tmp_path, model=MODEL, checkpoints=EVERY_STEP, data=BATCHES, cache=cache)
    expected = read(final(train(job)))
    # A look is taken before each step and between the batches of an evaluation: no pause may lose or repeat anything.
    current, losses, seen = job, {}, 0
    while True:
        line = PauseAt(2)
        run(current, line)
        losses |= line.series("train/loss")
        if line.last["outcome"] == "succeeded":
            break
        assert line.last["outcome"] == "paused"
        checkpoints = line.of("checkpoint")
        seen += 1
        assert seen < 40
        current = resumed(job, checkpoints[-1], tmp_path / f"attempt-{seen}") if checkpoints else current
    assert_same_bits(read(final(line)), expected)
    assert sorted(losses) == list(range(1, 9))


def test_a_run_without_shuffling_and_without_held_out_rows_resumes_too(tmp_path, cache):
    data = {**BATCHES, "shuffle": False, "drop_last": True, "split": {"train": 0.06}}
    job = make_job(tmp_path, model=MODEL, checkpoints=EVERY_STEP, cache=cache, data=data)
    whole = train(job)
    assert {name.split("/")[0] for event in whole.of("metrics") for name in event["series"]} == {
        "train",
        "learning_rate",
        "system",
    }
    for checkpoint in whole.of("checkpoint")[:-1]:
        rest = train(resumed(job, checkpoint, tmp_path / "resumed"))
        assert_same_bits(read(rest.of("checkpoint")[-1]), read(whole.of("checkpoint")[-1]))


def test_tied_weights_stay_tied(tmp_path, cache):
    model = {
        "modules": {
            "Tied": {
                "init": [
                    {"a": "Linear(64, 64)"},
                    {"b": "Linear(64, 64)"},
                    {"head": "Linear(64, 10)"},
                    {"tie": ["b.weight", "a.weight"]},
                ],
                "forward": ["return self.head(F.relu(self.b(F.relu(self.a(x)))))"],
            }
        },
        "model": "Tied()",
    }
    job = make_job(tmp_path, model=model, checkpoints=EVERY_STEP, cache=cache)
    whole = train(job)
    expected = read(whole.of("checkpoint")[-1])
    assert torch.equal(expected[0]["a.weight"], expected[0]["b.weight"])
    rest = train(resumed(job, whole.of("checkpoint")[4], tmp_path / "resumed"))
    assert_same_bits(read(rest.of("checkpoint")[-1]), expected)


def test_a_resume_elsewhere_is_called_approximate_and_says_why(tmp_path, cache):
    job = make_job(tmp_path, model=MODEL, checkpoints=EVERY_STEP, data=BATCHES, cache=cache)
    checkpoint = train(job).of("checkpoint")[3]
    line = train({**resumed(job, checkpoint, tmp_path / "resumed"), "threads": 2})
    torch.set_num_threads(1)
    started = line.events[0]
    assert started["resumed_from_step"] == 4
    assert started["resume"] == "approximate"
    assert started["differences"] == ["threads: 1 then, 2 now"]


@pytest.mark.parametrize("name", ["weights.safetensors", "state.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_refused(name, tmp_path, cache):
    from pathlib import Path

    job = make_job(tmp_path, model=MODEL, checkpoints=EVERY_STEP, data=BATCHES, cache=cache)
    checkpoint = train(job).of("checkpoint")[3]
    path = Path(checkpoint["directory"]) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    line = train(resumed(job, checkpoint, tmp_path / "resumed"))
    assert line.last["event"] == "failed"
    assert line.last["error"]["code"] == "checkpoint_corrupt"
    assert line.last["error"]["retryable"]
