"""The trainer's parts: data in a fixed order, metrics as scikit-learn computes them, files that others can read."""

import hashlib
import math
from collections import Counter
from itertools import chain, pairwise

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn import metrics as reference

from services.datasets.builtin import materialise
from services.datasets.split import split_rows
from services.modules.data.loading import load_data
from services.modules.data.parts import Part
from services.modules.quick_metrics import quick_metric
from services.training.metrics import METRICS
from tests.worker.trainer.harness import make_job, read, train
from worker.trainer import data as data_module
from worker.trainer.cadence import Cadence
from worker.trainer.data import Batches
from worker.trainer.packing import pack, unpack
from worker.trainer.tensor_file import write_tensors


def part(rows):
    columns = {"x": torch.arange(rows).float().unsqueeze(1), "y": torch.arange(rows)}
    return Part(columns, ("x",), torch.arange(rows))


def batches(rows=23, *, batch_size=4, shuffle=True, drop_last=False, seed=5):
    return Batches(part(rows), batch_size=batch_size, shuffle=shuffle, drop_last=drop_last, seed=seed)


def targets(iterator):
    return [batch.columns["y"].tolist() for batch in iterator]


def test_every_row_comes_once_an_epoch_and_each_epoch_has_its_own_order():
    source = batches()
    first, second = targets(source.rest_of_epoch(0)), targets(source.rest_of_epoch(6))
    assert [len(batch) for batch in first] == [4, 4, 4, 4, 4, 3]
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(23))
    assert first != second
    assert targets(batches().rest_of_epoch(6)) == second
    assert targets(batches(seed=6).rest_of_epoch(6)) != second


@pytest.mark.parametrize("window_bytes", [1, 100, 1 << 20])
def test_any_position_is_found_whatever_the_window(window_bytes, monkeypatch):
    whole = targets(batches().rest_of_epoch(12))
    monkeypatch.setattr(data_module, "_WINDOW_BYTES", window_bytes)
    for skipped in range(6):
        assert targets(batches().rest_of_epoch(12 + skipped)) == whole[skipped:]


def test_inputs_and_targets_stay_together():
    for batch in batches().rest_of_epoch(0):
        assert batch.inputs[0].squeeze(1).tolist() == batch.columns["y"].tolist()
        assert batch.rows == len(batch.columns["y"])


def test_the_last_batch_may_be_dropped_and_the_order_kept():
    source = batches(shuffle=False, drop_last=True)
    assert source.steps_per_epoch == 5
    assert targets(source.rest_of_epoch(5)) == [list(range(i, i + 4)) for i in range(0, 20, 4)]
    assert source.sizes() == {4}
    assert batches().sizes() == {3, 4}


def test_parts_hold_the_rows_of_the_documented_split(tmp_path):
    job = make_job(tmp_path)
    parts = load_data(job["data"], torch.device("cpu")).parts
    labels = load_file(materialise("digits", tmp_path).path)["label"]
    for name, rows in split_rows(1797, job["data"]["split"]).items():
        assert parts[name].rows.tolist() == rows.tolist()
        assert torch.equal(parts[name].columns["label"], labels[torch.from_numpy(rows)])


def run_metric(name, loss, output, target):
    metric = quick_metric(name, loss)
    for chunk in range(0, len(target), 7):
        metric.update(output[chunk : chunk + 7], target[chunk : chunk + 7])
    return float(metric.compute())


def test_class_metrics_are_those_of_scikit_learn():
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 8), torch.randint(0, 8, (50,))
    expected = reference.accuracy_score(labels, logits.argmax(1))
    assert run_metric("accuracy", "CrossEntropyLoss", logits, labels) == pytest.approx(expected)
    expected = reference.top_k_accuracy_score(labels, logits, k=5, labels=range(8))
    assert run_metric("top_5_accuracy", "CrossEntropyLoss", logits, labels) == pytest.approx(expected)


def test_binary_accuracy_knows_logits_from_probabilities():
    torch.manual_seed(0)
    logits, truth = torch.randn(50, 1), torch.randint(0, 2, (50, 1)).float()
    expected = reference.accuracy_score(truth, logits > 0)
    assert run_metric("accuracy", "BCEWithLogitsLoss", logits, truth) == pytest.approx(expected)
    assert run_metric("accuracy", "BCELoss", logits.sigmoid(), truth) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(40,), (40, 1), (40, 3)])
