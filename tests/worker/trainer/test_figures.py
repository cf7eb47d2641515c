"""What a run tells of itself: loss, rates, norms, speed and memory, as series with names; no step waits for them."""

from itertools import pairwise

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from services.modules import build
from tests.worker.trainer.harness import Line, assert_same_bits, make_job, read, resumed, train
from worker.trainer.assembly import assemble
from worker.trainer.cadence import Cadence
from worker.trainer.job import Job
from worker.trainer.machine import memory

READS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "item")
"""Operations that hand a tensor's value to Python: on a GPU each of them waits for the device."""
EVERY_STEP = {"scheduler": {"type": "CosineAnnealingLR", "interval": "step"}}


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    groups = [{"match": "*.bias", "lr": 0.5}]
    optimizer = {"type": "SGD", "lr": 0.1, "groups": groups}
    return train(
        make_job(tmp_path_factory.mktemp("job"), optimizer=optimizer, evaluate_every={"steps": 4}, **EVERY_STEP)
    )


def test_every_step_has_its_loss_its_rates_and_in_a_short_run_its_norm(line):
    steps = list(range(1, 13))
    for name in ("train/loss", "learning_rate", "learning_rate/1", "train/gradient_norm"):
        assert sorted(line.series(name)) == steps
    assert line.series("learning_rate")[1] == 0.1
    assert line.series("learning_rate/1")[1] == 0.5
    assert line.series("learning_rate")[12] < 0.01
    assert sorted(line.series("validation/loss")) == [4, 8, 12]


def test_what_was_measured_in_a_phase_is_reported_in_it_however_short_the_run(line):
    at = line.events.index({"event": "phase", "phase": "evaluating"})
    training = [event for event in line.events[:at] if event["event"] == "metrics"]
    assert [event["step"] for event in training if "first_step_at" in event]
    assert training[-1]["series"]["train/loss"]["steps"][-1] == 12


def test_speed_and_memory_have_names_and_units_and_are_no_part_of_a_checkpoint(line):
    series = {name for event in line.of("metrics") for name in event["series"] if name.startswith("system/")}
    assert series == {
        "system/steps_per_second",
        "system/samples_per_second",
        "system/memory_bytes",
        "system/memory_peak_bytes",
    }
    now, peak = line.series("system/memory_bytes"), line.series("system/memory_peak_bytes")
    assert all(50 << 20 < value <= peak[step] for step, value in now.items())  # torch alone takes more than 50 MiB
    speed, rows = line.series("system/steps_per_second"), line.series("system/samples_per_second")
    assert {step: rows[step] / value for step, value in speed.items()} == pytest.approx({12: 90 * 2 / 12})
    assert not any(name.startswith("system/") for name in line.of("checkpoint")[-1]["metrics"])


class Reads(TorchDispatchMode):
    """Notes each operation whose result Python has to wait for."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in READS:
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"gradient_clip": {"norm": 1.0}},
        {"gradient_clip": {"value": 1.0}, "accumulate": 2},
        {"ema": {"decay": 0.9}, **EVERY_STEP},
        {"precision": "bf16", "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
        {"on_non_finite": "continue", "freeze": ["0.*"]},
    ],
)
def test_no_step_hands_a_number_to_python(plan, tmp_path):
    trainer = assemble(Job.from_payload(make_job(tmp_path, **plan)), Line(), build)
    windows = trainer.windows.rest_of_epoch(0)
    trainer.train_step(next(windows))  # the first one checks its output
    with Reads() as reads:
        for window in windows:
            trainer._record_rates()
            trainer.recorder.record_loss(trainer.train_step(window))
            trainer.step += 1
    assert trainer.step >= 2
    assert reads.seen == []


def test_to_know_whether_to_skip_a_step_is_to_wait_for_it(tmp_path):
    trainer = assemble(Job.from_payload(make_job(tmp_path, on_non_finite="skip")), Line(), build)
    with Reads() as reads:
        trainer.train_step(next(trainer.windows.rest_of_epoch(0)))
    assert reads.seen


class Clock:
    """A clock on which every look at it takes a while."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 0.17
        return self.now


def test_checkpoints_by_the_clock_do_not_touch_the_bits(tmp_path, monkeypatch):
    model = "Sequential(Linear(64, 8), BatchNorm1d(8), ReLU(), Dropout(0.3), Linear(8, 10))"
    plan = {"model": model, "epochs": 6, "evaluate_every": {"steps": 5}, "ema": {"decay": 0.9}}
    undisturbed = train(make_job(tmp_path / "whole", **plan))
    assert len(undisturbed.of("checkpoint")) == 1
    expected = read(undisturbed.of("checkpoint")[-1])
    job = make_job(tmp_path / "timed", checkpoints={"every": {"seconds": 1}}, **plan)
    clock = Clock()
    for module in ("loop", "assembly"):
        monkeypatch.setattr(f"worker.trainer.{module}.time", clock)
    timed = train(job)
    stops = timed.of("checkpoint")
    distances = {later["step"] - earlier["step"] for earlier, later in pairwise(stops[:-1])}
    assert len(stops) > 5
    assert len(distances) > 1  # where they lie is a matter of the clock
    assert_same_bits(read(stops[-1]), expected)
    for stop in stops[:-1:3]:
        rest = train(resumed(job, stop, tmp_path / "resumed"))
        assert rest.events[0]["resume"] == "exact"
        assert_same_bits(read(rest.of("checkpoint")[-1]), expected)


def test_minutes_are_sixty_seconds():
    cadence = Cadence({"minutes": 2}, steps_per_epoch=3, step=0, now=10.0)
    assert [now for now in (11.0, 129.9, 130.0) if cadence.is_due(1, now, 0.0)] == [130.0]
    cadence.written(1, 131.0)
    assert not cadence.is_due(500, 250.9, 0.0)
    assert cadence.is_due(500, 251.0, 0.0)


def test_a_device_is_asked_for_its_own_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 5)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 7)
    found = memory()
    assert (found["system/cuda_memory_bytes"], found["system/cuda_memory_peak_bytes"]) == (5.0, 7.0)
