"""Blocks without gradients: where they stand, what they hold, what leaves them."""

from __future__ import annotations

import pytest
import torch

from services.definition import check
from services.errors import InvalidRequest
from services.modules import build, source
from services.modules.describe import describe


def net(*forward, init=()):
    return {"modules": {"N": {"init": [{"a": "Linear(4, 4)"}, *init], "forward": list(forward)}}, "model": "N()"}


@pytest.mark.parametrize(
    "inside",
    [["return x"], [{"if": "x.sum() > 0", "then": ["return x"]}], [{"for": "i in range(3)", "do": ["return x"]}]],
)
def test_a_return_does_not_leave_the_block(inside):
    with pytest.raises(InvalidRequest) as caught:
        check(net({"no_grad": inside}, "return x"))
    assert [(p.code, p.pointer) for p in caught.value.problems] == [("invalid_expression", "/modules/N/forward/0")]
    assert "after the block" in str(caught.value.problems[0].hint)


@pytest.mark.parametrize(
    ("block", "code", "pointer"),
    [
        ({"no_grad": "x = 1"}, "list_type", "/modules/N/forward/0/no_grad"),
        ({"no_grad": [], "do": []}, "extra_forbidden", "/modules/N/forward/0/do"),
        (
            {"for": "i in range(3)", "do": [{"no_grad": ["continue"]}]},
            "invalid_expression",
            "/modules/N/forward/0/do/0",
        ),
        ("with torch.no_grad(): y = x", "invalid_expression", "/modules/N/forward/0"),
    ],
)
def test_what_is_no_block_is_refused_at_its_place(block, code, pointer):
    with pytest.raises(InvalidRequest) as caught:
        check(net(block, "return x"))
    assert (caught.value.problems[0].code, caught.value.problems[0].pointer) == (code, pointer)


def test_loops_inside_keep_their_own_jumps_and_nothing_inside_has_a_gradient():
    loop = {"while": "y.norm() > 1", "at_most": 50, "do": ["y = y / 2", {"if": "y.sum() < 0", "then": ["break"]}]}
    definition = check(net({"no_grad": ["y = self.a(x)", loop]}, "return y, self.a(x)"))
    assert "with torch.no_grad():" in source(definition)
    quiet, loud = build(definition)(torch.randn(2, 4))
    assert not quiet.requires_grad and loud.requires_grad


def test_init_may_change_weights_without_gradients_and_declare_parts():
    init = [{"no_grad": ["self.a.weight.fill_(0.5)", {"b": "Linear(4, 2)"}]}]
    model = build(check(net("return self.b(self.a(x))", init=init)))
    assert (model.a.weight == 0.5).all() and model.b.weight.requires_grad


def test_a_child_may_be_called_no_grad():
    assert check(net("return self.no_grad(x)", init=[{"no_grad": "Linear(4, 2)"}])).tree.find("no_grad") is not None


@pytest.mark.parametrize("value", ["{'a': x}.values", "self.parts.values", "dict(a=x).values"])
def test_values_is_a_field_of_max_and_no_method_without_a_call(value):
    with pytest.raises(InvalidRequest):
        check(net(f"f = {value}", "return f()[0]", init=[{"parts": "ModuleDict({'a': ReLU()})"}]))
    assert torch.equal(build(check(net("return x.max(dim=1).values")))(torch.eye(4)), torch.ones(4))


class Decorated(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(4, 4)

    @torch.no_grad()
    def quiet(self, x):
        return self.a(x)

    def forward(self, x):
        with torch.no_grad():
            y = x * 2
        return self.quiet(x) + self.a(y)


def test_a_class_with_no_grad_is_described():
    module = Decorated()
    ours = build(describe(module))
    ours.load_state_dict(module.state_dict())
    x = torch.randn(3, 4)
    for one in (ours, module):
        one(x).sum().backward()
    assert torch.equal(ours.a.weight.grad, module.a.weight.grad) and torch.equal(ours(x), module(x))
