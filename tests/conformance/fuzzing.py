"""Documents for the fuzz run, each from a seed: mutated conformance documents, random grammar, and what grows."""

# ruff: noqa: E501 - statements of the language are one string each

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tests.conformance.case import Case
from tests.conformance.mutations import mutated_case

Specification = Mapping[str, Mapping[str, Any]]
KINDS = ("mutated",) * 6 + ("grammar",) * 3 + ("growth",)


@dataclass(frozen=True)
class Sample:
    """A document, and small inputs for its forward as ``preflight`` takes them."""

    kind: str
    document: Any
    inputs: Specification


def sample(seed: int) -> Sample:
    """Return the document of a seed: of ten, six are mutated, three random, and one is made of what grows."""
    source = random.Random(f"modelwright {seed}")
    kind = KINDS[seed % 10]
    if kind == "mutated":
        case, document = mutated_case(seed)
        return Sample(kind, document, _inputs(case))
    if kind == "grammar":
        return Sample(kind, _Grammar(source).document(), {"x": {"dtype": "float32", "shape": [2, 4]}})
    return Sample(kind, _growth(source), {"x": {"dtype": "float32", "shape": [2, 4]}})


_KNOWN_INPUTS: dict[str, Specification] = {}


def _inputs(case: Case) -> Specification:
    if case.name not in _KNOWN_INPUTS:
        tensors = [item for item in case.inputs(2) if isinstance(item, torch.Tensor)]
        _KNOWN_INPUTS[case.name] = {
            f"x{index}": {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}
            for index, tensor in enumerate(tensors)
        }
    return _KNOWN_INPUTS[case.name]


LAYERS = ["Linear(4, 4)", "ReLU()", "LayerNorm(4)", "Dropout(0.5)", "Identity()", "BatchNorm1d(4)", "Linear(4, 5)", "Softmax(dim=-1)",
          "Sequential(Linear(4, 4), Tanh())", "LSTM(4, 4, batch_first=True)", "Embedding(9, 4)", "Own()", "pair(4)", "Bilinear(4, 4, 4)"]  # fmt: skip
ATOMS = ["x", "x", "x", "y", "self.w", "self.b", "self.k", "2", "0.5", "-1", "None", "True", "'a'", "[x, x]", "(x, 1)", "{'a': x}",
         "self.layers", "self.one", "x.shape", "x.shape[0]", "self.training", "i", "math.pi", "torch.float32", "...", "[]"]  # fmt: skip
UNARY = ["-{0}", "not {0}", "F.relu({0})", "torch.tanh({0})", "{0}.mean()", "{0}.sum(-1, keepdim=True)", "{0}.T", "len({0})", "int({0})",
         "{0}[0]", "{0}[:, :2]", "{0}[-1:]", "str({0})", "self.one({0})", "self.layers[0]({0})", "list({0})", "tuple({0})", "sum({0})",
         "max({0})", "{0}.item()", "{0}.tolist()", "[i for i in {0}]", "[*{0}, 1]", "helper({0})", "self.again({0})", "{0}.view(-1)",
         "torch.zeros({0})", "range({0})", "enumerate({0})", "{0} is None", "{0}.unbind(0)", "sorted({0})", "float({0})", "{0}.shape",
         "torch.stack({0})", "{0}.append(x)", "{0}.pop()", "self['layer' + str({0})]", "{0}.clone()", "abs({0})", "any({0})"]  # fmt: skip
BINARY = ["{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} / {1}", "{0} // {1}", "{0} % {1}", "{0} ** {1}", "{0} @ {1}", "{0} | {1}",
          "{0} == {1}", "{0} < {1}", "{0} in {1}", "{0} and {1}", "{0} if {1} else x", "torch.cat([{0}, {1}], dim=-1)",
          "torch.where({0} > 0, {1}, x)", "zip({0}, {1})", "min({0}, {1})", "{0}[{1}]", "({0}, {1})", "[{0}, {1}]", "{0}.expand({1}, -1)"]  # fmt: skip


