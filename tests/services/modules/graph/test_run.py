"""Recorded runs: what the graph holds, for the ways in which a definition can compute."""

import json

import pytest
import torch

from services.definition import check
from services.errors import InvalidRequest
from tests.services.modules.graph.traces import net, ops, traced

W = [{"w": {"parameter": "tensor([2.0, 3.0])"}}]
FANCY = net(
    [
        "x = self.linear(x)",
        "x = F.relu(torch.mm(x, self.rand_weight) + 1)",
        "x = self.linear(x)",
        {"while": "x.norm() > 1", "at_most": 1000, "do": ["x = x / 2"]},
        {"if": "x.norm() < 0.8", "then": ["x = x * 10"]},
        "return x.sum()",
    ],
    [{"rand_weight": {"buffer": "rand(20, 20)"}}, {"linear": "Linear(20, 20)"}],
)


def by_name(made, name):
    return [node for node in made["nodes"] if node["name"] == name]


def test_a_shared_layer_is_one_module_with_two_calls_and_its_weights_are_one_node_each():
    made = traced(FANCY, {"x": [[0.5] * 20] * 2}, gradients=None)
    (linear,) = [row for row in made["modules"] if row["path"] == "linear"]
    assert (linear["calls"], linear["shared"], linear["type"], linear["pointer"]) == (
        2,
        True,
        "Linear",
        "/modules/Net/init/1/linear",
    )
    calls = [one["call"] for one in made["operations"] if one["module"] == "linear"]
    assert calls == [1, 2]
    (weight,) = by_name(made, "linear.weight")
    assert (weight["shared_uses"], weight["kind"], weight["leaf"]) == (2, "parameter", True)
    assert by_name(made, "rand_weight")[0]["kind"] == "buffer"


def test_a_loop_is_unrolled_as_it_turned_and_each_operation_knows_its_turn_and_place():
    made = traced(FANCY, {"x": [[0.5] * 20] * 2}, gradients=None)
    (loop,) = made["loops"]
    halvings = [one for one in made["operations"] if one["name"] == "div"]
    assert loop["turns"] == len(halvings) > 1
    assert (loop["kind"], loop["at_most"], loop["condition"]) == ("while", 1000, "x.norm() > 1")
    assert [one["loops"] for one in halvings] == [
        [{"pointer": "/modules/Net/forward/3", "turn": turn}] for turn in range(1, loop["turns"] + 1)
    ]
    assert {(one["pointer"], one["column"], one["source"]) for one in halvings} == {
        ("/modules/Net/forward/3/do/0", 5, "x = x / 2")
    }
    constants = {number for one in halvings for number in one["inputs"][1:]}
    assert len(constants) == 1  # the 2 that is written once is one node
    asked = [one for one in made["decisions"] if one["pointer"].startswith("/modules/Net/forward/3")]
    assert [one["value"] for one in asked] == [True] * loop["turns"] + [False]


@pytest.mark.parametrize(("scale", "taken"), [(1.0, "then"), (8.0, "else")])
def test_a_branch_says_which_way_it_went(scale, taken):
    choose = net([{"if": "x.sum() < 5", "then": ["y = x * 2"], "else": ["y = x + 1"]}, "return y"])
    made = traced(choose, {"x": scale}, gradients=None)
    (branch,) = made["branches"]
    assert (branch["taken"], branch["condition"]) == ([taken], "x.sum() < 5")
    assert made["operations"][-1]["branches"] == [{"pointer": "/modules/Net/forward/0", "taken": taken}]
    assert ops(made) == ["sum", "lt", "mul" if taken == "then" else "add"]


def test_nested_loops_count_their_turns_for_each_entry():
    inner = {"for": "j in range(i + 1)", "do": [{"if": "j == 0", "then": ["x = x * 2"], "else": ["x = x + 1"]}]}
    made = traced(net([{"for": "i in range(3)", "do": [inner]}, "return x"]), {"x": 1.0}, gradients=None)
    assert [(loop["turns"], loop["entries"]) for loop in made["loops"]] == [(3, [3]), (6, [1, 2, 3])]
    assert made["branches"][0]["taken"] == ["then", "then", "else", "then", "else", "else"]
    assert [one["turn"] for one in made["operations"][-1]["loops"]] == [3, 3]


def test_continue_and_break_leave_turns_as_they_were():
    body = [{"if": "i == 1", "then": ["continue"]}, {"if": "i == 3", "then": ["break"]}, "x = x * 2"]
    made = traced(net([{"for": "i in range(5)", "do": body}, "return x"]), {"x": 1.0}, gradients=None)
    assert made["loops"][0]["turns"] == 4
    assert [one["loops"][0]["turn"] for one in made["operations"]] == [1, 3]


def test_an_operation_in_place_makes_a_new_version_and_old_values_stay():
    made = traced(net(["y = x * self.w", "y += self.w", "return y.sum()"], W), {"x": [1.0, 2.0]}, gradients=None)
    first, second = by_name(made, "y")
    assert (first["value"], second["value"]) == ([2.0, 6.0], [4.0, 9.0])
    assert [one["in_place"] for one in made["operations"]] == [False, True, False]


