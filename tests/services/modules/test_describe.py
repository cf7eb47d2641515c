"""A live module becomes a definition that gives the same outputs with the same weights."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from services.errors import InvalidRequest
from services.modules import build
from services.modules.describe import describe
from tests.conformance import article, generative, recursive, sequence, tabular, users, vision  # noqa: F401 - they register their cases
from tests.conformance.case import CASES
from tests.conformance.test_conformance import assert_equal, inputs_of, run

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_ordinary_classes_are_described_from_their_source(case):
    torch.manual_seed(3)
    original = case.original()
    definition = describe(original)
    for training in (True, False):
        theirs = copy.deepcopy(original).train(training)
        ours = build(definition).train(training)
        ours.load_state_dict(theirs.state_dict())
        for batch in (2, 3):
            inputs = inputs_of(case, batch)
            for left, right in zip(run(ours, inputs), run(theirs, inputs), strict=True):
                assert_equal(left, right)


class Prints(nn.Module):
    def forward(self, x):
        y = x + 1
        print(y)
        return y


class WithBlock(nn.Module):
    def forward(self, x):
        with torch.autocast("cpu"):
            return x


def abs_of(x):
    return sorted(x)


class Callable(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = F.relu

    def forward(self, x):
        return self.act(x)


@pytest.mark.parametrize(("kind", "line"), [(Prints, "print(y)"), (WithBlock, 'with torch.autocast("cpu"):')])
def test_a_refusal_names_the_line(kind, line):
    with pytest.raises(InvalidRequest) as caught:
        describe(nn.Sequential(nn.ReLU(), kind()))
    problem = caught.value.problems[0]
    assert problem.code == "cannot_describe"
    number = problem.detail.split(".py:")[1].split(":")[0]
    assert Path(__file__).read_text().splitlines()[int(number) - 1].strip() == line


def test_an_attribute_that_is_a_function_of_torch_is_called_by_its_name():
    assert "F.relu(x, inplace=False)" in str(describe(Callable()).document)


def test_an_attribute_that_is_other_code_is_refused_by_name():
    model = Callable()
    model.act = abs_of
    with pytest.raises(InvalidRequest, match=r"self\.act of Callable .*is no function of torch|abs_of"):
        describe(model)


class Varied(nn.Module):
    """Its signature is none of the language, so it is traced."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Dropout(0.5)])
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x, *, extra=None):
        for layer in self.layers:
            x = layer(x)
        if self.training:
            x = x * 2
        y = x.new_zeros(x.shape[0], 4, dtype=torch.float32) + x[..., :2].sum(-1, keepdim=True)
        y += F.dropout(x * self.scale, 0.1, self.training)
        return y, x.flip(0)


def test_a_trace_keeps_modes_and_batch_size():
    torch.manual_seed(0)
    original = Varied()
    definition = describe(original)
    assert "self.training" in str(definition.document)
    for training in (True, False):
        ours, theirs = build(definition).train(training), original.train(training)
        ours.load_state_dict(theirs.state_dict())
        for batch in (1, 5):
            inputs = (torch.randn(batch, 4),)
            for left, right in zip(run(ours, inputs), run(theirs, inputs), strict=True):
                assert_equal(left, right)


class Branches(nn.Module):
    def forward(self, x, *, extra=None):
        return x if x.sum() > 0 else -x


def test_a_trace_does_not_choose_a_branch():
    with pytest.raises(InvalidRequest, match=r"test_describe\.py:\d+: .*Nor can it be traced"):
        describe(Branches())


def test_frozen_layers_stay_frozen():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    assert [p.requires_grad for p in build(describe(model)).parameters()] == [False, False, True, True]
