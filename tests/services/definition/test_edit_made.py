"""Edits of parts that loops, macros, comprehensions and statements make."""

from __future__ import annotations

import pytest

from services.definition import check
from services.definition.edit import edit
from services.errors import InvalidRequest

NET = {
    "modules": {
        "Block": {
            "parameters": ["size"],
            "init": [{"a": "Linear(size, size)"}, {"if": "size > 8", "then": [{"wide": "Linear(size, size)"}]}],
            "forward": ["x = self.a(x)", {"if": "self.size > 8", "then": ["x = self.wide(x)"]}, "return x"],
        },
        "stage": {"parameters": ["depth"], "returns": "Sequential(*[Block(8) for i in range(depth)])"},
        "Net": {
            "init": [
                {"stem": "Linear(4, 8)"},
                {"for": "i, depth in enumerate([2, 1])", "do": [{"stage{i + 1}": "stage(depth)"}]},
                {"extra": "ModuleList()"},
                "width = 8",
                {"for": "i in range(3)", "do": ["self.extra.append(Linear(width, width + i))", "width = width + i"]},
                {"head": "Linear(width, 2)"},
                {"weights": [{"type": ["Block", "Linear"], "parameter": "bias", "init": "zeros_()"}]},
            ],
            "forward": [
                "x = self.stage2(self.stage1(self.stem(x)))",
                {"for": "layer in self.extra", "do": ["x = layer(x)"]},
                "return self.head(x)",
            ],
        },
    },
    "model": "Net()",
}


def types(definition):
    return {path: node.type for path, node in definition.tree.walk() if not node.children}


def edited(*operations, document=NET):
    return edit(check(document), operations)


def refusal(*operations, document=NET):
    with pytest.raises(InvalidRequest) as caught:
        edit(check(document), operations, pointer="/operations")
    return caught.value.problems[0]


def test_a_layer_inside_a_block_of_a_macro_is_replaced_alone():
    made = edited({"op": "replace", "path": "stage1.1.a", "module": "Bilinear(8, 8, 8)"})
    assert types(made.definition)["stage1.1.a"] == "Bilinear"
    assert types(made.definition)["stage1.0.a"] == types(made.definition)["stage2.0.a"] == "Linear"
    assert made.new == ("stage1.1.a",)
    assert made.dropped == ("stage1.1.a",)
    assert made.carried["stage1.0.a"] == "stage1.0.a"
    assert "stem" in made.carried and "extra.2" in made.carried


def test_only_what_is_around_the_path_is_written_out():
    document = edited({"op": "replace", "path": "stage1.1.a", "module": "Identity()"}).definition.document
    assert document["modules"]["Net"]["forward"] == NET["modules"]["Net"]["forward"]
    assert document["modules"]["Block"] == NET["modules"]["Block"]
    assert [next(iter(item)) for item in document["modules"]["Net"]["init"][:3]] == ["stem", "stage1", "stage2"]
    assert document["modules"]["Net"]["init"][2] == {"stage2": "stage(1)"}
    rules = document["modules"]["Net"]["init"][-1]["weights"][0]
    assert rules["type"] == ["Block", "Linear", "Block2"]


def test_a_plain_part_leaves_loops_as_they_are():
    document = edited({"op": "replace", "path": "head", "module": "Linear(11, 5)"}).definition.document
    assert document["modules"]["Net"]["init"][1] == NET["modules"]["Net"]["init"][1]


def test_layers_that_statements_append_are_edited_in_their_statements():
    made = edited(
        {"op": "add", "path": "extra", "module": {"type": "Dropout", "p": 0.5}, "at": 1},
        {"op": "remove", "path": "extra.3"},
        {"op": "replace", "path": "head", "module": "Linear(9, 2)"},
        {"op": "freeze", "path": "extra.2"},
    )
    init = made.definition.document["modules"]["Net"]["init"]
    assert [item for item in init if isinstance(item, str)] == [
        "width = 8",
        "self.extra.append(Linear(width, width + 0))",
        "width = width + 0",
        "self.extra.append(Dropout(p=0.5))",
        "self.extra.append(Linear(width, width + 1).requires_grad_(False))",
        "width = width + 1",
        "width = width + 2",
    ]
    assert types(made.definition)["extra.1"] == "Dropout"
    assert made.carried["extra.2"] == "extra.1"
    assert made.dropped == ("extra.2", "head")
    assert made.new == ("extra.1", "head")


