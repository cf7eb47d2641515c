"""Gradients path by path: their sum is autograd's gradient, counts are exact, and finite differences agree."""

import random

import pytest
import torch

from services.definition import check
from services.errors import InvalidRequest
from services.modules.graph.check import Question, verify
from services.modules.graph.document import name_outputs
from services.modules.graph.gradients import Wanted, choose_leaves, choose_target
from services.modules.graph.nodes import tensors_in
from services.modules.graph.paths import Budget, list_paths
from services.modules.graph.subject import build_subject
from services.modules.graph.sweep import gradients_of, sweep
from tests.conformance import article, generative, sequence, tabular, users, vision  # noqa: F401 - they register their cases
from tests.conformance.case import CASES
from tests.services.modules.graph.traces import leaf, net, traced

W = [{"w": {"parameter": "tensor([2.0, 3.0])"}}]
PRODUCT = net(
    ["a = x1 + self.w", "b = x2 + self.w", "return a * b"], [{"w": {"parameter": "tensor(2.0)"}}], ["x1", "x2"]
)
FAMILIES = [
    "article FancyMLP",
    "article NestMLP",
    "article ModuleList",
    "LSTM classifier",
    "GPTModel",
    "recurrent until converged",
    "mixture of experts",
    "Highway, one layer under two names",
    "VAEModule",
    "GAT on dense adjacency",
    "early exit",
    "LeNet",
]


