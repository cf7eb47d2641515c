"""Jobs with several outputs, losses of several terms, and metrics of every kind."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchmetrics.classification import MulticlassF1Score

from services.modules.data.loading import load_data
from tests.worker.trainer.harness import assert_same_bits, make_job, read, resumed, train
from worker.trainer.data import Batches

VAE = {
    "modules": {
        "VAE": {
            "init": [
                {"encoder": "Sequential(Linear(64, 32), ReLU())"},
                {"mean": "Linear(32, 4)"},
                {"logvar": "Linear(32, 4)"},
                {"decoder": "Sequential(Linear(4, 32), ReLU(), Linear(32, 64), Sigmoid())"},
            ],
            "forward": [
                "h = self.encoder(x)",
                "mu = self.mean(h)",
                "logvar = self.logvar(h)",
                "z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)",
                "return self.decoder(z), mu, logvar",
            ],
        }
    },
    "model": "VAE()",
    "inputs": [{"name": "x", "column": "pixels", "shape": ["B", 64]}],
    "outputs": ["recon", "mu", "logvar"],
}
ELBO = {
    "terms": {
        "bce": "F.binary_cross_entropy(recon, x)",
        "kld": "-0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / x.numel()",
    },
    "total": "bce + kld",
}
TWO = {
    "modules": {
        "Two": {
            "init": [{"a": "Linear(64, 10)"}, {"b": "Linear(64, 64)"}],
            "forward": ["return {'logits': self.a(x), 'recon': self.b(x)}"],
        }
    },
    "model": "Two()",
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
        self.mean = nn.Linear(32, 4)
        self.logvar = nn.Linear(32, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 64), nn.Sigmoid())

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.mean(h), self.logvar(h)
        return self.decoder(mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)), mu, logvar


def test_a_vae_trains_as_the_same_loop_by_hand_to_the_bit(tmp_path, cache):
    job = make_job(tmp_path, model=VAE, cache=cache, loss=ELBO)
    assert job["data"]["target"] is None
    assert list(job["data"]["columns"]) == ["pixels"]
    line = train(job)
    parts = load_data(job["data"], torch.device("cpu")).parts
    torch.manual_seed(1)
    model = Vae()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    source = Batches(parts["train"], batch_size=16, shuffle=True, drop_last=False, seed=1)
    series = {"loss": [], "loss/bce": [], "loss/kld": []}
    for epoch in range(2):
        for batch in source.rest_of_epoch(epoch * source.steps_per_epoch):
            (x,) = batch.inputs
            recon, mu, logvar = model(x)
            bce = F.binary_cross_entropy(recon, x)
            kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / x.numel()
            optimizer.zero_grad()
            (bce + kld).backward()
            optimizer.step()
            for name, value in (("loss", bce + kld), ("loss/bce", bce), ("loss/kld", kld)):
                series[name].append(value.item())
    weights, _, _ = read(line.of("checkpoint")[-1])
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    for name, values in series.items():
        assert list(line.series(f"train/{name}").values()) == values
    assert {f"{part}/{name}" for part in ("validation", "test") for name in series} <= line.last_latest.keys()


def test_terms_over_an_evaluation_are_means_over_batches_weighted_by_rows(tmp_path, cache):
    model = {"modules": {"Net": {"init": [{"a": "Linear(64, 64)"}], "forward": ["return self.a(x)"]}}, "model": "Net()"}
    loss = {
        "terms": {"summed": "(output - pixels).pow(2).sum()", "mean": "F.mse_loss(output, pixels)"},
        "total": "mean",
    }
    metric = {"name": "largest", "expression": "(output - pixels).abs().max()"}
    job = make_job(tmp_path, model=model, cache=cache, loss=loss, metrics=[metric], epochs=1)
    line = train(job)
    weights, _, _ = read(line.of("checkpoint")[-1])
    part = load_data(job["data"], torch.device("cpu")).parts["test"]
    layer = nn.Linear(64, 64)
    layer.load_state_dict({name.removeprefix("a."): tensor for name, tensor in weights.items()})
    assert len(part) % 16
    expected = {"loss/summed": 0.0, "loss/mean": 0.0, "largest": 0.0}
    with torch.no_grad():
        for batch in part.batches(16):
            error = layer(batch.inputs[0]) - batch.inputs[0]
            for name, value in zip(expected, (error.pow(2).sum(), error.pow(2).mean(), error.abs().max()), strict=True):
                expected[name] += value.item() * batch.rows / len(part)
    for name, value in expected.items():
        assert line.last_latest[f"test/{name}"] == pytest.approx(value, rel=1e-5)


def test_a_resume_of_a_loss_that_draws_random_numbers_is_exact(tmp_path, cache):
    loss = {"terms": {"noisy": "F.mse_loss(recon + 0.1 * torch.randn_like(recon), x)", **ELBO["terms"]}}
    options = {"model": VAE, "cache": cache, "loss": loss, "checkpoints": {"every": {"steps": 1}, "keep": 100}}
    whole = train(make_job(tmp_path / "whole", **options))
    for checkpoint in whole.of("checkpoint")[2:9:3]:
        again = train(resumed(make_job(tmp_path, **options), checkpoint, tmp_path / f"from{checkpoint['step']}"))
        assert_same_bits(read(whole.of("checkpoint")[-1]), read(again.of("checkpoint")[-1]))


def test_outputs_of_a_dict_go_to_loss_and_metrics_by_name(tmp_path, cache):
    loss = {"terms": {"ce": "F.cross_entropy(logits, target)", "mse": "F.mse_loss(recon, pixels)"}}
    metrics = [
        {"type": "accuracy", "inputs": ["logits", "target"]},
        {"type": "MulticlassF1Score", "inputs": ["logits", "label"], "name": "f1"},
        {"type": "MeanSquaredError", "inputs": ["recon", "pixels"]},
    ]
    job = make_job(tmp_path, model=TWO, cache=cache, loss=loss, metrics=metrics)
    latest = train(job).last_latest
    assert latest["test/loss"] == pytest.approx(latest["test/loss/ce"] + latest["test/loss/mse"])
    assert latest["test/MeanSquaredError"] == pytest.approx(latest["test/loss/mse"], rel=1e-5)
    assert job["training"]["metrics"][1]["arguments"] == {"num_classes": 10}
    assert 0 <= latest["test/f1"] <= 1


def test_torchmetrics_see_all_rows_whatever_the_batches(tmp_path, cache):
    job = make_job(tmp_path, cache=cache, metrics=["MulticlassF1Score", "F1Score", "accuracy"])
    line = train(job)
    weights, _, _ = read(line.of("checkpoint")[-1])
    part = load_data(job["data"], torch.device("cpu")).parts["test"]
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    model.load_state_dict(weights)
    with torch.no_grad():
        expected = MulticlassF1Score(10)(model(part.columns["pixels"]), part.columns["label"])
    assert line.last_latest["test/MulticlassF1Score"] == pytest.approx(float(expected))
    assert line.last_latest["test/F1Score"] == pytest.approx(line.last_latest["test/accuracy"])


def test_an_optional_input_without_a_column_is_none(tmp_path, cache):
    model = {
        "modules": {
            "Net": {
                "init": [{"a": "Linear(64, 10)"}],
                "forward": {
                    "arguments": ["x", {"name": "mask", "default": None}],
                    "body": [{"if": "mask is not None", "then": ["x = x * mask"]}, "return self.a(x)"],
                },
            }
        },
        "model": "Net()",
        "inputs": [{"name": "x", "column": "pixels"}, {"name": "mask", "optional": True}],
    }
    job = make_job(tmp_path, model=model, cache=cache)
    assert job["data"]["inputs"] == ["pixels", None]
    assert train(job).last["outcome"] == "succeeded"


@pytest.mark.parametrize(
    ("options", "code", "pointer"),
    [
        ({"model": TWO}, "unexpected_output", "/training/loss/inputs/0"),
        ({"loss": {"terms": {"a": "F.cross_entropy(logits, label)"}}}, "unknown_name", "/training/loss/terms/a"),
        (
            {"loss": {"terms": {"a": "(output - pixels).mean()"}}},
            "shape_mismatch",
            "/training/loss/terms/a",
        ),
        ({"loss": {"type": "CrossEntropyLoss", "inputs": ["output[:, :9]", "label"]}}, "label_out_of_range", None),
        (
            {"loss": {"type": "CrossEntropyLoss", "inputs": ["output[:, :9]", "label + 0"]}},
            "label_out_of_range",
            "/training/loss",
        ),
        ({"loss": {"type": "SoftMarginLoss", "inputs": ["output[:, 0]", "label"]}}, "target_out_of_range", None),
        ({"loss": {"terms": {"a": "F.binary_cross_entropy(output, output * 0)"}}}, "expression_failed", None),
        ({"loss": {"terms": {"a": "label.float().mean()"}}}, "loss_without_gradient", "/training/loss"),
        ({"metrics": [{"name": "a", "expression": "(output - 1).abs()"}]}, "metric_not_scalar", None),
        ({"metrics": [{"type": "MeanSquaredError"}]}, "metric_failed", "/training/metrics/0"),
    ],
)
def test_what_cannot_work_ends_as_the_users_failure_with_its_pointer(options, code, pointer, tmp_path, cache):
    line = train(make_job(tmp_path, **{"cache": cache, "model": "Linear(64, 10)", **options}))
    error = line.last["error"]
    assert (error["code"], error["class"]) == (code, "user")
    assert error["pointer"] == pointer or pointer is None