class _Grammar:
    """Draws whole documents: mostly sensible ones, so that many are built and run."""

    def __init__(self, source: random.Random) -> None:
        self.source = source

    def expression(self, depth: int = 0) -> str:
        chance = self.source.random()
        if depth > 2 or chance < 0.35:
            return self.source.choice(ATOMS[:6] if self.source.random() < 0.7 else ATOMS)
        if chance < 0.65:
            return self.source.choice(UNARY[:6] if self.source.random() < 0.5 else UNARY).format(
                self.expression(depth + 1)
            )
        pattern = self.source.choice(BINARY[:3] if self.source.random() < 0.6 else BINARY)
        return pattern.format(self.expression(depth + 1), self.expression(depth + 1))

    def body(self, depth: int = 0) -> list[Any]:
        return [self.statement(depth) for _ in range(self.source.randint(1, 3))]

    def statement(self, depth: int) -> Any:
        kind = (
            self.source.choice(["assign", "assign", "augment", "for", "while", "if", "store"])
            if depth < 2
            else "assign"
        )
        name = self.source.choice(["x", "x", "y"])
        if kind == "for":
            return {
                "for": f"i in {self.source.choice(['range(3)', 'self.layers', 'x', self.expression(1)])}",
                "do": self.body(depth + 1),
            }
        if kind == "while":
            return {
                "while": self.expression(1),
                "at_most": self.source.choice([1, 9, 1000]),
                "do": self.body(depth + 1),
            }
        if kind == "if":
            return {"if": self.expression(1), "then": self.body(depth + 1), "else": self.body(depth + 1)}
        if kind == "store":
            return f"{name}[{self.source.choice(['0', 'i', ':, 0', '1:'])}] = {self.expression(1)}"
        return (
            f"{name} {self.source.choice('+-*')}= {self.expression(1)}"
            if kind == "augment"
            else f"{name} = {self.expression()}"
        )

    def init(self) -> list[Any]:
        layers = ", ".join(self.source.choice(LAYERS) for _ in range(self.source.randint(1, 3)))
        kept = [{"one": self.source.choice(LAYERS)}, {"layers": f"{self.source.choice(['ModuleList', 'ModuleList', 'Sequential'])}([{layers}])"},
                {"w": {"parameter": "randn(4)"}}, {"b": {"buffer": "zeros(4)"}}, {"k": {"value": self.source.choice(["3", "[1, 2]", "'a'"])}},
                {"for": "i in range(2)", "do": [{"layer{i}": "Linear(4, 4)"}]}]  # fmt: skip
        return [item for item in kept if self.source.random() < 0.95]

    def document(self) -> Any:
        modules = {
            "Own": {"init": [{"inner": "Linear(4, 4)"}], "forward": ["return self.inner(x)"]},
            "pair": {"parameters": ["n"], "returns": "Sequential(Linear(n, n), ReLU())"},
            "helper": {"arguments": ["x"], "body": [self.statement(1), "return x"]},
            "Net": {
                "init": self.init(),
                "methods": {"again": {"arguments": ["x"], "body": [*self.body(1), "return x"]}},
                "forward": ["y = x", "i = 0", *self.body(), self.source.choice(["return x", "return y", f"return {self.expression()}"])],
            },
        }  # fmt: skip
        text = repr(modules["Net"]) + repr(modules["helper"])
        used = {name: value for name, value in modules.items() if name == "Net" or f"{name}(" in text}
        return {"modules": used, "model": self.source.choice(["Net()", "Net()", "Sequential(Linear(4, 4), Net())"])}


GROWING = ["n = n * n", "n *= n", "n = n + n", "n = n ** 3", "n **= 2", "n = int(x.sum()) * n", "n = n - -n", "n = max(n, 2) * n", "n = round(n * 2)",
           "s = s + s", "s += s", "s = s * n", "s *= 2", "s = s + str(n)", "s = str(a)", "s = s[:] + s[1:]", "s = str(s)", "s = s * len(a)",
           "a = a + a", "a += a", "a.extend(a)", "a = [*a, *a]", "a.append(x)", "a.append(a)", "a = a * n", "a *= 2", "a = a[:] + a[1:]",
           "a = [a, a]", "a = [i for i in a]", "a = list(range(n))", "a = list(t)", "a.insert(0, n)", "a[0:0] = a", "a[0] = a", "a = sorted(a)",
           "a = x.tolist()", "a = list(x)", "a = [0] * x.shape[0]", "a = [n] * len(a)", "a = list(zip(a, a))", "a = [s, s, a]", "a += [n]",
           "t = t + t", "t += t", "t = (*t, *t)", "t = t * 2", "t = (t, t)", "t = tuple(a)", "t = tuple(range(n))", "t = x.unbind(0) + t",
           "d = {i: d for i in a[:9]}", "d[str(n)] = a", "d['k'] = d", "d.update({s: a})", "d = dict(zip(a, a))", "d = {t: 1}",
           "n = sum(a)", "n = len(a) * n", "n = math.prod(a)", "n = len(s) * n", "n = a.index(n)", "n = len(str(t))", "n = 1 if a == t else n",
           "n = n if a in [a, a] else 2", "x = x + n", "x = x * len(a)", "x = torch.zeros(n)", "x = torch.tensor(a)", "x = x.repeat(2, 1)", "x = torch.cat([x, x])",
           "a = f(a)", "n = f(n)", "s = f(s)", "t = self.m(t)", "a = self.c(a)", "k = self.k", "k.append(n)", "k = a", "k += a", "k = self.layers",
           "a = self.layers", "a = [self.k, a]", "a[0].append(1)", "self.k[0] = a", "t = (self.layers, t)", "t[0].append(x)"]  # fmt: skip
