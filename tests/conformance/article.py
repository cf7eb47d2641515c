"""The models of the article on computational graphs and model construction."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from tests.conformance.case import case, rows

MLP = {
    "modules": {
        "MLP": {
            "init": [{"hidden": "Linear(20, 256)"}, {"act": "ReLU()"}, {"output": "Linear(256, 10)"}],
            "forward": ["a = self.act(self.hidden(x))", "return self.output(a)"],
        }
    },
    "model": "MLP()",
}


@case(MLP, rows(20), "article MLP")
class MLPModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(20, 256)
        self.act = nn.ReLU()
        self.output = nn.Linear(256, 10)

    def forward(self, x):
        a = self.act(self.hidden(x))
        return self.output(a)


OWN_SEQUENTIAL = {
    "modules": {
        "MySequential": {
            "parameters": ["sizes"],
            "init": [
                {
                    "for": "i, (inside, outside) in enumerate(sizes)",
                    "do": [{"layer{i}": "Linear(inside, outside)"}, {"act{i}": "ReLU()"}],
                }
            ],
            "forward": [
                {
                    "for": "i in range(len(self.sizes))",
                    "do": ["x = self['layer' + str(i)](x)", "x = self['act' + str(i)](x)"],
                },
                "return x",
            ],
        }
    },
    "model": {"type": "MySequential", "sizes": [[20, 16], [16, 10]]},
}


@case(OWN_SEQUENTIAL, rows(20), "article own Sequential")
class MySequential(nn.Module):
    def __init__(self):
        super().__init__()
        for i, (inside, outside) in enumerate([(20, 16), (16, 10)]):
            self.add_module(f"layer{i}", nn.Linear(inside, outside))
            self.add_module(f"act{i}", nn.ReLU())

    def forward(self, x):
        for module in self._modules.values():
            x = module(x)
        return x


@case("Sequential(Linear(20, 256), ReLU(), Linear(256, 10))", rows(20), "article Sequential")
def sequential():
    return nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10))


ORDERED = {
    "type": "Sequential",
    "layers": [
        {"hidden": {"type": "Linear", "in_features": 20, "out_features": 256}},
        {"act": {"type": "ReLU"}},
        {"output": "Linear(256, 10)"},
    ],
}


@case(ORDERED, rows(20), "article Sequential with OrderedDict")
def ordered():
    return nn.Sequential(
        OrderedDict([("hidden", nn.Linear(20, 256)), ("act", nn.ReLU()), ("output", nn.Linear(256, 10))])
    )


@case("Sequential(OrderedDict([('a', Linear(20, 5)), ('b', Tanh())]))", rows(20), "Sequential written as an expression")
def ordered_expression():
    return nn.Sequential(OrderedDict([("a", nn.Linear(20, 5)), ("b", nn.Tanh())]))


MODULE_LIST = {
    "modules": {
        "Listed": {
            "init": [
                {"linears": "ModuleList([Linear(20, 256), ReLU()])"},
                "self.linears.append(Linear(256, 10))",
                "self.linears.extend([Linear(10, 10) for i in range(2)])",
            ],
            "forward": [
                {"for": "i, layer in enumerate(self.linears)", "do": ["x = layer(x)"]},
                "return self.linears[-1](x) + self.linears[2].weight.sum()",
            ],
        }
    },
    "model": "Listed()",
}


@case(MODULE_LIST, rows(20), "article ModuleList")
class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.linears = nn.ModuleList([nn.Linear(20, 256), nn.ReLU()])
        self.linears.append(nn.Linear(256, 10))
        self.linears.extend([nn.Linear(10, 10) for _ in range(2)])

    def forward(self, x):
        for layer in self.linears:
            x = layer(x)
        return self.linears[-1](x) + self.linears[2].weight.sum()


MODULE_DICT = {
    "modules": {
        "Keyed": {
            "init": [
                {"net": {"type": "ModuleDict", "layers": [{"linear": "Linear(20, 256)"}, {"act": "ReLU()"}]}},
                "self.net.update({'output': Linear(256, 10)})",
            ],
            "forward": {
                "arguments": ["x", {"name": "which", "default": "act"}],
                "body": [
                    "x = self.net['linear'](x)",
                    "x = self.net[which](x)",
                    {
                        "for": "name, layer in self.net.items()",
                        "do": [{"if": "name == 'act'", "then": ["x = layer(x)"]}],
                    },
                    "return self.net['output'](x)",
                ],
            },
        }
    },
    "model": "Keyed()",
}


@case(MODULE_DICT, rows(20), "article ModuleDict")
class Keyed(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.ModuleDict({"linear": nn.Linear(20, 256), "act": nn.ReLU()})
        self.net["output"] = nn.Linear(256, 10)

    def forward(self, x, which="act"):
        x = self.net["linear"](x)
        x = self.net[which](x)
        for name, layer in self.net.items():
            if name == "act":
                x = layer(x)
        return self.net["output"](x)


FANCY = {
    "init": [{"rand_weight": {"buffer": "rand(20, 20)"}}, {"linear": "Linear(20, 20)"}],
    "forward": [
        "x = self.linear(x)",
        "x = F.relu(torch.mm(x, self.rand_weight) + 1)",
        "x = self.linear(x)",
        {"while": "x.norm() > 1", "at_most": 1000, "do": ["x = x / 2"]},
        {"if": "x.norm() < 0.8", "then": ["x = x * 10"]},
        "return x.sum()",
    ],
}


@case({"modules": {"FancyMLP": FANCY}, "model": "FancyMLP()"}, rows(20), "article FancyMLP")
class FancyMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("rand_weight", torch.rand(20, 20))
        self.linear = nn.Linear(20, 20)

    def forward(self, x):
        x = self.linear(x)
        x = F.relu(torch.mm(x, self.rand_weight) + 1)
        x = self.linear(x)
        while x.norm() > 1:
            x = x / 2
        if x.norm() < 0.8:
            x = x * 10
        return x.sum()


NEST = {
    "modules": {
        "NestMLP": {
            "init": [
                {"net": "Sequential(Linear(40, 64), ReLU(), Linear(64, 32), ReLU())"},
                {"linear": "Linear(32, 16)"},
            ],
            "forward": ["return self.linear(self.net(x))"],
        },
        "FancyMLP": FANCY,
    },
    "model": "Sequential(NestMLP(), Linear(16, 20), FancyMLP())",
}


@case(NEST, rows(40), "article NestMLP")
def nest():
    class NestMLP(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
            self.linear = nn.Linear(32, 16)

        def forward(self, x):
            return self.linear(self.net(x))

    return nn.Sequential(NestMLP(), nn.Linear(16, 20), FancyMLP())


PRODUCT = {
    "modules": {
        "Product": {
            "init": [{"w": {"parameter": "tensor(2.0)"}}],
            "forward": {"arguments": ["x1", "x2"], "body": ["a = x1 + self.w", "b = x2 + self.w", "return a * b"]},
        }
    },
    "model": "Product()",
}


@case(PRODUCT, lambda batch: (torch.randn(batch), torch.randn(batch)), "article y = (x1 + w)(x2 + w)")
class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(2.0))

    def forward(self, x1, x2):
        return (x1 + self.w) * (x2 + self.w)


PARAMETERS = {
    "modules": {
        "Lists": {
            "init": [
                {"weights": {"type": "ParameterList", "parameters": ["randn(4, 4)", "randn(4, 4)"]}},
                {"tables": {"type": "ParameterDict", "parameters": {"left": "randn(4, 3)", "right": "zeros(4, 3)"}}},
                "self.weights.append(Parameter(randn(4, 4)))",
            ],
            "forward": {
                "arguments": ["x", {"name": "choice", "default": "left"}],
                "body": [
                    {"for": "w in self.weights", "do": ["x = torch.mm(x, w)"]},
                    "return torch.mm(x, self.tables[choice]) + self.tables['right'].sum()",
                ],
            },
        }
    },
    "model": "Lists()",
}


@case(PARAMETERS, rows(4), "article ParameterList and ParameterDict")
class Lists(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(4, 4)) for _ in range(2)])
        self.tables = nn.ParameterDict(
            {"left": nn.Parameter(torch.randn(4, 3)), "right": nn.Parameter(torch.zeros(4, 3))}
        )
        self.weights.append(nn.Parameter(torch.randn(4, 4)))

    def forward(self, x, choice="left"):
        for w in self.weights:
            x = torch.mm(x, w)
        return torch.mm(x, self.tables[choice]) + self.tables["right"].sum()
