"""Static execution: the captured graph trains as the model does, resumes to the bit, and says when it cannot."""

import pytest
import torch

from services.definition import check
from services.modules import build
from services.modules.static.build import static_variant
from services.training.schema import TrainingPlan
from tests.worker.trainer.harness import assert_same_bits, make_job, read, resumed, train
from worker.trainer.static_twin import static_twin

STATIC = {"execution": "static"}
FULL = {"drop_last": True}  # one batch size is one capture
DROPPED = "Sequential(Linear(64, 16), BatchNorm1d(16), ReLU(), Dropout(0.3), Linear(16, 10))"
ADAPTIVE = {
    "modules": {
        "Adaptive": {
            "init": [{"first": "Linear(64, 16)"}, {"head": "Linear(16, 10)"}],
            "forward": [
                "x = F.relu(self.first(x))",
                {"while": "x.norm() > 20", "at_most": 50, "do": ["x = x / 2"]},
                {"if": "x.mean() < 0.1", "then": ["x = x * 3"], "else": ["x = x + 1"]},
                "return self.head(x)",
            ],
        }
    },
    "model": "Adaptive()",
}
IMPATIENT = {
    "modules": {
        "Impatient": {
            "init": [{"linear": "Linear(64, 10)"}],
            "forward": [
                {"for": "i in range(2)", "do": ["y = self.linear(x)", {"if": "y.norm() < 1", "then": ["return y"]}]},
                "return y",
            ],
        }
    },
    "model": "Impatient()",
}


def losses(line):
    return line.series("train/loss")


@pytest.mark.parametrize("model", [DROPPED, ADAPTIVE], ids=["dropout and batch norm", "branch and loop"])
def test_a_static_job_trains_as_a_dynamic_one(tmp_path, model):
    one, other = tmp_path / "dynamic", tmp_path / "static"
    one.mkdir(), other.mkdir()
    data = FULL if model == ADAPTIVE else None
    dynamic = train(make_job(one, model=model, data=data))
    static = train(make_job(other, model=model, data=data, cache=one, **STATIC))
    assert (dynamic.code, static.code) == (0, 0), static.last
    left, right = losses(dynamic), losses(static)
    assert left.keys() == right.keys()
    assert [left[step] for step in left] == pytest.approx([right[step] for step in left], rel=1e-4)
    (said,) = static.of("execution")
    assert (said["execution"], said["reason"], said["batch_sizes"]) == ("static", None, [16] if data else [10, 16])
    assert said["max_abs_difference"] <= 1e-4
    assert said["backend"] == ("eager" if model == DROPPED else "aot_eager")
    assert [event["phase"] for event in static.of("phase")][:3] == ["loading_data", "compiling", "training"]
    assert dynamic.of("execution") == []


def test_capturing_leaves_no_trace_in_weights_buffers_and_draws(tmp_path):
    """On this machine the graph runs torch's own operations one by one: then equal means to the bit."""
    one, other = tmp_path / "dynamic", tmp_path / "static"
    one.mkdir(), other.mkdir()
    dynamic = train(make_job(one, model=DROPPED))
    static = train(make_job(other, model=DROPPED, cache=one, **STATIC))
    left, right = read(dynamic.of("checkpoint")[-1]), read(static.of("checkpoint")[-1])
    assert left[0].keys() == right[0].keys()
    assert all(torch.equal(left[0][name], right[0][name]) for name in left[0])
    assert losses(dynamic) == losses(static)


@pytest.mark.parametrize("model", [DROPPED, ADAPTIVE], ids=["dropout and batch norm", "branch and loop"])
def test_a_static_job_resumes_to_the_bit(tmp_path, model):
    job = make_job(tmp_path, model=model, data=FULL, checkpoints={"every": {"steps": 3}, "keep": 10}, **STATIC)
    whole = train(job)
    middle, *_, last = whole.of("checkpoint")
    again = train(resumed(job, middle, tmp_path / "again"))
    assert again.of("started")[0]["resume"] == "exact"
    assert_same_bits(read(last), read(again.of("checkpoint")[-1]))


def test_a_resume_in_the_other_execution_is_approximate(tmp_path):
    job = make_job(tmp_path, model=DROPPED, **STATIC)
    checkpoint = train(job).of("checkpoint")[0]
    dynamic = {**job, "training": {**job["training"], "execution": "dynamic"}}
    (started,) = train(resumed(dynamic, checkpoint, tmp_path / "again")).of("started")
    assert (started["resume"], started["differences"]) == ("approximate", ["execution: static then, dynamic now"])


def test_a_model_that_cannot_be_captured_fails_with_place_and_fix(tmp_path):
    line = train(make_job(tmp_path, model=IMPATIENT, **STATIC))
    error = line.last["error"]
    assert (error["code"], error["class"], error["retryable"]) == ("not_capturable", "user", False)
    assert error["pointer"] == "/model/modules/Impatient/forward/0/do/1"
    assert "if y.norm() < 1" in error["message"]
    assert '"execution_fallback": "dynamic"' in error["hint"]
    assert line.of("metrics") == []


def test_it_trains_dynamically_where_that_is_allowed_and_says_so(tmp_path):
    line = train(make_job(tmp_path, model=IMPATIENT, execution_fallback="dynamic", **STATIC))
    assert line.last["outcome"] == "succeeded"
    (said,) = line.of("execution")
    assert (said["execution"], said["backend"], said["reason"]["code"]) == ("dynamic", None, "not_capturable")
    assert said["reason"]["pointer"] == "/model/modules/Impatient/forward/0/do/1"


def test_layers_of_a_way_not_taken_are_not_trained_on_zeros(tmp_path):
    """The model gives them no gradient; a graph gives zero, and Adam would move them by what it remembers."""
    two = {
        "init": [{"a": "Linear(64, 10)"}, {"b": "Linear(64, 10)"}],
        "forward": [{"if": "x.mean() > -1", "then": ["y = self.a(x)"], "else": ["y = self.b(x)"]}, "return y"],
    }
    model = {"modules": {"Two": two}, "model": "Two()"}
    error = train(make_job(tmp_path, model=model, data=FULL, **STATIC)).last["error"]
    assert (error["code"], error["message"][:12]) == ("static_differs", "2 parameters")


def test_the_twin_shares_weights_buffers_and_shared_layers():
    shared = {
        "modules": {
            "Shared": {
                "init": [{"a": "BatchNorm1d(4)"}, {"b": "Sequential(self.a, Linear(4, 4))"}],
                "forward": ["return self.b(self.a(x))"],
            }
        },
        "model": "Shared()",
    }
    definition = check(shared)
    model = build(definition).train()
    twin = static_twin(model, static_variant(definition))
    assert type(twin) is not type(model)
    assert twin.a is twin.b[0]
    assert twin.a is not model.a
    assert [id(one) for one in twin.parameters()] == [id(one) for one in model.parameters()]
    model.a._buffers["running_mean"] = torch.ones(4)
    assert torch.equal(twin.a.running_mean, torch.ones(4))
    model.eval()
    assert twin.a.training


def test_a_fallback_without_static_execution_is_refused():
    plan = {"epochs": 1, "optimizer": {"type": "SGD", "lr": 0.1}, "loss": {"type": "CrossEntropyLoss"}}
    with pytest.raises(ValueError, match="belongs to static execution"):
        TrainingPlan.model_validate({**plan, "execution_fallback": "fail"})