def test_each_use_of_a_leaf_says_what_it_adds_to_the_gradient():
    made = traced(PRODUCT, {"x1": 1.0, "x2": 3.0})
    assert [one["input_gradients"] for one in made["operations"]] == [[5.0, 5.0], [3.0, 3.0], [5.0, 3.0]]
    split = net(["a, b = x.split(1)", "y = (3 * a + 4 * b).sum()", "return y"], [], ["x"])
    made = traced(split, {"x": [1.0, 2.0]}, gradients={"of": ["x"]})
    assert made["operations"][0]["input_gradients"] == [5.0]
    forward = traced(PRODUCT, {"x1": 1.0, "x2": 3.0}, gradients=None)
    assert all(one["input_gradients"] == [None, None] for one in forward["operations"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_articles_example_has_two_paths_whose_sum_is_exact(dtype):
    made = traced(PRODUCT, {"x1": 1.0, "x2": 3.0}, dtype=dtype)
    w = leaf(made, "w")
    paths = w["paths"]["items"]
    assert [(path["text"], path["contribution"]["value"], path["share"]) for path in paths] == [
        ("y → a → w", 5.0, 0.625),
        ("y → b → w", 3.0, 0.375),
    ]
    for path in paths:
        product = 1.0
        for step in path["steps"]:
            product *= step["derivative"]
        assert product == path["contribution"]["value"]
    assert w["paths"]["sum_of_computed"]["value"] == w["autograd"]["value"] == 8.0
    assert [leaf(made, name)["paths"]["count"] for name in ("x1", "x2")] == [1, 1]
    assert made["totals"]["paths"] == 4


@pytest.mark.parametrize("case", [case for case in CASES if case.name in FAMILIES], ids=str)
def test_replayed_outputs_equal_the_run_and_path_sums_equal_autograd(case):
    """In float64: recorded outputs, outputs of each operation called again, path sums, autograd, finite differences."""
    definition = check(case.document)
    torch.manual_seed(11)
    given = case.inputs(2)
    names = [one.name for one in definition.inputs] or list(definition.arguments)
    subject = build_subject(
        definition, dict(zip(names, given, strict=False)), weights=None, training=True, seed=0, dtype=torch.float64,
        max_parameters=None,
    )  # fmt: skip
    capture, result = subject.capture(max_operations=5000)
    for ours, again in zip(tensors_in(result), tensors_in(subject.call(subject.inputs)), strict=True):
        assert torch.equal(ours, again)
    target = choose_target(name_outputs(definition, capture, result), Wanted())
    leaves = choose_leaves(capture, Wanted())
    exact = gradients_of(target.node.tensor, [one.tensor for one in leaves], target.cotangent)
    found = sweep(capture.operations, target.node, target.cotangent)
    for one, gradient in zip(leaves, exact, strict=True):
        if gradient is None:
            assert found.counts.get(one, 0) == 0
            continue
        torch.testing.assert_close(found.gradients[one], gradient, rtol=1e-10, atol=1e-12)
    assert found.replays.deviation < 1e-12
    smallest = min((one for one in leaves if found.counts.get(one)), key=lambda one: found.counts[one])
    listing = list_paths(found, smallest, capture.operations, Budget(5, 300, float("inf")))
    if listing.complete:
        torch.testing.assert_close(listing.total, found.gradients[smallest], rtol=1e-9, atol=1e-11)
    checks = verify(subject, capture, Question(target.position, None, [one.name for one in leaves[:2]], float("inf")))
    assert checks.summary()["agrees"] is True


def test_paths_beyond_counting_are_counted_and_the_largest_are_found_first():
    doubling = net([{"for": "i in range(100)", "do": ["x = x + x * 0.25"]}, "return x"])
    made = leaf(traced(doubling, {"x": 1.0}, gradients={"limit": 3}), "x")
    paths = made["paths"]
    assert paths["count"] == str(2**100)
    assert (paths["listed"], paths["method"]) == (3, "best_first")
    assert [path["contribution"]["value"] for path in paths["items"]] == [1.0, 0.25, 0.25]
    assert paths["left_out"]["count"] == str(2**100 - 3)
    assert paths["left_out"]["sum"]["value"] == pytest.approx(1.25**100 - 1.5)
    assert made["autograd"]["value"] == pytest.approx(1.25**100)
    assert made["check"]["agrees"] == {"paths": True, "finite_difference": True}


def test_up_to_two_thousand_paths_all_are_computed_and_the_largest_listed():
    doubling = net([{"for": "i in range(10)", "do": ["x = x + x * 0.25"]}, "return x"])
    paths = leaf(traced(doubling, {"x": 1.0}, gradients={"limit": 12}), "x")["paths"]
    assert (paths["count"], paths["computed"], paths["method"]) == (1024, 1024, "all")
    assert [path["contribution"]["value"] for path in paths["items"]] == [1.0] + [0.25] * 10 + [0.0625]
    assert paths["sum_of_computed"]["value"] == pytest.approx(1.25**10)


def test_an_operation_that_takes_one_value_twice_has_two_paths():
    made = leaf(traced(net(["return x * x"]), {"x": 3.0}), "x")
    assert [path["contribution"]["value"] for path in made["paths"]["items"]] == [3.0, 3.0]
    assert made["autograd"]["value"] == 6.0


def test_one_element_of_an_output_is_differentiated_alone():
    made = traced(net(["y = x * self.w", "return y, y.sum()"], W), {"x": [1.0, 5.0]},
                  gradients={"output": "y", "element": [1], "of": ["w"]})  # fmt: skip
    assert leaf(made, "w")["autograd"]["value"] == [0.0, 5.0]
    assert made["gradients"]["output"] == {"node": "n2", "name": "y", "element": [1], "of": "element", "value": 15.0}
    assert [one["name"] for one in made["gradients"]["leaves"]] == ["w"]


def test_a_stopped_gradient_is_no_path_and_finite_differences_show_it():
    made = leaf(traced(net(["return (x.detach() * x).sum()"]), {"x": [1.0, 5.0]}), "x")
    assert made["paths"]["count"] == 1
    assert made["autograd"]["value"] == [1.0, 5.0]
    assert made["check"]["finite_difference"] == pytest.approx([2.0, 10.0])
    assert made["check"]["agrees"] == {"paths": True, "finite_difference": False}


def test_the_gradient_at_each_node_is_shown():
    made = traced(PRODUCT, {"x1": 1.0, "x2": 3.0})
    gradients = {node["name"]: node["gradient"]["value"] for node in made["nodes"]}
    assert gradients == {"x1": 5.0, "x2": 3.0, "w": 8.0, "a": 5.0, "b": 3.0, "y": 1.0}


@pytest.mark.parametrize(
    ("gradients", "code", "pointer", "hint"),
    [
        ({"output": "z"}, "unknown_output", "/gradients/output", "Outputs here are y, x > 2"),
        ({"output": 5}, "unknown_output", "/gradients/output", "They are"),
        ({"output": 1}, "not_differentiable", "/gradients/output", "floating point"),
        ({"element": [0, 0]}, "out_of_range", "/gradients/element", "one index for each dimension"),
        ({"element": [2]}, "out_of_range", "/gradients/element", "one index"),
        ({"of": ["w", "v"]}, "unknown_leaf", "/gradients/of/1", "Leaves here are x, w, frozen"),
        ({"of": ["frozen"]}, "not_differentiable", "/gradients/of/0", ""),
    ],
)
def test_gradients_that_do_not_exist_are_refused(gradients, code, pointer, hint):
    init = [*W, {"frozen": {"parameter": "ones(2)", "trainable": False}}]
    document = net(["return {'y': x * self.w + self.frozen, 'x > 2': x > 2}"], init)
    with pytest.raises(InvalidRequest) as caught:
        traced(document, {"x": [1.0, 5.0]}, gradients=gradients)
    problem = caught.value.problems[0]
    assert (problem.code, problem.pointer) == (code, pointer)
    assert hint in str(problem.hint)


def test_a_model_that_returns_no_tensor_has_a_graph_but_no_gradients():
    with pytest.raises(InvalidRequest) as caught:
        traced(net(["return x.shape[0]"]), {"x": [1.0]})
    assert (caught.value.code, caught.value.problems[0].pointer) == ("not_differentiable", "/gradients/output")
    assert traced(net(["return x.shape[0]"]), {"x": [1.0]}, gradients=None)["outputs"] == []


def test_a_backward_that_torch_refuses_is_the_definitions_problem():
    with pytest.raises(InvalidRequest) as caught:
        traced(net(["y = x * self.w", "y *= y", "return y.sum()"], W), {"x": [1.0, 2.0]})
    problem = caught.value.problems[0]
    assert (problem.code, problem.pointer) == ("backward_failed", "/gradients")
    assert "modified by an inplace operation" in problem.detail


def test_every_leaf_is_listed_only_while_there_are_few():
    body = ["x = x + self.p[i]"]
    made = traced(
        net(
            [{"for": "i in range(30)", "do": body}, "return x"], [{"p": "ParameterList([ones(()) for i in range(30)])"}]
        ),
        {"x": 1.0},
    )
    rows = made["gradients"]["leaves"]
    assert [row["paths"]["listed"] for row in rows] == [1] * 20 + [0] * 11
    assert rows[-1]["paths"]["count"] == 1
    assert "gradients.of" in rows[-1]["paths"]["left_out"]["reason"]


STATEMENTS = [
    "a = a * b", "b = a + x", "a = torch.sin(a)", "b = b - a / 2", "a += b", "b = b.clone()", "v = a[0]", "v = a[:, 1]",
    "v = a.t()", "v = a.view(-1)", "v.mul_(0.5)", "v += 1", "a[0] = b[1]", "a[:, 0] = 0.3", "b[1] = a.sum(0) * 0.1",
    "a, b = b, a", "a = torch.cat([a[:1], b[1:]])", "b = F.relu(b)", "b = torch.where(a > b, a, b * 2)",
    "a = a @ b.t() * 0.3", "a = a * self.w", "b = F.dropout(b, 0.3, self.training)", "a = a.detach() * 0.1 + a",
    "b.clamp_(-2, 2)", "a = a.masked_fill(a > 1, 0.5)", "b = torch.outer(a[0], b[1])", "y.copy_(a)", "a = y * b",
]  # fmt: skip
"""Writes in place, views of one memory, draws and stopped gradients, in any order."""


def test_random_programs_that_share_memory_have_path_sums_equal_to_autograd():
    draw = random.Random(7)
    compared = 0
    for seed in range(25):
        body = ["a = x * 1.0", "b = x * self.w", "v = a[0]", "y = a + b"]
        body += [draw.choice(STATEMENTS) for _ in range(draw.randint(3, 12))] + ["return a * v.sum() + b + y"]
        init = [{"w": {"parameter": "tensor([[0.7, -0.4], [1.3, 0.2]])"}}]
        try:
            made = traced(net(body, init), {"x": [[0.31, 0.77], [-0.52, 1.21]]}, seed=seed, gradients={"limit": 1})
        except InvalidRequest as refused:
            assert refused.code in ("backward_failed", "forward_failed", "shape_mismatch"), body
            continue  # torch does not differentiate this program
        compared += 1
        assert made["gradients"]["replay"]["max_abs_difference"] < 1e-12, body
        for row in made["gradients"]["leaves"]:
            assert row["check"]["agrees"]["paths"], (body, row["name"])
            if row["paths"]["computed"] == row["paths"]["count"] != 0:
                summed = torch.tensor(row["paths"]["sum_of_computed"]["value"])
                torch.testing.assert_close(summed, torch.tensor(row["autograd"]["value"]), rtol=1e-8, atol=1e-10)
    assert compared >= 10


def test_without_time_for_the_check_the_gradients_are_still_answered():
    made = traced(PRODUCT, {"x1": 1.0, "x2": 3.0}, seconds=0)
    assert leaf(made, "w")["autograd"]["value"] == 8.0
    assert leaf(made, "w")["check"] is None
    assert made["gradients"]["check"]["reason"] == "No time was left to do it all once more in float64."
    assert leaf(made, "w")["paths"]["left_out"]["reason"] == "The search stopped at its share of the time."
    assert leaf(made, "w")["paths"]["left_out"]["sum"]["value"] == 8.0


def test_deep_graphs_whose_products_shrink_still_have_paths_listed():
    shrinking = net([{"for": "i in range(150)", "do": ["x = x * 0.5 + torch.sin(x) * 0.3"]}, "return x"])
    paths = leaf(traced(shrinking, {"x": 1.0}, gradients={"limit": 4}), "x")["paths"]
    assert (paths["listed"], paths["count"]) == (4, str(2**150))
    assert paths["items"][0]["contribution"]["value"] == pytest.approx(0.5**150, rel=1e-9)


def test_the_first_operation_that_makes_a_gradient_that_is_not_finite_is_named():
    """The square root of zero is zero, but its slope is infinite: forward all is well."""
    steps = ["a = self.w * x", "b = torch.sqrt(a)", "return b.sum()"]
    made = traced(net(steps, [{"w": {"parameter": "zeros(3)"}}]), {"x": [1.0, 1.0, 1.0]})
    assert made["first_non_finite"] is None
    found = made["gradients"]["first_non_finite"]
    assert (found["name"], found["source"]) == ("sqrt", "b = torch.sqrt(a)")
    marked = next(one for one in made["operations"] if one["id"] == found["operation"])
    assert marked["input_gradients"] == ["Infinity"]
    assert traced(PRODUCT, {"x1": 1.0, "x2": 3.0})["gradients"]["first_non_finite"] is None


def test_a_corner_beside_the_point_is_stepped_round_and_one_at_the_point_is_told():
    """A step of 6e-6 crosses the corner at 1e-6, a hundredth of it does not; at 0 every step does."""
    steps = ["return F.relu(self.w * x).sum()"]
    near, at = ({"w": {"parameter": f"tensor([{one}])"}} for one in ("0.000001", "0.0"))
    checked = traced(net(steps, [near]), {"x": [1.0]}, gradients={"of": ["w"]})["gradients"]["check"]
    assert (checked["agrees"], checked["runs"]) == (True, 4)
    checked = traced(net(steps, [at]), {"x": [1.0]}, gradients={"of": ["w"]})["gradients"]["check"]
    assert (checked["agrees"], checked["max_abs_difference"]) == (False, 0.5)


def test_a_leaf_without_elements_has_a_gradient_without_elements():
    made = traced(
        net(["return (self.w @ x).sum() + x.sum()"], [{"w": {"parameter": "randn(0, 3)"}}]), {"x": [1.0, 2, 3]}
    )
    assert (leaf(made, "w")["autograd"]["value"], leaf(made, "w")["paths"]["count"]) == ([], 1)
    assert leaf(made, "x")["autograd"]["value"] == [1.0, 1.0, 1.0]
    assert made["gradients"]["check"]["agrees"] is True


def test_values_of_one_name_are_numbered_in_paths_but_leaves_and_outputs_are_not():
    loop = {"while": "y > 1", "at_most": 9, "do": ["y = y / 2"]}
    made = traced(
        net(["y = self.w * x", loop, "x = y * 10", "return x"], [{"w": {"parameter": "tensor(3.0)"}}]), {"x": 1.0}
    )
    (path,) = leaf(made, "w")["paths"]["items"]
    assert path["text"] == "x → y₃ → y₂ → y₁ → w"
    assert [step["name"] for step in path["steps"]][1:] == ["∂y₃/∂y₂", "∂y₂/∂y₁", "∂y₁/∂w"]
    assert {one["name"] for one in made["nodes"] if one["label"] in ("y₁", "y₂", "y₃")} == {"y"}
    assert [one["source"] for one in made["operations"] if one["name"] == "gt"] == ["while y > 1:"] * 3
