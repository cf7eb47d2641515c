"""Every known way in is closed, and documents that almost make sense are answered, never obeyed."""

# ruff: noqa: E501 - statements of the language are one string each

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.definition import check
from services.errors import InvalidRequest
from services.modules import build, emit, source
from tests.conformance.audit import assert_harmless
from tests.conformance.case import CASES
from tests.conformance.mutations import mutated


def net(*statements, init=(), **more):
    return {"modules": {"Net": {"init": list(init), "forward": list(statements), **more}}, "model": "Net()"}


ATTACKS = {
    "a child named format": net("return self.format(x)", init=[{"format": "ReLU()"}]),
    "a string formats": net("return '{0.__class__}'.format(x)"),
    "a hook as a child": net("return x", init=[{"register_forward_hook": "ReLU()"}]),
    "a child named forward": net("return x", init=[{"forward": "ReLU()"}]),
    "a dunder child": net("return x", init=[{"__call__": "ReLU()"}]),
    "a computed dunder": net("return x", init=[{"for": "s in ['__cl']", "do": [{"{s}ass__": "ReLU()"}]}]),
    "a computed method": net("return x", init=[{"for": "s in ['for']", "do": [{"{s}ward": "ReLU()"}]}]),
    "torch.load": net("return torch.load('x')"),
    "torch.save": net("torch.save(x, 'x')", "return x"),
    "torch.ops": net("return torch.ops.aten.relu(x)"),
    "torch.hub": net("return torch.hub.load('a', 'b')"),
    "torch.jit": net("return torch.jit.script(x)"),
    "torch.classes": net("return torch.classes.x"),
    "torch.utils": net("return torch.utils.data.DataLoader(x)"),
    "torch.from_file": net("return torch.from_file('x')"),
    "a callable as an argument": net("return torch.max(x, torch.relu)"),
    "a class as an argument": net("return torch.max(x, ReLU)"),
    "a function as an argument": {
        "modules": {
            "f": {"arguments": ["x"], "body": ["return x"]},
            "Net": {"forward": ["return torch.max(x, f)"]},
        },
        "model": "Net()",
    },
    "apply_": net("return x.apply_(x)"),
    "a hook on a tensor": net("x.register_hook(x)", "return x"),
    "data": net("return x.data"),
    "grad_fn": net("return x.grad_fn"),
    "storage": net("return x.untyped_storage()"),
    "a private attribute": net("return self._modules"),
    "a private method": net("return self._call_impl(x)"),
    "f-string": net("return f'{x}'"),
    "lambda": net("return (lambda: x)()"),
    "percent": net("return '%999999999d' % 1"),
    "backslash": net("return '\\x41'"),
    "walrus": net("return (y := x)"),
    "assigning self": net("self.training = True", "return x"),
    "assigning a child": net("self.a = x", "return x", init=[{"a": "ReLU()"}]),
    "assigning a method": net("x.backward = x", "return x"),
    "deleting": net("del x", "return x"),
    "importing": net("import os", "return x"),
    "two statements": net("x = 1; y = 2", "return x"),
    "a loop head that is a program": net({"for": "i in x: print(1) #", "do": []}, "return x"),
    "a comment": net("return x # hidden"),
    "print": net("print(x)", "return x"),
    "getattr": net("return getattr(x, 'data')"),
    "globals": net("return globals()"),
    "shadowing torch": net("torch = x", "return torch"),
    "shadowing range": net("range = x", "return range"),
    "a default that is code": {
        "modules": {"Net": {"forward": {"arguments": [{"name": "x", "default": {"type": "ReLU"}, "evil": 1}], "body": ["return x"]}}},
        "model": "Net()",
    },
    "constructing in forward": net("return Linear(3, 4)(x)"),
    "nn.Module": "Module()",
    "Parameter as a model": "Parameter(zeros(3))",
    "a lazy layer": "LazyLinear(4)",
    "out": net("return torch.add(x, x, out=x)"),
    "generator": net("return torch.rand(3, generator=x)"),
    "device": net("return torch.zeros(3, device='cuda')"),
    "to a device": net("return x.to('cuda')"),
    "double splat": net("return torch.add(**x)"),
    "a type that is a path": {"type": "torch.nn.Linear", "in_features": 3, "out_features": 4},
    "init in forward": net("return nn.init.zeros_(x)"),
    "a plain list of modules": net("return x", init=[{"a": {"value": "[Linear(2, 2)]"}}]),
    "structure from random numbers": net("return x", init=[{"if": "rand(1) > 0.5", "then": [{"a": "ReLU()"}]}]),
    "a definition named eval": {"modules": {"range": {"forward": ["return x"]}}, "model": "range()"},
    "mutual recursion": {
        "modules": {"A": {"init": [{"b": "B()"}], "forward": ["return x"]}, "B": {"init": [{"a": "A()"}], "forward": ["return x"]}},
        "model": "A()",
    },
    "function recursion": {
        "modules": {"f": {"arguments": ["x"], "body": ["return f(x)"]}, "Net": {"forward": ["return f(x)"]}},
        "model": "Net()",
    },
    "exponential macros": {
        "modules": {
            f"m{i}": {"parameters": [], "returns": f"Sequential(m{i + 1}(), m{i + 1}())" if i < 30 else "ReLU()"}
            for i in range(31)
        },
        "model": "m0()",
    },
    "a growing list": net("return x", init=["a = [1]", {"for": "i in range(100)", "do": ["a = a + a"]}]),
    "a growing integer": net("return x", init=["a = 3", {"for": "i in range(100)", "do": ["a = a * a"]}]),
    "a growing string": net("return x", init=["a = 'ab'", {"for": "i in range(100)", "do": ["a = a + a"]}]),
    "a forward that adds layers": net(
        "self.layers.append(self.layers[0])", "return x", init=[{"layers": "ModuleList([Linear(2, 2)])"}]
    ),
    "a list that holds itself": net("a = [x]", "a.append(a)", "return x * len(str(a))"),
    "a huge while": net({"while": "x.sum() > 0", "at_most": 10**9, "do": ["x = x / 2"]}, "return x"),
    "nested loops": net(
        {"for": "i in range(5000)", "do": [{"for": "j in range(5000)", "do": ["x = x + 1"]}]}, "return x"
    ),
}  # fmt: skip


