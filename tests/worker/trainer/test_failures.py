"""Every failure ends as one event, with a code, a class and a hint, and nothing good is lost."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.worker.trainer.harness import Line, make_job, resumed, train
from worker.trainer import main
from worker.trainer.failures import explain


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def job(tmp_path, cache):
    return make_job(tmp_path, cache=cache)


def failure(line):
    """Return the error of a run that failed, after checking the form of its end."""
    assert line.code == 1
    assert [event["event"] for event in line.events].count("failed") == 1
    assert line.last["event"] == "failed"
    error = line.last["error"]
    assert set(error) == {"code", "message", "pointer", "class", "retryable", "hint"}
    return error


def broken(job, forward):
    """Run a job whose model is a module of the test's own."""

    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, x):
            return forward(self, x)

    return train(job, run=lambda payload, line: main.train(payload, line, lambda definition: Broken()))


def explode_at(job, step):
    """Run a job whose loss is NaN from a step on."""
    calls = iter(range(1, 10_000))

    def forward(model, x):
        factor = 1.0 if not model.training or next(calls) < step else math.nan
        return model.layer(x) * factor

    return broken(job, forward)


@pytest.mark.parametrize("step", [1, 5, 12])
def test_a_non_finite_loss_fails_at_the_exact_step(job, step):
    line = explode_at(job, step)
    error = failure(line)
    assert error["code"] == "non_finite_loss"
    assert error["class"] == "user"
    assert not error["retryable"]
    assert line.last["step"] == step
    assert f"at step {step}" in error["message"]
    losses = line.series("train/loss")
    assert sorted(losses) == list(range(1, step + 1))
    assert math.isnan(losses[step])


def test_weights_that_explode_are_never_checkpointed_and_the_last_good_ones_stay(tmp_path, cache):
    job = make_job(tmp_path, cache=cache, checkpoints={"every": {"steps": 1}})

    def forward(model, x):
        forward.calls += model.training
        # Finite loss, infinite gradient: the weights are poisoned by the step before the loss shows it.
        output = model.layer(x)
        return output + (output.abs() * 0).sqrt().sum() if forward.calls == 6 else output

    forward.calls = 0
    line = broken(job, forward)
    error = failure(line)
    assert error["code"] == "non_finite_loss"
    assert line.last["step"] == 7
    assert [event["step"] for event in line.of("checkpoint")] == [1, 2, 3, 4, 5]
    weights = load_file(Path(line.of("checkpoint")[-1]["directory"]) / "weights.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_the_policy_continue_trains_on_and_reports_the_values(tmp_path, cache):
    job = make_job(tmp_path, cache=cache, on_non_finite="continue")
    line = explode_at(job, 3)
    assert line.last["outcome"] == "succeeded"
    assert math.isnan(line.series("train/loss")[12])


def test_an_error_of_the_model_names_the_layer_and_the_traceback_stays_in_the_log(job, capsys):
    model = {
        "modules": {
            "Net": {"init": [{"a": "Linear(64, 32)"}, {"b": "Linear(16, 10)"}], "forward": ["return self.b(self.a(x))"]}
        },
        "model": "Net()",
    }
    line = train({**job, "definition": {"format": "model/1", **model}})
    error = failure(line)
    assert error["code"] == "shape_mismatch"
    assert "layer `b` (Linear)" in error["message"]
    assert error["class"] == "user"
    assert "Traceback" not in repr(line.events)
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [ValueError, ZeroDivisionError, IndexError, RuntimeError, AssertionError])
def test_any_exception_of_the_model_is_the_users(job, kind):
    def forward(model, x):
        raise kind("by the model")

    error = failure(broken(job, forward))
    assert (error["class"], error["retryable"]) == ("user", False)
    assert "by the model" in error["message"]


def test_an_error_in_the_backward_pass_is_the_users(job):
    def forward(model, x):
        y = model.layer(x).exp()
        z = y * 2
        y.add_(1)
        return z

    error = failure(broken(job, forward))
    assert (error["code"], error["class"]) == ("model_failed", "user")
    assert "backward" in error["message"]


