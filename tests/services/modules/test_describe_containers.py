"""Classes that are containers, or walk their own parts, describe themselves back."""

from __future__ import annotations

import copy
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from services.errors import InvalidRequest
from services.modules import build
from services.modules.describe import describe
from tests.conformance.test_conformance import assert_equal, run


def linear(inside=4, outside=4):
    return nn.Linear(inside, outside)


class NumberedParts(nn.Module):
    """The article's own Sequential: its keys are numbers."""

    def __init__(self, *parts):
        super().__init__()
        for index, part in enumerate(parts):
            self._modules[str(index)] = part

    def forward(self, x):
        for part in self._modules.values():
            x = part(x)
        return x


class OnlyFills(nn.Sequential):
    def __init__(self):
        super().__init__(linear(), nn.Tanh())


class Scaled(nn.Sequential):
    def __init__(self):
        super().__init__(linear(), nn.Tanh(), linear())
        self.gain = nn.Parameter(torch.ones(4))

    def forward(self, input):
        return super().forward(input) * self.gain + len(self) + self[0](input)


class Summed(nn.ModuleList):
    def forward(self, x):
        outputs = [layer(x) * index for index, layer in enumerate(self)]
        return sum(outputs) + self[-1](x)


class Branches(nn.ModuleDict):
    def forward(self, x, pick=None):
        for name, branch in self.items():
            if pick is None or name == pick:
                x = x + branch(x)
        return torch.cat([self[name](x) for name in self.keys()] + [self["b"](x)], 1)


class Children(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = linear()
        self.again = self.first
        self.stack = nn.Sequential(linear(), nn.ReLU())

    def forward(self, x):
        for child in self.children():
            x = child(x)
        for name, child in self.named_children():
            if name != "stack":
                x = x + child(x)
        for layer in self.stack.children():
            x = layer(x)
        return x + len(self._modules)


class Private(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = linear()
        self._scale = 0.5
        self._hidden = 3

    def forward(self, x):
        return self._shared(x) + self._hidden

    def _shared(self, x):
        return self.scale(x) * self._scale


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = linear()

    def forward(self, x):
        return self.step(x) * 2

    def step(self, x):
        return self.layer(x)


class Derived(Base):
    def forward(self, x):
        return super().forward(x) + 1

    def step(self, x):
        return super().step(x).tanh()


MODELS = [
    NumberedParts(linear(), nn.ReLU(), linear()),
    NumberedParts(nn.Sequential(NumberedParts(linear())), linear()),
    OnlyFills(),
    Scaled(),
    Summed([linear(), linear(), linear()]),
    Branches({"a": linear(), "b": linear()}),
    Children(),
    Private(),
    Derived(),
    nn.Sequential(OrderedDict([("2", linear()), ("5", nn.Tanh())])),
]


@pytest.mark.parametrize("original", MODELS, ids=lambda model: type(model).__name__)
def test_a_container_describes_itself_back(original):
    ours = build(describe(original))
    assert list(ours.state_dict()) == list(original.state_dict())
    for training in (True, False):
        theirs = copy.deepcopy(original).train(training)
        ours.train(training).load_state_dict(theirs.state_dict())
        x = torch.randn(3, 4)
        for left, right in zip(run(ours, (x,)), run(theirs, (x,)), strict=True):
            assert_equal(left, right)


def test_a_class_that_only_fills_a_sequential_is_one():
    assert describe(OnlyFills()).tree.type == "Sequential"


class Walks(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = linear()

    def forward(self, x):
        for _module in self.modules():
            x = x + 1 if x.sum() > 0 else self.a(x)
        return x


def test_what_cannot_be_written_out_is_refused_by_its_line():
    with pytest.raises(InvalidRequest) as caught:
        describe(Walks())
    number = caught.value.problems[0].detail.split(".py:")[1].split(":")[0]
    line = Path(__file__).read_text().splitlines()[int(number) - 1].strip()
    assert line == "for _module in self.modules():"
