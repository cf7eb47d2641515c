"""Each part of a plan does what a hand-written loop over torch's own classes does, mostly to the bit."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import swa_utils

from services.modules.data.loading import load_data
from tests.worker.trainer.harness import Line, make_job, read, train
from worker.trainer import main, precision
from worker.trainer.data import Batches
from worker.trainer.steps import Windows, shares

BATCHES = {"batch_size": 24}  # 90 rows: three full batches an epoch, and one of 18
NORMED = "Sequential(Linear(64, 8), BatchNorm1d(8), ReLU(), Linear(8, 10))"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def trained(tmp_path, cache):
    """Return what trains a job and gives its line, final weights and training windows."""

    def run(model=NORMED, checkpoints=None, commands=(), **plan):
        job = make_job(
            tmp_path, model=model, data=BATCHES, cache=cache, checkpoints=checkpoints, **{"epochs": 3, **plan}
        )
        line = train(job, commands)
        assert line.last["event"] == "finished", line.last
        part = load_data(job["data"], torch.device("cpu")).parts["train"]
        batches = Batches(part, batch_size=24, shuffle=True, drop_last=False, seed=1)
        return line, read(line.of("checkpoint")[-1])[0], batches

    return run


def hand_made():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))


def epochs(batches, number=3):
    for epoch in range(number):
        yield [(b.inputs[0], b.columns["label"]) for b in batches.rest_of_epoch(epoch * batches.steps_per_epoch)]


def learn(model, optimizer, pairs):
    """Make one step over the rows of several batches, which are one batch here unless the model normalises."""
    optimizer.zero_grad()
    rows = sum(len(y) for _, y in pairs)
    for x, y in pairs:
        loss = nn.functional.cross_entropy(model(x), y)
        (loss if len(pairs) == 1 else loss * (len(y) / rows)).backward()
    optimizer.step()


def assert_equal(weights, model):
    state = model.state_dict()
    assert weights.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(weights[name], tensor), name


def test_accumulation_weighs_each_batch_by_its_rows_and_counts_windows(trained):
    line, weights, batches = trained(accumulate=3)
    model = hand_made()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for pairs in epochs(batches):
        learn(model, optimizer, pairs[:3])
        learn(model, optimizer, pairs[3:])
    assert line.last["step"] == 6
    assert sorted(line.series("validation/loss")) == [2, 4, 6]
    assert_equal(weights, model)


def test_accumulated_batches_teach_what_one_batch_of_their_rows_does(trained):
    plain = "Sequential(Linear(64, 8), ReLU(), Linear(8, 10))"
    optimizer = {"type": "SGD", "lr": 0.1}
    line, weights, batches = trained(model=plain, accumulate=4, optimizer=optimizer)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    sgd, losses = torch.optim.SGD(model.parameters(), lr=0.1), []
    for pairs in epochs(batches):
        x, y = torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])
        losses.append(nn.functional.cross_entropy(model(x), y).item())
        learn(model, sgd, [(x, y)])
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(weights[name], tensor)
    assert list(line.series("train/loss").values()) == pytest.approx(losses, rel=1e-5)


def test_windows_cover_an_epoch_from_any_step():
    part = load_part(23)
    windows = Windows(Batches(part, batch_size=4, shuffle=False, drop_last=False, seed=0), 4)
    assert windows.steps_per_epoch == 2
    rows = [[b.rows for b in window] for window in windows.rest_of_epoch(0)]
    assert rows == [[4, 4, 4, 4], [4, 3]]
    assert [[b.rows for b in window] for window in windows.rest_of_epoch(3)] == [[4, 3]]
    (window,) = windows.rest_of_epoch(1)
    assert shares(window) == [4 / 7, 3 / 7]


def load_part(rows):
    from services.modules.data.parts import Part

    return Part({"x": torch.arange(rows).float()}, ("x",), torch.arange(rows))


def test_ema_is_that_of_torch_and_is_what_is_evaluated_and_saved(trained):
    line, weights, batches = trained(ema={"decay": 0.8, "every": 2})
    model = hand_made()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.8))
    step = 0
    for pairs in epochs(batches):
        for pair in pairs:
            learn(model, optimizer, [pair])
            step += 1
            if step % 2 == 0:
                average.update_parameters(model)
    assert_equal(weights, average.module)
    assert line.of("checkpoint")[-1]["metrics"]["validation/loss"] == pytest.approx(
        line.series("validation/loss")[step], abs=0
    )


def test_swa_is_that_of_torch_with_its_rate_and_statistics_of_its_own(trained):
    line, weights, batches = trained(
        epochs=4,
        optimizer={"type": "SGD", "lr": 0.1},
        swa={"start_epoch": 2, "lr": 0.5, "anneal_epochs": 2, "anneal_strategy": "linear"},
        scheduler={"type": "ExponentialLR", "gamma": 0.5},
    )
    model = hand_made()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    average, swalr, rates = swa_utils.AveragedModel(model), None, []
    for epoch, pairs in enumerate(epochs(batches, 4), 1):
        rates.append(optimizer.param_groups[0]["lr"])
        for pair in pairs:
            learn(model, optimizer, [pair])
        if epoch < 2:
            scheduler.step()
            continue
        average.update_parameters(model)
        if swalr is None:
            swalr = swa_utils.SWALR(optimizer, swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear")
        else:
            swalr.step()
    swa_utils.update_bn([x for x, _ in pairs], average)
    assert list(line.series("learning_rate").values()) == rates
    for name, tensor in average.module.state_dict().items():  # on a CPU torch's own class divides in another order
        torch.testing.assert_close(weights[name], tensor, rtol=1e-5, atol=1e-7)


def test_groups_get_their_own_arguments_and_the_first_match_wins(trained):
    groups = [{"match": "*.bias", "weight_decay": 0, "lr": 0.1}, {"match": "3.*", "betas": [0.5, 0.6]}]
    line, weights, batches = trained(optimizer={"type": "AdamW", "lr": 0.01, "groups": groups})
    model = hand_made()
    named = dict(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [named["0.weight"], named["1.weight"]]},
            {"params": [p for n, p in named.items() if n.endswith("bias")], "weight_decay": 0, "lr": 0.1},
            {"params": [named["3.weight"]], "betas": (0.5, 0.6)},
        ],
        lr=0.01,
        fused=True,
    )
    for pairs in epochs(batches):
        for pair in pairs:
            learn(model, optimizer, [pair])
    assert_equal(weights, model)
    assert set(line.series("learning_rate/1").values()) == {0.1}
    assert set(line.series("learning_rate/2").values()) == {0.01}


@pytest.mark.parametrize("statistics", ["keep", "update"])
def test_frozen_parts_stay_as_they_were_and_so_do_their_statistics_unless_asked(statistics, trained):
    _, weights, _ = trained(freeze=["0.*", "1.*"], frozen_batch_norm=statistics)
    fresh = hand_made().state_dict()
    same = {name for name, tensor in fresh.items() if torch.equal(weights[name], tensor)}
    frozen = {"0.weight", "0.bias", "1.weight", "1.bias"}
    kept = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert same == (frozen | kept if statistics == "keep" else frozen)


def test_lbfgs_is_that_of_torch(trained):
    plain = "Sequential(Linear(64, 8), ReLU(), Linear(8, 10))"
    _, weights, batches = trained(model=plain, optimizer={"type": "LBFGS", "max_iter": 5, "lr": 0.1})
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=5)
    for pairs in epochs(batches):
        for x, y in pairs:

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                return loss

            optimizer.step(closure)
    assert_equal(weights, model)


def test_sparse_gradients_are_trained_by_what_takes_them(tmp_path, cache):
    model = {
        "modules": {
            "Bag": {
                "init": [{"table": "Embedding(17, 10, sparse=True)"}],
                "forward": ["return self.table((x * 16).long().clamp(0, 16)).mean(1)"],
            }
        },
        "model": "Bag()",
    }
    for optimizer in ("SparseAdam", "SGD", "Adagrad"):
        job = make_job(tmp_path, model=model, cache=cache, optimizer={"type": optimizer, "lr": 0.1})
        line = train(job)
        assert line.last["outcome"] == "succeeded", line.last
        losses = line.series("train/loss")
        assert losses[12] < losses[1]


def test_early_stopping_ends_the_run_and_gives_back_the_best_weights(trained):
    line, weights, _ = trained(
        epochs=200,
        optimizer={"type": "SGD", "lr": 1.5},
        early_stopping={"patience": 3, "restore_best": True},
        checkpoints={"every": {"epochs": 1}, "keep": 100},
    )
    losses = line.series("validation/loss")
    assert (line.last["outcome"], line.last["reason"]) == ("succeeded", "early_stopped")
    best = min(losses, key=losses.get)
    assert line.last["step"] == best + 3 * 4
    (at_best,) = (event for event in line.of("checkpoint") if event["step"] == best)
    for name, tensor in load_file(Path(at_best["directory"]) / "weights.safetensors").items():
        assert torch.equal(tensor, weights[name]), name


def test_min_delta_and_mode_say_what_counts_as_better(trained):
    stopping = {"metric": "validation/accuracy", "mode": "max", "patience": 2, "min_delta": 2.0}
    line, _, _ = trained(epochs=50, early_stopping=stopping)
    assert line.last["step"] == 3 * 4  # the first is the best for want of another; no share exceeds it by 2


def test_a_checkpoint_is_written_at_each_best_evaluation_and_marked(trained):
    line, _, _ = trained(
        epochs=6,
        optimizer={"type": "SGD", "lr": 1.5},
        evaluate_every={"steps": 2},
        checkpoints={"every": {"steps": 10_000}, "best": {"metric": "validation/loss"}},
    )
    losses, best, improved = line.series("validation/loss"), float("inf"), []
    for step, loss in losses.items():
        if loss < best:
            best = loss
            improved.append(step)
    written = line.of("checkpoint")
    assert [event["step"] for event in written if event["best"]] == improved
    assert written[-1]["final"]
    assert written[-1]["step"] == 24


def test_evaluations_come_when_asked_and_at_the_end(trained):
    line, _, _ = trained(evaluate_every={"steps": 5})
    assert sorted(line.series("validation/loss")) == [5, 10, 12]
    line, _, _ = trained(evaluate_every={"epochs": 2})
    assert sorted(line.series("validation/loss")) == [8, 12]


def test_the_rate_falls_on_a_plateau_and_is_told(trained):
    scheduler = {"type": "ReduceLROnPlateau", "patience": 0, "threshold": 1e6, "threshold_mode": "abs", "factor": 0.1}
    line, _, _ = trained(optimizer={"type": "SGD", "lr": 1.0}, scheduler=scheduler, evaluate_every={"steps": 6})
    rates = line.series("learning_rate")
    assert rates[7] == rates[9] == 1.0  # the first evaluation is the best so far
    line, _, _ = trained(optimizer={"type": "SGD", "lr": 1.0}, scheduler=scheduler, evaluate_every={"steps": 3})
    assert line.series("learning_rate")[7] == pytest.approx(0.1)


def explode(job, at):
    """Train a model whose outputs are NaN at some steps."""

    class Exploding(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.layer = nn.BatchNorm1d(64), nn.Linear(64, 10)
            self.calls = 0

        def forward(self, x):
            self.calls += self.training
            return self.layer(self.norm(x * (float("nan") if self.training and self.calls in at else 1.0)))

    return train(job, run=lambda payload, line: main.train(payload, line, lambda definition: Exploding()))


def test_skip_leaves_out_steps_before_weights_or_statistics_keep_anything_of_them(tmp_path, cache):
    job = make_job(tmp_path, cache=cache, on_non_finite="skip", checkpoints={"every": {"steps": 1}})
    line = explode(job, at=(2, 5))
    assert line.last["outcome"] == "succeeded"
    assert line.series("train/skipped_steps") == {2: 1.0, 5: 2.0}
    weights = {event["step"]: read(event)[0] for event in line.of("checkpoint")}
    for step in (2, 5):
        assert_equal_tensors(weights[step], weights[step - 1])
    assert not torch.equal(weights[6]["layer.weight"], weights[5]["layer.weight"])
    assert all(torch.isfinite(tensor).all() for tensor in weights[12].values())


def assert_equal_tensors(one, other):
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_skipping_for_ever_is_a_failure(tmp_path, cache):
    job = make_job(tmp_path, cache=cache, on_non_finite="skip", epochs=50)
    line = explode(job, at=range(10, 10_000))
    assert line.last["error"]["code"] == "non_finite_loss"
    assert line.last["step"] == 108  # steps 10 to 109 were skipped


@pytest.mark.parametrize("name", ["fp16", "tf32"])
def test_what_needs_a_cuda_device_says_so_elsewhere(name, tmp_path, cache):
    line = train(make_job(tmp_path, cache=cache, precision=name))
    assert line.last["error"]["code"] == "precision_unavailable"
    assert line.last["error"]["class"] == "user"
    assert "bf16" in line.last["error"]["hint"]


def test_bf16_computes_in_bfloat16_and_keeps_float32_weights(trained):
    line, weights, _ = trained(precision="bf16")
    full, _, _ = trained()
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32, torch.int64}
    assert line.events[0]["environment"]["precision"] == "bf16"
    losses, exact = line.series("train/loss"), full.series("train/loss")
    assert losses[12] != exact[12]
    assert losses[12] == pytest.approx(exact[12], rel=0.05)


def test_float16_scales_the_loss_and_resumes_exactly(tmp_path, cache, monkeypatch):
    from tests.worker.trainer.harness import assert_same_bits, resumed

    monkeypatch.setattr(precision, "_CUDA_ONLY", ())  # the arithmetic is the same on the CPU, only slow
    job = make_job(tmp_path, model=NORMED, cache=cache, precision="fp16", checkpoints={"every": {"steps": 1}})
    whole = train(job)
    assert whole.last["outcome"] == "succeeded", whole.last
    assert whole.series("train/loss")[12] < whole.series("train/loss")[1]
    checkpoints = whole.of("checkpoint")
    assert read(checkpoints[3])[2]["state"]["update"]["scale"] == 65536.0
    rest = train(resumed(job, checkpoints[3], tmp_path / "resumed"))
    assert_same_bits(read(rest.of("checkpoint")[-1]), read(checkpoints[-1]))


def test_a_run_begins_with_the_weights_it_is_given_and_leaves_the_rest(tmp_path, cache):
    model = hand_made()
    given = {"body.weight": torch.full((8, 64), 0.5), "body.bias": torch.arange(8.0)}
    save_file(given, tmp_path / "weights.safetensors")
    job = make_job(tmp_path, model=NORMED, cache=cache, freeze=["0.*"])
    names = {"0.weight": "body.weight", "0.bias": "body.bias"}
    job |= {"init_from": {"tensors": names}, "initial_weights": str(tmp_path / "weights.safetensors")}
    line = train(job)
    assert line.of("weights_loaded")
    weights, _, _ = read(line.of("checkpoint")[-1])
    assert torch.equal(weights["0.weight"], given["body.weight"])
    assert torch.equal(weights["0.bias"], given["body.bias"])
    torch.testing.assert_close(weights["3.weight"], model.state_dict()["3.weight"], atol=0.1, rtol=0)


class Nagging(Line):
    """Asks for a checkpoint at every look."""

    def poll(self):
        return [{"command": "checkpoint"}]


def test_no_step_is_written_twice_for_its_owner_may_be_reading(tmp_path, cache):
    job = make_job(tmp_path, cache=cache, checkpoints={"best": {}}, evaluate_every={"steps": 1})
    line = Nagging()
    assert main.run(job, line) == 0
    steps = [event["step"] for event in line.of("checkpoint")]
    assert any(event["best"] for event in line.of("checkpoint"))
    assert steps == sorted(set(steps))


def test_averages_do_not_share_memory_with_the_weights():
    from worker.trainer.averaging import Ema

    model = hand_made()
    ema = Ema(model, {"decay": 0.5, "every": 1, "use_buffers": False})
    before = copy.deepcopy(ema.module.state_dict())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert_equal_tensors(before, ema.module.state_dict())
