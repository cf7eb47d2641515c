"""Small documents that ask for much, and documents that are too long: each is refused before anything is made."""

# ruff: noqa: E501 - statements of the language are one string each

from __future__ import annotations

from typing import Any


def net(init: list[Any], forward: list[Any] | None = None) -> dict[str, Any]:
    return {"modules": {"N": {"init": init, "forward": forward or ["return x"]}}, "model": "N()"}


def macro(returns: str, model: str, *parameters: str) -> dict[str, Any]:
    return {"modules": {"m": {"parameters": list(parameters), "returns": returns}}, "model": model}


def tower(height: int) -> dict[str, Any]:
    """Two modules of two modules of two modules …, each a definition of its own."""
    modules = {}
    for i in range(height):
        inner = f"M{i + 1}()" if i < height - 1 else "Linear(4, 4)"
        modules[f"M{i}"] = {"init": [{"a": inner}, {"b": inner}], "forward": ["return self.b(self.a(x))"]}
    return {"modules": modules, "model": "M0()"}


def nested(count: int, depth: int, item: Any) -> list[Any]:
    """Loops inside each other."""
    for level in range(depth):
        item = {"for": f"{'ijkl'[level]} in range({count})", "do": [item]}
    return [item]


_HALVES = {"for": "i in range(30)", "do": ["self.a.extend([*self.a])"]}
_TREE = {
    "A": {
        "parameters": ["n"],
        "init": [
            {
                "if": "n > 0",
                "then": [{"a": "A(n - 1)"}, {"b": "A(n - 1)"}],
                "else": [{"a": "Linear(4, 4)"}, {"b": "ReLU()"}],
            }
        ],
        "forward": ["return self.b(self.a(x))"],
    }
}
_DOUBLING = {
    **{f"f{i}": {"arguments": ["x"], "body": [f"return f{i + 1}(x) + f{i + 1}(x)"]} for i in range(40)},
    "f40": {"arguments": ["x"], "body": ["return x"]},
    "N": {"forward": ["return f0(x)"]},
}

LARGE = {
    "10001 layers": {"type": "Sequential", "layers": [{"type": "Linear", "in_features": 4, "out_features": 4}] * 10_001},
    "10001 layers in strings": {"type": "Sequential", "layers": ["Linear(4, 4)"] * 10_001},
    "49000 layers": {"type": "Sequential", "layers": ["Linear(4, 4)"] * 49_000},
    "24000 children": net([{f"a{i}": "Linear(4, 4)"} for i in range(24_000)]),
    "49000 statements": net([], ["x = x + 1"] * 49_000),
    "12000 blocks": net([], [{"if": "x", "then": ["y = 1"]}] * 12_000),
    "40000 unknown layers": {"type": "Sequential", "layers": ["Linaer(4, 4)"] * 40_000},
    "20000 ties": net([{"a": "Linear(4, 4)"}, {"tie": ["a.weight"] * 20_000}]),
    "200 long expressions": net([], ["y = " + "+".join(["x"] * 2_000)] * 200),
    "250 long lists": net([], ["y = [" + "1," * 2_000 + "]"] * 250),
    "250 long strings": net([], ["y = '" + "a" * 4_000 + "'"] * 250),
    "a bushy tree of objects": net([{"a": {"type": "Sequential", "layers": [{"type": "Sequential", "layers": ["ReLU()"] * 100}] * 101}}]),
}  # fmt: skip
"""Refused by what they hold, before a text is parsed."""

MANY = {
    "2^13 modules": tower(13),
    "2^30 modules": tower(30),
    "2^20 modules by a parameter": {"modules": _TREE, "model": "A(20)"},
    "2^39 modules by a macro": macro("Linear(4, 4) if n == 0 else Sequential(m(n - 1), m(n - 1))", "m(39)", "n"),
    "Fibonacci's modules": macro("a if n < 2 else Sequential(m(n - 1, a), m(n - 2, a))", "m(35, ReLU())", "n", "a"),
    "a loop of 10001": "Sequential(*[Linear(4, 4) for i in range(10001)])",
    "a loop of 10001 that differ": "Sequential(*[Linear(i + 1, i + 2) for i in range(10001)])",
    "1000 x 1000 layers": "Sequential(*[Sequential(*[ReLU() for i in range(1000)]) for j in range(1000)])",
    "100 x 101 layers": "Sequential(*[Sequential(*[ReLU() for i in range(100)]) for j in range(101)])",
    "101 blocks of 100": macro("Sequential(*[ReLU() for i in range(n)])", "Sequential(*[m(100) for j in range(101)])", "n"),
    "10 x 10 x 10 x 10 children": net(nested(10, 4, {"x{i}_{j}_{k}_{l}": "Linear(4, 4)"})),
    "150 x 150 turns": net(nested(150, 2, "a = i * j + 1")),
    "20001 turns": net(nested(20_001, 1, "a = 1")),
    "append in a loop": net([{"a": "ModuleList()"}, {"for": "i in range(19000)", "do": ["self.a.append(Linear(4, 4))"]}]),
    "2000 encoders of 64": "Sequential(*[TransformerEncoder(TransformerEncoderLayer(8, 2), 64) for i in range(2000)])",
}  # fmt: skip
"""Refused by their integers, before anything is evaluated."""