def test_a_write_to_a_view_reaches_its_base_and_the_other_views():
    body = ["y = x * self.w", "a = y[0]", "b = y[0:2]", "a.mul_(3)", "return (b * b).sum() + a"]
    made = traced(net(body, W), {"x": [1.0, 2.0]})
    assert ops(made) == ["mul", "index", "index", "mul_", "write_back", "view", "mul", "sum", "add"]
    assert made["nodes"][-1]["value"] == 6.0**2 + 6.0**2 + 6.0
    assert made["gradients"]["check"]["agrees"] is True


def test_what_training_updates_in_batch_normalisation_is_a_new_version_of_its_buffers():
    made = traced("Sequential(BatchNorm1d(2), Flatten())", {"x": [[5.0, 2.0], [3.0, 4.0]]}, gradients=None)
    mean = by_name(made, "0.running_mean")
    assert [node["value"] for node in mean] == [[0.0, 0.0], [0.4, pytest.approx(0.3)]]
    still = traced("BatchNorm1d(2)", {"x": [[5.0, 2.0], [3.0, 4.0]]}, gradients=None, training=False)
    assert len(by_name(still, "running_mean")) == 1


def test_an_input_that_forward_writes_to_is_copied_first():
    made = traced(net(["x += self.w", "return (x * self.w).sum()"], W), {"x": [1.0, 2.0]})
    assert ops(made) == ["clone", "add_", "mul", "sum"]
    assert made["nodes"][0]["value"] == [1.0, 2.0]
    assert made["gradients"]["check"]["agrees"] is True


def test_constants_are_nodes_and_settings_are_arguments():
    made = traced(net(["return (1 - x / 4).sum(0)"]), {"x": [1.0, 2.0]}, gradients=None)
    kinds = {node["id"]: (node["kind"], node["value"]) for node in made["nodes"]}
    divide, subtract, total = made["operations"]
    assert kinds[divide["inputs"][1]] == ("constant", 4)
    assert kinds[subtract["inputs"][0]] == ("constant", 1)
    assert (total["arguments"], total["inputs"]) == ({"1": 0}, subtract["outputs"])


def test_outputs_are_named_as_the_definition_names_them():
    body = ["a = x * self.w", "return a, a.sum()"]
    assert traced(net(body, W, outputs=["all", "total"]), {"x": [1.0, 2.0]})["output_names"] == ["all", "total"]
    keyed = net(["return {'first': x * 2, 'second': x.sum()}"])
    made = traced(keyed, {"x": [1.0, 2.0]})
    assert made["output_names"] == ["first", "second"]
    assert [node["name"] for node in made["nodes"] if node["kind"] == "output"] == ["first", "second"]


def test_functions_of_the_document_are_followed_into():
    document = {
        "modules": {
            "twice": {"arguments": ["a", "b"], "body": ["c = a * b", "return c + a"]},
            "Net": {"forward": ["return twice(twice(x, x), x)"]},
        },
        "model": "Net()",
    }
    made = traced(document, {"x": 2.0})
    assert {one["pointer"] for one in made["operations"]} == {"/modules/twice/body/0", "/modules/twice/body/1"}
    assert made["gradients"]["leaves"][0]["paths"]["count"] == 7


def test_the_same_seed_drops_the_same_and_the_first_operation_that_goes_wrong_is_marked():
    drop = net(["return F.dropout(x * 3, 0.5, self.training)"])
    inputs = {"x": [1.0] * 32}
    one, two, other = (traced(drop, inputs, gradients=None, seed=seed)["nodes"][-1]["value"] for seed in (4, 4, 5))
    assert one == two != other
    assert traced(drop, inputs, gradients=None)["operations"][-1]["random"] is True
    made = traced(net(["y = x - 3", "z = torch.log(y)", "return z * 0"]), {"x": [1.0, 5.0]})
    marked = [operation["name"] for operation in made["operations"] if operation["first_non_finite"]]
    assert marked == ["log"] == [made["first_non_finite"]["name"]]
    assert made["nodes"][-1]["value"] == ["NaN", 0.0]


def test_what_is_given_as_infinite_marks_no_operation():
    mask = "torch.triu(torch.ones(2, 2), 1) > 0"
    causal = net([f"s = x.masked_fill({mask}, float('-inf'))", "return torch.softmax(s, -1)"])
    made = traced(causal, {"x": [[1.0, 2.0], [3.0, 4.0]]}, gradients=None)
    assert made["nodes"][-1]["value"][0] == [1.0, 0.0]
    assert made["first_non_finite"]["operation"] is None
    made = traced(net(["return x * 1"]), {"x": ["NaN", 1.0]}, gradients=None)
    assert made["first_non_finite"]["operation"] is None
    assert made["first_non_finite"]["given"] == ["n0"]