DOUBLING = ["a = [1]", *["a = [a, a]"] * 60]
NESTED = "[[[[[[i for i in range(90)] for j in range(90)] for k in range(90)] for l in range(90)] for m in range(90)] for n in range(90)]"
WAYS_IN = {
    "a sum of a long range": "sum(range(10**9))",
    "a list of a long range": "list(range(10**9))",
    "a tower of powers": "10**10**10",
    "a long string": "'a'*10**9",
    "a long list": "[0]*10**9",
    "a long tuple": "(0,)*10**9",
    "a string that formats through a child": "'{0.__class__}'.format(x)",
    "a child named format": "self.format(x)",
    "nested comprehensions": NESTED,
    "5 000 brackets": "(" * 5000 + "x" + ")" * 5000,
    "5 000 signs": "-" * 5000 + "1",
    "5 000 attributes": "x" + ".T" * 2000,
    "5 000 sums": "+".join(["1"] * 2000),
    "a huge tensor": "torch.zeros(10**6, 10**6)",
    "a huge identity": "torch.eye(10**6)",
    "a callable as an argument": "torch.max(x, torch.relu)",
    "a method as an argument": "torch.max(x, x.relu)",
    "a hook": "x.register_hook(torch.relu)",
    "a hook on a child": "self.layer.register_forward_hook(torch.relu)",
    "torch.load": "torch.load('x')",
    "torch.save": "torch.save(x, 'x')",
    "torch.ops": "torch.ops.aten.relu(x)",
    "torch.hub": "torch.hub.load('a', 'b')",
    "an f-string": "f'{x}'",
    "a lambda": "(lambda: x)()",
    "a walk through nested lists": "len(str(a))",
    "a comparison of nested lists": "a == [a, a]",
    "a key of nested tuples": "{(a[0], 1): a, str(a): 1}",
    "a module that repeats": "self.layer * 10**9",
    "a product of many": "math.prod([9] * 100000)",
    "a product of a list": "math.prod([[1, 2], 4611686018427387904])",
    "a common multiple": "math.lcm(*range(1, 100000))",
}  # fmt: skip