def test_error_metrics_are_those_of_scikit_learn(shape):
    torch.manual_seed(0)
    wanted, output = torch.randn(shape) + 3, torch.randn(shape) + 3
    flat = [values.reshape(40, -1).double().numpy() for values in (wanted, output)]
    expected = {
        "mean_absolute_error": reference.mean_absolute_error(*flat),
        "mean_squared_error": reference.mean_squared_error(*flat),
        "root_mean_squared_error": math.sqrt(reference.mean_squared_error(*flat)),
        "r2": reference.r2_score(*flat),
    }
    for name, value in expected.items():
        assert run_metric(name, "MSELoss", output, wanted) == pytest.approx(value, rel=1e-6)


def test_every_metric_that_a_plan_may_name_exists():
    output, target = torch.rand(4, 2), torch.rand(4, 2)
    assert all(math.isfinite(run_metric(name, "MSELoss", output, target)) for name in METRICS if name[:3] != "top")


def test_state_survives_packing():
    state = {
        "plain": [1, 2.5, "x", None, True, float("inf")],
        "tuple": (1, (2, 3)),
        "numbers": {1: "a", 2: torch.arange(3)},
        "counter": Counter({3: 2, 7: 1}),
        "empty": [Counter(), {}, (), []],
        "nested": {"a": {"b": [torch.ones(2), {"c": torch.zeros(0)}]}},
    }
    tensors = {}
    packed = pack(state, "state", tensors)
    again = unpack(packed, tensors)
    assert repr(again) == repr(state)
    assert isinstance(again["counter"], Counter)
    assert set(tensors) == {"state.numbers.2", "state.nested.a.b.0", "state.nested.a.b.1.c"}
    with pytest.raises(TypeError, match=r"state\.x"):
        pack({"x": object()}, "state", {})


def test_tensor_files_are_safetensors_that_others_read(tmp_path):
    torch.manual_seed(0)
    tensors = {
        str(dtype).removeprefix("torch."): (torch.randn(3, 5) * 10).to(dtype)
        for dtype in (
            torch.float64,
            torch.float32,
            torch.float16,
            torch.bfloat16,
            torch.int64,
            torch.int32,
            torch.int16,
        )
    }
    tensors |= {
        "int8": torch.ones(3, dtype=torch.int8),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
    }
    tensors |= {"empty": torch.empty(0, 4), "ü/name": torch.arange(5, dtype=torch.uint8)}
    digest = write_tensors(tmp_path / "x.safetensors", tensors, {"format": "pt", "note": "ü"})
    again = load_file(tmp_path / "x.safetensors")
    assert again.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert again[name].dtype == tensor.dtype
        assert again[name].shape == tensor.shape
        assert torch.equal(again[name], tensor)
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt", "note": "ü"}
    assert digest == hashlib.sha256((tmp_path / "x.safetensors").read_bytes()).hexdigest()


def test_a_checkpoint_loads_into_plain_torch(tmp_path):
    checkpoint = train(make_job(tmp_path)).of("checkpoint")[-1]
    weights, _, _ = read(checkpoint)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    model.load_state_dict(weights)
    assert list(weights) == list(model.state_dict())


def test_training_is_what_a_hand_written_loop_does(tmp_path):
    job = make_job(tmp_path, epochs=3)
    checkpoint = train(job).of("checkpoint")[-1]
    parts = load_data(job["data"], torch.device("cpu")).parts
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    source = Batches(parts["train"], batch_size=16, shuffle=True, drop_last=False, seed=1)
    for epoch in range(3):
        for batch in source.rest_of_epoch(epoch * source.steps_per_epoch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(*batch.inputs), batch.columns["label"]).backward()
            optimizer.step()
    weights, _, _ = read(checkpoint)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name])


def test_steps_and_epochs_between_checkpoints_lie_at_multiples_wherever_a_run_begins():
    cadence = Cadence({"epochs": None, "steps": 5, "seconds": None}, steps_per_epoch=23, step=7, now=0.0)
    due = [step for step in range(8, 21) if cadence.is_due(step, 0.0, 0.0) and (cadence.written(step, 0.0) or True)]
    assert due == [10, 15, 20]
    cadence = Cadence({"epochs": 2, "steps": None, "seconds": None}, steps_per_epoch=23, step=0, now=0.0)
    assert cadence.next_step == 46


def test_by_default_checkpoints_grow_rarer_and_slow_writes_make_them_rarer_still():
    cadence = Cadence(None, steps_per_epoch=1, step=0, now=0.0)
    times = [
        now for now in range(600) if cadence.is_due(1, float(now), 0.01) and (cadence.written(1, float(now)) or True)
    ]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert times[0] == 1
    assert gaps == sorted(gaps)
    assert gaps[-1] == 60
    assert not cadence.is_due(1, 600.0 + 60, 10.0)
