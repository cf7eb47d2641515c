"""A probe makes real steps of a plan on made-up rows, within time and memory, in a child that may do nothing else."""

import pytest

from services.config import Settings
from services.modules import probe
from services.modules.probe import measure
from services.preflight import Preflight
from services.training.resolve import preflight_inputs
from tests.worker.trainer.harness import MLP, make_job

TARGET = "services.modules.probe:run"
CNN = "Sequential(Conv2d(1, 8, 3), BatchNorm2d(8), ReLU(), Flatten(), Linear(288, 10))"


def plan_of(folder, *, most_rows=1_000_000, **given):
    job = make_job(folder, **given)
    training, data = job["training"], job["data"]
    plan = {name: training[name] for name in ("loss", "optimizer", "precision", "reproducible", "freeze")}
    shared = {"names": data["names"], "columns": data["columns"], "batch_size": data["batch_size"]}
    inputs = {"document": job["definition"], "inputs": preflight_inputs(job)}
    return {**plan, **shared, **inputs, "sample_bytes": 1, "max_bytes": most_rows, "smallest_batch": 8}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"model": CNN, "data": {"inputs": ["image"], "batch_size": 64}, "optimizer": {"type": "SGD", "lr": 0.1}},
        {"optimizer": {"type": "LBFGS", "max_iter": 2}},
        {"optimizer": {"type": "AdamW", "betas": [0.8, 0.9], "groups": [{"match": "*.bias", "lr": 0.1}]}},
        {"freeze": ["0.*"], "precision": "bf16"},
        {"data": {"batch_size": 1}},
    ],
)
def test_steps_of_any_plan_are_timed(tmp_path, given):
    plan = plan_of(tmp_path, **given)
    found = measure(plan)
    assert found["batch_size"] == plan["batch_size"]
    assert found["steps"] >= 3
    assert found["forward_seconds"] > 0
    assert found["step_seconds"] > 0


def test_what_is_frozen_does_not_move(tmp_path):
    made = probe.Probe(plan_of(tmp_path, freeze=["0.*"], optimizer={"type": "SGD", "lr": 1.0}))
    before = {name: tensor.clone() for name, tensor in made._model.state_dict().items()}
    made.step_seconds(16, 0.0)
    moved = {name for name, tensor in made._model.state_dict().items() if not tensor.equal(before[name])}
    assert moved == {"2.weight", "2.bias"}


def test_a_batch_that_takes_too_much_is_judged_by_smaller_ones(tmp_path):
    plan = plan_of(tmp_path, data={"batch_size": 512}, most_rows=64)
    found = measure(plan)
    assert found["batch_size"] == 64  # what memory allows
    wide = "Sequential(Linear(64, 3000), ReLU(), Linear(3000, 3000), ReLU(), Linear(3000, 10))"
    found = measure(plan_of(tmp_path, model=wide, data={"batch_size": 100_000}))
    assert 8 <= found["batch_size"] < 100_000  # what time allows


@pytest.fixture(scope="module")
def preflight():
    opened = Preflight(Settings("postgresql://", "redis://"))
    yield opened
    opened.close()


def test_a_child_measures_and_the_answer_is_remembered(preflight, tmp_path):
    plan = plan_of(tmp_path)
    assert preflight.measured(TARGET, plan) is None
    found = preflight.measure(TARGET, plan, seconds=20)
    assert found["steps"] > 0
    assert preflight.measured(TARGET, plan) == found
    assert preflight.measured(TARGET, {**plan, "batch_size": 2}) is None


def test_a_model_that_fails_or_never_ends_leaves_a_word_and_the_next_one_goes_on(preflight, tmp_path):
    slow = ["y = self.first(x)", {"for": "i in range(2000)", "do": ["y = self.deep(y)"]}, "return self.head(y)"]
    layers = [{"first": "Linear(64, 2000)"}, {"deep": "Linear(2000, 2000)"}, {"head": "Linear(2000, 10)"}]
    endless = {"modules": {"Endless": {"init": layers, "forward": slow}}, "model": "Endless()"}
    found = preflight.measure(TARGET, {**plan_of(tmp_path), "document": endless}, seconds=1)
    assert found == {"failed": "killed"}
    broken = {**plan_of(tmp_path), "inputs": {"x": {"dtype": "float32", "shape": ["B", 63]}}}
    assert preflight.measure(TARGET, broken, seconds=20) == {"failed": "RuntimeError"}
    assert preflight.measure(TARGET, plan_of(tmp_path, model=MLP), seconds=20)["steps"] > 0


def test_only_one_measures_at_a_time_and_nobody_waits(preflight, tmp_path):
    with preflight._free_for_measures:  # who waited for it here would wait for ever
        assert preflight.measure(TARGET, plan_of(tmp_path, data={"batch_size": 4}), seconds=20) is None
