"""Definitions become ordinary modules: keys, draws, outputs; a misfit is named."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from services.definition import check
from services.errors import InvalidRequest
from services.modules import build, preflight, source

DIGITS = {"x": {"dtype": "float32", "shape": ["B", 64]}}
MLP = {
    "type": "Sequential",
    "layers": [
        {"type": "Linear", "in_features": 64, "out_features": 128},
        {"type": "ReLU"},
        {"head": {"type": "Linear", "in_features": 128, "out_features": 10}},
    ],
}


def test_a_sequential_draws_what_torch_draws():
    torch.manual_seed(7)
    ours = build(check("Sequential(Linear(64, 128), ReLU(), Linear(128, 10))"))
    torch.manual_seed(7)
    theirs = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for mine, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.equal(mine, other)


def test_the_source_runs_alone_and_gives_the_same_model():
    text = source(check(MLP))
    namespace: dict = {}
    exec(compile(text, "source", "exec"), namespace)
    torch.manual_seed(1)
    ours = build(check(MLP))
    torch.manual_seed(1)
    theirs = namespace["build_model"]()
    x = torch.randn(5, 64)
    assert torch.equal(ours(x), theirs(x))
    assert "services" not in text and "modelwright" not in text


def test_the_report_counts_parameters_and_names_shapes():
    report = preflight(check(MLP), DIGITS)
    assert report["parameters"] == {"total": 9610, "trainable": 9610}
    assert [row["output_shapes"] for row in report["layers"]][:3] == [[["B", 128]], [["B", 128]], [["B", 10]]]
    assert report["outputs"] == [{"dtype": "float32", "shape": ["B", 10]}]
    assert report["memory_bytes"]["weights"] == 9610 * 4
    assert report["operations_per_sample"] == 2 * (64 * 128 + 128 * 10)


def test_a_misfit_names_the_layer_both_sizes_and_the_fix():
    wrong = {**MLP, "layers": [*MLP["layers"][:2], {"head": {"type": "Linear", "in_features": 64, "out_features": 10}}]}
    with pytest.raises(InvalidRequest) as caught:
        preflight(check(wrong, pointer="/model"), DIGITS, pointer="/model")
    problem = caught.value.problems[0]
    assert (problem.code, problem.pointer) == ("shape_mismatch", "/model/layers/2/head")
    assert problem.detail == ("Linear 'head' (/model/layers/2/head) expects 64 features, got 128: set in_features=128")


def test_a_model_over_the_quota_is_refused_with_counts():
    with pytest.raises(InvalidRequest) as caught:
        preflight(check("Linear(1048576, 1048576)"), max_parameters=10**9)
    problem = caught.value.problems[0]
    assert problem.code == "model_too_large"
    assert "1,099,512,676,352" in problem.detail and "1,000,000,000" in problem.detail


def test_a_misfit_inside_a_statement_names_pointer_and_column():
    net = {"init": [{"w": {"buffer": "rand(30, 20)"}}], "forward": ["x = F.relu(torch.mm(x, self.w))", "return x"]}
    document = {"modules": {"Net": net}, "model": "Net()"}
    with pytest.raises(InvalidRequest) as caught:
        preflight(check(document, pointer="/model"), {"x": {"shape": ["B", 20]}}, pointer="/model")
    problem = caught.value.problems[0]
    assert (problem.code, problem.pointer, problem.column) == ("shape_mismatch", "/model/modules/Net/forward/0", 12)