def test_operations_beyond_the_budget_run_and_are_counted():
    made = traced(net([{"for": "i in range(50)", "do": ["x = x * 2"]}, "return x"]), {"x": 1.0}, gradients=None,
                  operations=10)  # fmt: skip
    assert len(made["operations"]) == 10
    assert made["totals"]["operations"] == 50
    assert made["truncated"] == {"operations": {"kept": 10, "left_out": 40}}
    with pytest.raises(InvalidRequest) as caught:
        traced(net([{"for": "i in range(50)", "do": ["x = x * 2"]}, "return x"]), {"x": 1.0}, operations=10)
    assert (caught.value.code, caught.value.problems[0].pointer) == ("graph_too_large", "/gradients")


def test_large_tensors_are_summarised_and_small_ones_written_out():
    made = traced("Linear(20, 20)", {"x": [[0.1] * 20]}, gradients=None, dtype="float32")
    assert made["nodes"][0]["value"] == [[0.1] * 20]
    (weight,) = by_name(made, "weight")
    assert weight["value"] is None
    assert (weight["summary"]["count"], weight["summary"]["nan"]) == (400, 0)
    assert -0.3 < weight["summary"]["min"] < weight["summary"]["mean"] < weight["summary"]["max"] < 0.3


def test_a_failed_run_is_told_as_the_preflight_tells_it():
    with pytest.raises(InvalidRequest) as caught:
        traced("Sequential(Linear(4, 3), Linear(4, 2))", {"x": [[1.0] * 4]})
    problem = caught.value.problems[0]
    assert (problem.code, problem.pointer) == ("shape_mismatch", "/model")
    assert "in_features=3" in str(problem.hint)


def test_autograds_own_graph_ends_at_the_leaves():
    made = traced(net(["return (x * self.w).sum()"], W), {"x": [1.0, 2.0]}, gradients=None)
    nodes = {one["id"]: one for one in made["backward"]["nodes"]}
    assert [one["name"] for one in nodes.values()] == [
        "SumBackward0",
        "MulBackward0",
        "AccumulateGrad",
        "AccumulateGrad",
    ]
    assert [one["node"] for one in nodes.values()][2:] == ["n0", "n1"]
    assert [nodes[one["from"]]["operation"] for one in made["backward"]["edges"]] == ["e1", "e0", "e0"]


def test_a_record_does_not_change_what_the_model_computes():
    document = "Sequential(Conv2d(1, 2, 3), BatchNorm2d(2), ReLU(), Dropout(0.5), Flatten(), Linear(72, 3))"
    from services.modules import build

    torch.manual_seed(0)
    model = build(check(document))
    torch.manual_seed(0)
    expected = model(torch.arange(128.0).view(2, 1, 8, 8))
    image = [
        [[[float(8 * row + column + 64 * batch) for column in range(8)] for row in range(8)]] for batch in range(2)
    ]
    made = traced(document, {"x": image}, gradients=None, dtype="float32")
    assert torch.equal(torch.tensor(made["nodes"][-1]["value"]), expected.detach())


def test_the_largest_numbers_are_summarised_without_failing():
    made = traced(net(["return x * 1.0"]), {"x": [1.7e308, 1.7e308, -1.7e308]})
    summary = made["nodes"][0]["summary"]
    assert (summary["max"], summary["std"]) == (1.7e308, "Infinity")
    json.dumps(made, allow_nan=False)


def test_parts_of_an_input_may_be_written_to_as_in_training():
    body = ["a, b = x.chunk(2)", "a.mul_(3)", "return (x * self.w).sum() + b.sum()"]
    made = traced(net(body, W), {"x": [1.0, 2.0]}, gradients={"of": ["w"]})
    assert made["nodes"][-1]["value"] == 1.0 * 3 * 2 + 2.0 * 3 + 2.0
    assert made["gradients"]["leaves"][0]["autograd"]["value"] == [3.0, 2.0]
    assert made["gradients"]["check"]["agrees"] is True
    assert made["nodes"][0]["requires_grad"] is False


def test_a_parameter_that_forward_writes_to_is_the_definitions_problem():
    with pytest.raises(InvalidRequest) as caught:
        traced(net(["self.w.add_(1)", "return (x * self.w).sum()"], W), {"x": [1.0, 2.0]})
    assert caught.value.problems[0].pointer == "/model/modules/Net/forward/0"
    assert "leaf Variable" in caught.value.problems[0].detail


def test_an_integer_input_that_is_written_to_begins_each_run_as_it_was_given():
    made = traced(
        {**net(["i += 1", "return (self.w[i]).sum()"], W, ["i"]), "inputs": [{"name": "i", "dtype": "int64"}]},
        None,
        inputs={"i": {"value": [0], "shape": [1], "dtype": "int64"}},
    )
    assert made["nodes"][0]["value"] == [0]
    assert made["gradients"]["leaves"][0]["autograd"]["value"] == [0.0, 1.0]
    assert made["gradients"]["check"]["agrees"] is True