BUILDING = [*GROWING[:60], "self.layers.append(Linear(4, 4))", "self.layers.append(C())", "self.layers.insert(0, ReLU())", "self.layers.extend(self.layers)",
            "self.layers.extend([Linear(4, i + 1) for i in range(n)])", "self.layers.extend(self.layers[1:])", "k = self.layers[len(self.layers) // 2]",
            "k = self.layers[-1]", "k = self.layers[1:]", "n = len(self.layers) * n", "k = ModuleList(self.layers)", "k = Sequential(*self.layers)",
            "k = Sequential(k, k)", "k = ReLU()", "k = [Sequential(*[Linear(4, 4) for i in range(n)]) for j in range(n)]", "n = 1 if 0.5 in range(90000) else n",
            "n = math.prod(a)", "n = math.gcd(*a)", "a.pop(0)", "a = a[::-1]", "a.reverse()", "n = a.count(n)", "a = [i for i in range(90000)]", "s = str(range(n))",
            "t = tuple(self.layers)", "d = {str(i): C() for i in range(n)}", "k = ModuleDict(d)", "k.update(d)", "a = list(k.items())", "n = min(self.layers[0].in_features, n)",
            {"layer{i}": "Linear(n, 4)"}, {"l{i}_{j}": "C()"}, {"p{i}": {"parameter": "randn(n, n)"}}, {"b{i}": {"buffer": "zeros(n)"}}, {"if": "n > 9", "then": ["n = 3"]}]  # fmt: skip
TURNS = [
    "range(n)",
    "range(99)",
    "range(9)",
    "a",
    "range(4000)",
    "self.layers",
    "range(len(self.layers))",
    "enumerate(a)",
    "zip(a, a)",
    "s",
    "[3, n, 5]",
]
TWICE = ["return v + v", "return [v, v]", "return v * 2", "return (v, v)", "return [*v, *v]", "v += v"]


def _repeated(source: random.Random, item: Any) -> Any:
    """Return an item of init, often inside a loop or two."""
    for _ in range(source.choice([0, 1, 1, 2, 2, 3])):
        item = {"for": f"{source.choice('ij')} in {source.choice(TURNS)}", "do": [item]}
    return item


def _growth(source: random.Random) -> Any:
    """Return a document that lets numbers, strings, lists, tuples, dicts and tensors grow, in loops and through calls."""

    def body(depth: int) -> list[Any]:
        return [statement(depth) for _ in range(source.randint(1, 4))]

    def statement(depth: int) -> Any:
        chance = source.random()
        if depth < 3 and chance < 0.12:
            return {
                "while": source.choice(["n > 0", "len(a) > 0", "True", "x.sum() > 0"]),
                "at_most": source.choice([3, 40, 1000, 100000]),
                "do": body(depth + 1),
            }
        if depth < 3 and chance < 0.3:
            return {
                "for": source.choice(
                    [
                        "i in range(n)",
                        "i in a",
                        "i in range(40)",
                        "i in range(x.shape[0])",
                        "i in t",
                        "i in range(5000)",
                    ]
                ),
                "do": body(depth + 1),
            }
        if depth < 3 and chance < 0.34:
            return {"if": source.choice(["n > 2", "a", "x.sum() > 0"]), "then": body(depth + 1)}
        return source.choice(GROWING)

    start = [f"n = {source.choice(['int(x[0, 0] * 9) + 2', '3', 'x.shape[0]', '9223372036854775807', 'int(x.sum()) + 1'])}",
             "a, s, t, d, k = [n], 'ab', (n, 1), {'k': n}, []"]  # fmt: skip
    repeated = [source.choice(GROWING)] * source.choice([0, 0, 30, 70])
    forward = [*start, *body(0), *repeated, "return x"]
    net: dict[str, Any] = {
        "forward": forward,
        "init": [{"k": {"value": "[1, 2]"}}, {"layers": "ModuleList([Linear(4, 4)])"}, {"c": "C()"}],
    }
    net["methods"] = {"m": {"arguments": ["v"], "body": [source.choice(TWICE), "return v"]}}
    modules = {
        "f": {"arguments": ["v"], "body": [source.choice(TWICE), "return v"]},
        "C": {"forward": {"arguments": ["v"], "body": [source.choice(TWICE), "return v"]}},
        "Net": net,
    }
    if "f(" not in repr(forward):
        del modules["f"]
    if source.random() < 0.4:  # the same while the model is built
        net["init"] += ["n = 3", "a, s, t, d, k = [n], 'ab', (n, 1), {'k': n}, []"]
        net["init"] += [_repeated(source, source.choice(BUILDING)) for _ in range(source.randint(1, 4))]
    return {"modules": modules, "model": "Net()"}