GROWING = {
    "sum(range(10**9))": net([], ["return sum(range(10**9))"]),
    "10**10**10": net([], ["return 10**10**10"]),
    "'a' * 10**9": net([], ["return 'a' * 10**9"]),
    "nested comprehensions": net([], ["return [[i for i in range(10**4)] for j in range(10**4)]"]),
    "zeros(10**6, 10**6)": net([], ["y = torch.zeros(10**6, 10**6)", "return x"]),
    "5000-deep": net([], ["return " + "(" * 2000 + "x" + ")" * 2000]),
    "Linear(10**12)": "Linear(10**12, 10)",
    "LSTM of 10^6 layers": "LSTM(4, 4, num_layers=10**6)",
    "Transformer of 10^6 layers": "Transformer(num_encoder_layers=10**6)",
    "a module in two, 40 times": net(["a = ReLU()", {"for": "i in range(40)", "do": ["a = Sequential(a, a)"]}, {"a": "a"}]),
    "a list of modules doubles": net([{"a": "ModuleList([ReLU()])"}, _HALVES]),
    "a list doubles": net(["a = [1]", {"for": "i in range(60)", "do": ["a.extend(a)"]}]),
    "slices of a list": net(["a = list(range(9999))", {"for": "i in range(9000)", "do": ["b = a[1:]"]}]),
    "slices of a container": net([{"a": "ModuleList([ReLU() for i in range(500)])"}, {"for": "i in range(9000)", "do": ["b = self.a[1:]"]}]),
    "items of a ModuleDict": net([{"a": "ModuleDict({str(i): ReLU() for i in range(500)})"}, {"for": "i in range(9000)", "do": ["b = self.a.items()"]}]),
    "insert at the front": net([{"a": "ModuleList([ReLU() for i in range(500)])"}, {"for": "i in range(9000)", "do": ["self.a.insert(0, ReLU())"]}]),
    "pop from the front": net(["a = list(range(99999))", {"for": "i in range(19000)", "do": ["a.pop(0)"]}]),
    "a number in a range": net([{"for": "i in range(9000)", "do": ["b = 0.5 in range(100000)"]}]),
    "products": net(["a = [1] * 100000", {"for": "i in range(9000)", "do": ["b = math.prod(a)"]}]),
    "lists compared": net(["a = list(range(99999))", "b = a[:]", {"for": "i in range(9000)", "do": ["c = a == b"]}]),
    "lists in strings": net(["a = [1] * 100000", {"for": "i in range(9000)", "do": ["b = str(a)"]}]),
    "Ackermann": macro("n + 1 if k == 0 else (m(k - 1, 1) if n == 0 else m(k - 1, m(k, n - 1)))", "Linear(m(4, 3), 2)", "k", "n"),
    "2^35 calls that make nothing": macro("a if n < 2 else m(n - 1, m(n - 1, a))", "m(35, ReLU())", "n", "a"),
    "2^40 calls in a forward": {"modules": _DOUBLING, "model": "N()"},
    "10^9 turns in a forward": net([], [*nested(1000, 3, "x = x + 1"), "return x"]),
}  # fmt: skip
"""Refused where they begin to grow."""

BOMBS: dict[str, Any] = {**LARGE, **MANY, **GROWING}
CODES = {"Linear(10**12)": "dimension_too_large", "5000-deep": "invalid_expression", "Ackermann": "recursive_definition",
         "2^35 calls that make nothing": "recursive_definition", "LSTM of 10^6 layers": "model_too_large"}  # fmt: skip
"""Codes other than ``model_too_large``."""
