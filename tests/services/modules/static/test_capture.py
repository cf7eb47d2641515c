"""The static variant of a definition computes what the definition does, dynamically and as a captured graph."""

import pytest
import torch

from services.definition import check
from services.modules import build
from services.modules.graph.subject import build_subject
from services.modules.static.backend import compile_model
from services.modules.static.build import static_variant
from services.modules.static.capture import capture
from services.modules.static.pair import Pair, difference, tensors
from tests.conformance import article, generative, sequence, tabular, users, vision  # noqa: F401 - they register their cases
from tests.conformance.case import CASES


def model(*body, **more):
    parts = [{"a": "Linear(4, 4)"}, {"b": "Linear(4, 4)"}]
    return {"modules": {"Own": {"init": parts, "forward": list(body), **more}}, "model": "Own()"}


BODIES = {
    "a branch without else": (["x = self.a(x)", {"if": "x.mean() > 0", "then": ["x = x * 2"]}, "return x"], "cond"),
    "a branch that binds a new name": (
        [{"if": "x.sum() > 0", "then": ["y = self.a(x)"], "else": ["y = self.b(x)"]}, "return y"],
        "cond",
    ),
    "an early return": (["x = self.a(x)", {"if": "x.mean() > 0", "then": ["return x"]}, "return self.b(x)"], "cond"),
    "a selection in an expression": (["y = x if x.norm() > 1 else -x", "return self.a(y)"], "cond"),
    "and, or, not, a chain": (
        [{"if": "not 0 < x.mean() < 9 and x is not None or x.sum() > 99", "then": ["x = -x"]}, "return self.a(x)"],
        "cond",
    ),
    "a number that a branch changes": (
        ["s = 0.0", {"if": "x.mean() > 0", "then": ["s += x.mean()"]}, "return self.a(x) + s"],
        "cond",
    ),
    "a loop": (["x = self.a(x)", {"while": "x.norm() > 1", "at_most": 99, "do": ["x = x / 2"]}, "return x"], "loop"),
    "a loop that does not turn": (
        ["x = self.a(x)", {"while": "x.norm() > 1e9", "at_most": 9, "do": ["x = x / 2"]}, "return x"],
        "loop",
    ),
    "a branch on a Python value": (
        [
            {"if": "self.training", "then": ["y = 2"]},
            {"if": "self.training", "then": ["x = x * y"]},
            {"for": "i in range(2)", "do": [{"if": "i == 0", "then": ["z = x"], "else": ["z = z + x"]}]},
            "return self.a(z)",
        ],
        "plain",
    ),
    "break and continue": (
        [
            {
                "for": "i in range(4)",
                "do": [
                    {"if": "i == 1", "then": ["continue"]},
                    "x = x + i",
                    {"if": "i == 2", "then": ["break"]},
                    "x = x * 2",
                ],
            },
            "return self.a(x)",
        ],
        "plain",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_captured_body_gives_the_same_outputs_and_gradients(name):
    body, kind = BODIES[name]
    definition = check(model(*body))
    torch.manual_seed(0)
    pair = Pair.of(build(definition), static_variant(definition).build(), 0)
    torch._dynamo.reset()
    # A graph without operations for control flow is run as it is; the others as a job runs them.
    compiled = compile_model(pair.static)
    for sign in (1.0, -1.0):
        inputs = [sign * torch.rand(3, 4)]
        assert difference(*(tensors(pair.run(one, inputs)) for one in (pair.dynamic, compiled.call))) == 0.0
    inputs = [torch.rand(3, 4)]
    assert difference(*(pair.gradients(one, inputs) for one in (pair.dynamic, compiled.call))) <= 1e-6
    assert compiled.backends == (["eager"] if kind == "plain" else ["aot_eager"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_conformance_model_computes_the_same_in_its_static_variant(case):
    definition = check(case.document)
    torch.manual_seed(0)
    dynamic = build(definition)
    torch.manual_seed(0)
    pair = Pair.of(dynamic, static_variant(definition).build(), 0)
    assert list(pair.static.state_dict()) == list(dynamic.state_dict())
    with torch.no_grad():
        inputs = list(case.inputs(2))
        assert difference(*(tensors(pair.run(one, inputs)) for one in (pair.dynamic, pair.static))) == 0.0


def test_ways_of_different_shape_are_told_with_the_condition_as_written():
    body = [{"if": "x.mean() > 0", "then": ["y = self.a(x)"], "else": ["y = x.sum()"]}, "return y.mean()"]
    definition = check(model(*body))
    inputs = {"x": torch.rand(3, 4)}
    subject = build_subject(
        definition, inputs, weights=None, training=True, seed=0, dtype=torch.float32, max_parameters=None
    )
    report = capture(definition, subject)
    (found,) = report["breaks"]
    assert (found["pointer"], found["source"]) == ("/modules/Own/forward/0", "if x.mean() > 0:")
    assert found["reason"].startswith("The two ways of this branch give values of different shape")


def test_a_loop_beyond_its_bound_fails_in_the_graph_too():
    definition = check(model({"while": "x.norm() > 0", "at_most": 3, "do": ["x = x / 2"]}, "return self.a(x)"))
    pair = Pair.of(build(definition), static_variant(definition).build(), 0)
    torch._dynamo.reset()
    compiled = compile_model(pair.static)
    for call in (pair.dynamic, pair.static, compiled.call):
        with pytest.raises(RuntimeError, match="the loop still goes on after 3 turns"):
            pair.run(call, [torch.ones(1, 4)])