def _positions(expression):
    """Return documents that hold an expression where init runs it, and where forward does."""
    layer = {"layer": "Sequential(Linear(2, 2))"}
    before = DOUBLING if "a" in re.findall(r"\b\w+\b", expression) else []
    yield "init", net("return x", init=[layer, *before, f"b = {expression}"])
    yield "a value", net("return x", init=[layer, *before, {"b": {"value": expression}}])
    yield "a buffer", net("return x", init=[layer, *before, {"b": {"buffer": expression}}])
    yield "forward", net(*before, f"b = {expression}", "return x", init=[layer])
    yield "a loop head", net(*before, {"for": f"b in {expression}", "do": ["x = x + 1"]}, "return x", init=[layer])
    yield "a condition", net(*before, {"if": expression, "then": ["x = x + 1"]}, "return x", init=[layer])
    yield "an argument", net(*before, f"return self.layer({expression})", init=[layer])
    method = {"arguments": ["x"], "body": [*before, f"return {expression}"]}
    yield "a method", net("return self.again(x)", init=[layer], methods={"again": method})


@pytest.mark.parametrize("name", WAYS_IN)
def test_known_ways_in_are_closed_at_every_position_without_taking_memory(name):
    for position, document in _positions(WAYS_IN[name]):
        before = _memory_peak(reset=True)
        with pytest.raises(InvalidRequest) as caught:
            check(document, pointer="/model")
        assert all(problem.pointer.startswith("/model/modules/Net/") for problem in caught.value.problems), position
        assert _memory_peak() - before < 32 << 20, position


