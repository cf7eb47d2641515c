"""Definitions may refer to themselves where they come to an end; where they do not, the chain and the fix are named."""

# ruff: noqa: E501 - statements of the language are one string each

from __future__ import annotations

import pytest
import torch

from services.definition import check
from services.definition.limits import MAX_RECURSIVE_CALLS
from services.errors import InvalidRequest
from services.modules import build, source


def only(document):
    with pytest.raises(InvalidRequest) as caught:
        check(document, pointer="/model")
    assert len(caught.value.problems) == 1, caught.value.problems
    return caught.value.problems[0]


def macro(returns, model, *parameters, name="m"):
    return {"modules": {name: {"parameters": list(parameters), "returns": returns}}, "model": model}


def function(body, *, at_most=None, calls="return f(x, 3)", **more):
    bound = {} if at_most is None else {"at_most": at_most}
    modules = {"f": {"arguments": ["x", "n"], "body": body, **bound}, "Net": {"forward": [calls]}, **more}
    return {"modules": modules, "model": "Net()"}


def test_a_recursion_follows_the_values_of_the_parameters():
    document = macro("ReLU() if n == 0 else Sequential(Linear(n, n), m(n - 1))", "m(3)", "n")
    assert [path for path, _ in check(document).tree.walk()] == ["", "0", "1", "1.0", "1.1", "1.1.0", "1.1.1"]
    model = build(check(document))
    assert [module.in_features for module in model.modules() if isinstance(module, torch.nn.Linear)] == [3, 2, 1]


BOMBS = {
    "no end": macro("Sequential(m(n - 1))", "m(3)", "n"),
    "the same again": macro("Sequential(m(n))", "m(3)", "n"),
    "Ackermann": macro(
        "n + 1 if k == 0 else (m(k - 1, 1) if n == 0 else m(k - 1, m(k, n - 1)))", "Linear(m(4, 3), 2)", "k", "n"
    ),
    "calls that make nothing": macro("a if n < 2 else m(n - 1, m(n - 1, a))", "m(35, ReLU())", "n", "a"),
    "each other": {
        "modules": {
            "A": {"parameters": ["n"], "init": [{"b": "B(n)"}], "forward": ["return x"]},
            "B": {"parameters": ["n"], "init": [{"a": "A(n + 1)"}], "forward": ["return x"]},
        },
        "model": "A(0)",
    },
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_recursion_without_end_is_refused_with_its_chain_and_the_fix(name):
    problem = only(BOMBS[name])
    assert problem.code == "recursive_definition"
    assert problem.pointer.startswith("/model/modules/")
    assert problem.column is not None
    assert " → " in problem.detail
    assert "smaller" in str(problem.hint)


@pytest.mark.parametrize(
    "document",
    [
        macro("Linear(4, 4) if n == 0 else Sequential(m(n - 1), m(n - 1))", "m(39)", "n"),
        macro("a if n < 2 else Sequential(m(n - 1, a), m(n - 2, a))", "m(35, ReLU())", "n", "a"),
        {
            "modules": {
                "N": {
                    "init": ["a = ReLU()", {"for": "i in range(40)", "do": ["a = Sequential(a, a)"]}, {"a": "a"}],
                    "forward": ["return self.a(x)"],
                }
            },
            "model": "N()",
        },
        {
            "modules": {"N": {"init": [{"a": "ModuleList()"}, "self.a.append(self.a)"], "forward": ["return x"]}},
            "model": "N()",
        },
        {
            "modules": {
                f"D{i}": {
                    "init": [{"a": "Sequential(" * 50 + (f"D{i + 1}()" if i < 30 else "ReLU()") + ")" * 50}],
                    "forward": ["return x"],
                }
                for i in range(31)
            },
            "model": "D0()",
        },
    ],
)
def test_trees_that_are_too_large_or_too_deep_to_walk_are_refused(document):
    assert only(document).code == "model_too_large"


def test_calls_that_were_there_before_are_free():
    deep = macro("ReLU() if n == 0 else Sequential(m(n - 1), m(n - 1))", "m(11)", "n")
    assert sum(1 for _ in check(deep).tree.walk()) > MAX_RECURSIVE_CALLS


def test_a_function_that_calls_itself_says_how_deep():
    body = [{"if": "n == 0", "then": ["return x"]}, "return f(torch.tanh(x), n - 1)"]
    problem = only(function(body))
    assert (problem.code, problem.pointer) == ("recursive_definition", "/model/modules/f")
    assert '"at_most"' in str(problem.hint)
    model = build(check(function(body, at_most=4)))
    x = torch.ones(2)
    assert torch.equal(model(x), x.tanh().tanh().tanh())
    with pytest.raises(RuntimeError, match="deeper than its at_most"):
        build(check(function(body, at_most=3)))(x)


def test_functions_that_call_each_other_share_one_count():
    g = {"arguments": ["x", "n"], "at_most": 50, "body": ["return f(x, n)"]}
    model = build(check(function(["return g(x, n)"], at_most=6, g=g)))
    with pytest.raises(RuntimeError, match="deeper than its at_most"):
        model(torch.ones(2))


def test_methods_that_call_each_other_say_how_deep():
    methods = {"a": {"arguments": ["x"], "body": ["return self.b(x)"]}, "b": {"arguments": ["x"], "body": ["return self.a(x)"]}}  # fmt: skip
    document = {"modules": {"Net": {"forward": ["return self.a(x)"], "methods": methods}}, "model": "Net()"}
    with pytest.raises(InvalidRequest) as caught:
        check(document)
    assert {problem.pointer for problem in caught.value.problems} == {f"/modules/Net/methods/{name}" for name in "ab"}


def test_calls_that_branch_spend_the_turns_of_the_forward():
    body = [{"if": "n == 0", "then": ["return 1"]}, "return f(x, n - 1) + f(x, n - 1)"]
    model = build(check(function(body, at_most=60, calls="return f(x, 50)")))
    with pytest.raises(RuntimeError, match="turns"):
        model(torch.ones(2))


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (function(["return x"], at_most=4), "invalid_argument"),
        (function(["return f(x, n)"], at_most=0), "out_of_range"),
        (function(["return f(x, n)"], at_most=10**6), "out_of_range"),
        (function(["return f(x, n)"], at_most="4"), "int_type"),
        (function(["return f(x, n)"], at_most=4, calls="return f(**{'_left': 10 ** 9, 'x': x, 'n': 3})"), "invalid_expression"),
        (function(["return f(x, n, _left=5)"], at_most=4), "extra_forbidden"),
    ],
)  # fmt: skip
def test_the_bound_is_the_documents_own(document, code):
    assert only(document).code == code


def test_the_source_counts_down_in_the_open():
    body = [{"if": "n == 0", "then": ["return x"]}, "return f(torch.tanh(x), n - 1)"]
    text = source(check(function(body, at_most=4)))
    assert "def f(x, n, *, _left=4):" in text
    assert "return f(torch.tanh(x), n - 1, _left=_left - 1)" in text