def test_a_block_is_added_to_a_stage_and_another_removed():
    made = edited({"op": "add", "path": "stage2", "module": "Block(8)", "at": 0}, {"op": "remove", "path": "stage1.0"})
    paths = {path.rpartition(".")[0] for path in types(made.definition)}
    assert {"stage1.0", "stage2.0", "stage2.1"} <= paths and "stage1.1" not in paths
    assert made.carried["stage2.1.a"] == "stage2.0.a"
    assert made.carried["stage1.0.a"] == "stage1.1.a"


def test_a_part_that_a_branch_leaves_out_may_still_be_named_behind_its_condition():
    made = edited({"op": "rename", "path": "stage1.0.a", "name": "first"})
    body = made.definition.document["modules"]["Block2"]
    assert body["forward"][0] == "x = self.first(x)"
    assert made.carried["stage1.0.first"] == "stage1.0.a"


def test_a_renamed_part_is_renamed_in_ties_and_rules():
    document = {
        "modules": {
            "Net": {
                "init": [
                    {"one": "Linear(4, 4)"},
                    {"two": "Linear(4, 4)"},
                    {"tie": ["one.weight", "two.weight"]},
                    {"weights": [{"name": "one", "init": "ones_()"}]},
                ],
                "forward": ["return self.two(self.one(x))"],
            }
        },
        "model": "Net()",
    }
    init = edited({"op": "rename", "path": "one", "name": "first"}, document=document).definition.document["modules"][
        "Net"
    ]["init"]
    assert init[2] == {"tie": ["first.weight", "two.weight"]}
    assert init[3]["weights"][0]["name"] == "first"


def test_a_removed_part_that_forward_names_is_refused_with_the_place_of_the_use():
    problem = refusal({"op": "remove", "path": "stage1"})
    assert problem.pointer == "/operations/0"
    assert "/modules/Net/forward/0, column 17" in problem.detail


def test_a_part_that_forward_may_compute_is_not_taken_away():
    net = {
        "init": [{"for": "i in range(2)", "do": [{"stage{i}": "Linear(4, 4)"}]}],
        "forward": [{"for": "i in range(2)", "do": ["x = self['stage' + str(i)](x)"]}, "return x"],
    }
    document = {"modules": {"Net": net}, "model": "Net()"}
    problem = refusal({"op": "remove", "path": "stage1"}, document=document)
    assert problem.code == "edit_not_possible"
    assert "/modules/Net/forward/0/do/0" in problem.detail
    assert edited({"op": "replace", "path": "stage1", "module": "Bilinear(4, 4, 4)"}, document=document).new


def test_one_module_at_two_places_is_not_taken_apart():
    net = {
        "init": ["a = Sequential(Linear(4, 4), ReLU())", {"one": "a"}, {"two": "a"}],
        "forward": ["return self.two(self.one(x))"],
    }
    document = {"modules": {"Net": net}, "model": "Net()"}
    assert (
        "several places"
        in refusal({"op": "replace", "path": "one.0", "module": "Identity()"}, document=document).detail
    )
    whole = edited({"op": "replace", "path": "two", "module": "Identity()"}, document=document)
    assert types(whole.definition) == {"one.0": "Linear", "one.1": "ReLU", "two": "Identity"}


def test_layers_made_in_another_order_than_they_stand_are_left_alone():
    crossed = {"parameters": [], "init": [{"b": "Linear(4, 4)"}, {"a": "Linear(4, 4)"}], "returns": "Sequential(a, b)"}
    document = {"modules": {"crossed": crossed}, "model": "crossed()"}
    assert "another order" in refusal({"op": "replace", "path": "0", "module": "Identity()"}, document=document).detail


def test_the_model_itself_is_replaced():
    made = edited({"op": "replace", "path": "", "module": "Linear(4, 2)"})
    assert made.definition.document == {"format": "model/1", "model": "Linear(4, 2)"}
    assert refusal({"op": "remove", "path": ""}).code == "edit_not_possible"


@pytest.mark.parametrize("name", [3, True, {"a": 1}, [], "", "a b", "__class__", "stage{i}", "x" * 300, 1e9])
def test_a_name_that_is_none_is_refused(name):
    for operation in ({"op": "rename", "path": "head"}, {"op": "add", "path": "stage1", "module": "ReLU()"}):
        problem = refusal({**operation, "name": name})
        assert (problem.code, problem.pointer) == ("invalid_argument", "/operations/0/name")


def test_an_edit_does_a_bounded_amount_of_work():
    wide = {"modules": {"m": {"returns": "Sequential(*[ReLU() for i in range(999)])"}}, "model": "m()"}
    problem = refusal(*[{"op": "replace", "path": "3", "module": "Tanh()"}] * 21, document=wide)
    assert (problem.code, problem.pointer) == ("edit_not_possible", "/operations")
    assert "10 at a time" in str(problem.hint)