@pytest.mark.parametrize(
    "raised",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_out_of_memory_is_a_matter_of_resources_and_suggests_a_batch_size(job, raised):
    def forward(model, x):
        raise raised

    error = failure(broken(job, forward))
    assert (error["code"], error["class"], error["retryable"]) == ("out_of_memory", "resource", False)
    assert "batch_size 8" in error["hint"]


def test_a_real_allocation_that_cannot_be_met_is_out_of_memory(job):
    error = failure(broken(job, lambda model, x: torch.empty(1 << 60)))
    assert error["code"] == "out_of_memory"


def test_what_is_nobodys_fault_is_retried():
    failure = explain(RuntimeError("strange"), nn.Linear(1, 1), batch_size=1)
    assert (failure.failure_class, failure.retryable) == ("infrastructure", True)


def test_a_full_disk_is_reported_as_such(job):
    def full(payload, line):
        class Full(Line):
            def emit(self, event):
                if event["event"] == "checkpoint":
                    raise OSError(28, "No space left on device")
                line.emit(event)

        return main.run(payload, Full())

    error = failure(train(job, run=full))
    assert (error["code"], error["class"], error["retryable"]) == ("storage_full", "infrastructure", True)


def replace_column(job, folder, name, change):
    columns = load_file(job["data"]["file"])
    change(columns[name])
    path = folder / "changed.safetensors"
    save_file(columns, path)
    return {**job, "data": {**job["data"], "file": str(path)}}


def test_a_label_beyond_the_classes_is_found_before_any_step(job, tmp_path):
    def change(labels):
        labels[1234] = 10

    error = failure(train(replace_column(job, tmp_path, "label", change)))
    assert error["code"] == "label_out_of_range"
    assert "row 1234" in error["message"]


def test_a_model_with_too_few_outputs_is_found_before_any_step(tmp_path, cache):
    line = train(make_job(tmp_path, model="Linear(64, 9)", cache=cache))
    error = failure(line)
    assert error["code"] == "label_out_of_range"
    assert line.last["step"] == 0
    row = int(error["message"].split("row ")[1].split()[0])
    assert load_file(line_file(tmp_path, cache))["label"][row] == 9


def line_file(tmp_path, cache):
    return make_job(tmp_path, cache=cache)["data"]["file"]


def test_a_feature_that_is_not_a_number_is_found_with_its_row(job, tmp_path):
    def change(pixels):
        pixels[77, 3] = math.nan

    error = failure(train(replace_column(job, tmp_path, "pixels", change)))
    assert error["code"] == "non_finite_data"
    assert "row 77" in error["message"]


@pytest.mark.parametrize(
    ("model", "options", "code"),
    [
        ("Sequential(Linear(64, 10), BatchNorm1d(10))", {"data": {"batch_size": 89}}, "batchnorm_single_sample"),
        ("Sequential(Linear(64, 10), BatchNorm1d(10))", {"data": {"batch_size": 1}}, "batchnorm_single_sample"),
        ("Flatten()", {}, "no_trainable_parameters"),
        ("Linear(32, 10)", {}, "shape_mismatch"),
        ("Linear(10, 3)", {"dataset": "diabetes", "loss": {"type": "MSELoss"}}, "shape_mismatch"),
        ("LSTM(64, 10)", {}, "unexpected_output"),
        (
            "Linear(10, 1)",
            {"dataset": "diabetes", "loss": {"type": "BCEWithLogitsLoss"}},
            "target_out_of_range",
        ),
    ],
)
def test_what_cannot_train_fails_before_the_first_step(model, options, code, tmp_path, cache):
    split = {"train": 90 / 1797, "validation": 0.02, "test": 0.02}
    if options.get("dataset") == "diabetes":
        split = {"train": 0.2, "validation": 0.1, "test": 0.1}
    data = {"split": split, **options.pop("data", {})}
    line = train(make_job(tmp_path, model=model, cache=cache, data=data, **options))
    assert failure(line)["code"] == code
    assert line.last["step"] == 0


def test_batch_norm_over_pixels_may_train_on_single_images(tmp_path, cache):
    model = "Sequential(Conv2d(1, 2, kernel_size=3), BatchNorm2d(2), Flatten(), Linear(72, 10))"
    job = make_job(tmp_path, model=model, cache=cache, data={"inputs": ["image"], "batch_size": 89})
    assert train(job).last["outcome"] == "succeeded"


def test_an_invalid_definition_is_the_users_with_its_pointer(job):
    error = failure(train({**job, "definition": {"format": "model/1", "model": "os.system('x')"}}))
    assert error["class"] == "user"
    assert error["pointer"] == "/model"


def test_a_missing_device_is_reported(job):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    error = failure(train({**job, "device": "cuda"}))
    assert (error["code"], error["retryable"]) == ("device_unavailable", True)


def test_a_checkpoint_of_another_model_is_not_loaded(tmp_path, cache):
    job = make_job(tmp_path, cache=cache)
    other = make_job(tmp_path / "other", model="Linear(64, 10)", cache=cache)
    checkpoint = train(job).of("checkpoint")[-1]
    error = failure(train(resumed(other, checkpoint, tmp_path / "resumed")))
    assert error["code"] == "checkpoint_mismatch"


LOOKED_UP = {
    "modules": {
        "Looked": {
            "parameters": ["entries"],
            "init": [{"table": "Embedding(entries, 4)"}, {"head": "Linear(4, 10)"}],
            "forward": ["return self.head(self.table(x))"],
        }
    },
    "inputs": [{"name": "x", "dtype": "int64", "shape": ["B"], "column": "label"}],
}


def test_a_number_beyond_the_entries_of_an_embedding_is_found_before_any_step_with_its_row(tmp_path, cache):
    line = train(make_job(tmp_path, model={**LOOKED_UP, "model": "Looked(9)"}, cache=cache))
    error = failure(line)
    assert (error["code"], error["pointer"], line.last["step"]) == ("index_out_of_range", "/model", 0)
    assert "layer `table` (Embedding) has 9 entries, 0 to 8" in error["message"]
    row = int(error["message"].split("row ")[1].split(",")[0])
    assert load_file(line_file(tmp_path, cache))["label"][row] == 9
    assert error["hint"] == "Give the layer at least 10 entries."
    assert train(make_job(tmp_path / "ten", model={**LOOKED_UP, "model": "Looked(10)"}, cache=cache)).last["outcome"]


def test_a_number_that_the_model_makes_is_found_too(tmp_path, cache):
    model = {
        **LOOKED_UP,
        "model": "Looked(9)",
        "modules": {"Looked": {**LOOKED_UP["modules"]["Looked"], "forward": ["return self.head(self.table(x + 10))"]}},
    }
    line = train(make_job(tmp_path, model=model, cache=cache))
    error = failure(line)
    assert (error["code"], line.last["step"]) == ("index_out_of_range", 0)
    assert error["message"] == "Layer `table` (Embedding) is asked for an entry beyond its 9."