def _memory_peak(*, reset: bool = False) -> int:
    """Return the largest resident size of this process since the last reset, in bytes (proc(5))."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024


BOMBS = {
    "functions that call each other twice": {
        "modules": {
            **{f"f{i}": {"arguments": ["x"], "body": [f"return f{i + 1}(f{i + 1}(x))" if i < 40 else "return x + 1"]} for i in range(41)},
            "Net": {"forward": ["return f0(x)"]},
        },
        "model": "Net()",
    },
    "children that call each other twice": {
        "modules": {
            **{f"N{i}": {"init": [{"a": f"N{i + 1}()"}], "forward": ["return self.a(self.a(x))"]} for i in range(30)},
            "N30": {"forward": ["return x + 1"]},
        },
        "model": "N0()",
    },
    "methods that call each other twice": net(
        "return self.m0(x)",
        methods={f"m{i}": {"arguments": ["x"], "body": [f"return self.m{i + 1}(self.m{i + 1}(x))" if i < 30 else "return x + 1"]}
                 for i in range(31)},
    ),
    "loops in functions in loops": {
        "modules": {
            "f": {"arguments": ["x"], "body": [{"for": "i in range(900)", "do": ["x = x + 1"]}, "return x"]},
            "g": {"arguments": ["x"], "body": [{"for": "i in range(900)", "do": ["x = f(x)"]}, "return x"]},
            "Net": {"forward": [{"for": "i in range(900)", "do": ["x = g(x)"]}, "return x"]},
        },
        "model": "Net()",
    },
    "a Sequential in a loop in a Sequential": {
        "modules": {
            "A": {"forward": [{"for": "i in range(900)", "do": ["x = x + 1"]}, "return x"]},
            "B": {"init": [{"a": "Sequential(*[A() for i in range(90)])"}], "forward": [{"for": "i in range(900)", "do": ["x = self.a(x)"]}, "return x"]},
        },
        "model": "Sequential(*[B() for i in range(10)])",
    },
    "many statements in a long loop": net("return x", init=[{"for": "i in range(20000)", "do": ["a = i"] * 1000}]),
    "a list that grows by itself in a long loop": net(
        "return x", init=["a = [0] * 90000", {"for": "i in range(20000)", "do": ["b = [0] * 9000", "b += a"]}]
    ),
    "a list that is put into itself": net("return x", init=["a = [1]", {"for": "i in range(99)", "do": ["a[0:0] = a"]}]),
    "long lists in a long loop": net("return x", init=[{"for": "i in range(20000)", "do": ["a = list(range(100000))"]}]),
    "copies in a long loop": net("return x", init=["a = list(range(90000))", {"for": "i in range(20000)", "do": ["b = a[1:] + a[:1]"]}]),
    "many instances of a long forward": {
        "modules": {"A": {"parameters": ["n"], "forward": ["x = x + 1"] * 2000 + ["return x * self.n"]}},
        "model": "Sequential(*[A(i) for i in range(5000)])",
    },
    "arguments of nested lists": {
        "modules": {"A": {"parameters": ["n"], "forward": ["return x"]},
                    "Net": {"init": [*DOUBLING, {"a": "A(a)"}], "forward": ["return self.a(x)"]}},
        "model": "Net()",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_work_that_the_text_multiplies_is_refused_before_anything_runs(name):
    with pytest.raises(InvalidRequest) as caught:
        check(BOMBS[name])
    assert {problem.code for problem in caught.value.problems} == {"model_too_large"}
    assert all(problem.pointer and problem.hint for problem in caught.value.problems)


@pytest.mark.parametrize("name", ATTACKS)
def test_known_ways_in_are_refused_with_a_pointer(name):
    with pytest.raises(InvalidRequest) as caught:
        check(ATTACKS[name], pointer="/model")
    for problem in caught.value.problems:
        assert problem.pointer.startswith("/model")
        assert problem.code and problem.detail


def test_a_loop_over_data_has_a_budget_that_each_forward_renews():
    document = net({"for": "i in range(int(x[0]))", "do": ["x = x + 0"]}, "return x")
    model = build(check(document))
    for _ in range(3):
        model(torch.tensor([500_000.0 / 1000]))
    with pytest.raises(RuntimeError, match="turns"):
        model(torch.tensor([2e6]))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_emitted_trees_hold_nothing_but_the_catalog(case):
    definition = check(case.document)
    tree = emit(definition)
    assert_harmless(tree)
    assert ast.dump(ast.parse(source(definition))) == ast.dump(ast.parse(ast.unparse(tree)))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.integers(min_value=0, max_value=10**9))
def test_mutated_documents_are_refused_or_harmless(seed):
    document = mutated(seed)
    try:
        definition = check(document, pointer="/model")
    except InvalidRequest as error:
        assert all(problem.pointer.startswith("/model") for problem in error.problems)
        return
    assert_harmless(emit(definition))
    assert check(definition.document).sha256 == definition.sha256


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=60))
@example("input")  # a child may be called as a builtin of Python is
def test_any_text_is_answered(text):
    for document in (text, net(text), net("return x", init=[text]), net("return x", init=[{text: "ReLU()"}])):
        try:
            assert_harmless(emit(check(document)))
        except InvalidRequest:
            continue


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["type", "model", "modules", "init", "forward", "layers", "parameters", "for", "do", "if", "then", "while", "Net",
         "at_most", "weights", "tie", "returns", "body", "arguments", "name", "default", "inputs", "shape", "buffer"]),
        inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=400, deadline=None, derandomize=True)
@given(_JSON)
def test_any_json_is_answered(document):
    for candidate in (document, {"modules": {"Net": document}, "model": "Net()"}):
        try:
            check(candidate)
        except InvalidRequest:
            continue
