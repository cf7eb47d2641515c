"""Layers are added, removed, replaced, renamed and frozen by path; the report says which weights carry over."""

from __future__ import annotations

import pytest

from services.definition import check
from services.definition.edit import edit
from services.errors import InvalidRequest

MLP = "Sequential(Linear(64, 32), ReLU(), Linear(32, 10))"
NET = {
    "modules": {
        "Net": {
            "init": [{"body": "Sequential(Linear(8, 8), ReLU())"}, {"head": "Linear(8, 2)"}],
            "forward": ["return self.head(self.body(x))"],
        }
    },
    "model": "Net()",
}


def types(definition):
    return {path: node.type for path, node in definition.tree.walk() if not node.children}


def test_a_removed_layer_renumbers_those_after_it():
    edited = edit(check(MLP), [{"op": "remove", "path": "1"}])
    assert types(edited.definition) == {"0": "Linear", "1": "Linear"}
    assert edited.carried == {"0": "0", "1": "2"}
    assert edited.dropped == ("1",)


def test_an_added_layer_is_new_and_the_others_carry_over():
    edited = edit(check(MLP), [{"op": "add", "path": "", "module": "Dropout(0.1)", "at": 2}])
    assert types(edited.definition) == {"0": "Linear", "1": "ReLU", "2": "Dropout", "3": "Linear"}
    assert edited.carried == {"0": "0", "1": "1", "3": "2"}
    assert edited.new == ("2",)


def test_a_replaced_layer_carries_only_if_it_is_the_same():
    edited = edit(
        check(NET),
        [{"op": "replace", "path": "head", "module": {"type": "Linear", "in_features": 8, "out_features": 5}}],
    )
    assert edited.new == ("head",)
    assert edited.carried["body.0"] == "body.0"
    same = edit(check(NET), [{"op": "replace", "path": "head", "module": "Linear(8, 2)"}])
    assert same.carried["head"] == "head"


def test_a_renamed_child_is_renamed_in_forward_too():
    edited = edit(check(NET), [{"op": "rename", "path": "head", "name": "classifier"}])
    assert edited.carried["classifier"] == "head"
    assert edited.definition.document["modules"]["Net"]["forward"] == ["return self.classifier(self.body(x))"]


def test_operations_follow_each_other():
    operations = [
        {"op": "add", "path": "body", "module": "Tanh()", "at": 0},
        {"op": "rename", "path": "body", "name": "trunk"},
        {"op": "freeze", "path": "trunk.1"},
    ]
    edited = edit(check(NET), operations)
    assert edited.carried["trunk.1"] == "body.0"
    assert edited.definition.document["modules"]["Net"]["init"][0]["trunk"]["layers"][1].endswith(
        "requires_grad_(False)"
    )
    again = edit(edited.definition, [{"op": "unfreeze", "path": "trunk.1"}])
    assert again.definition.document["modules"]["Net"]["init"][0]["trunk"]["layers"][1] == "Linear(8, 8)"


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ({"op": "remove", "path": "tail"}, "unknown_name"),
        ({"op": "remove", "path": "head"}, "unknown_name"),
        ({"op": "explode", "path": "head"}, "unknown_operation"),
        ({"op": "add", "path": "", "module": "ReLU()"}, "missing"),
        ({"op": "replace", "path": "head", "module": "Linaer(1)"}, "unknown_type"),
        ({"op": "add", "path": "head", "module": "ReLU()"}, "edit_not_possible"),
    ],
)
def test_an_edit_that_cannot_be_made_says_why(operation, code):
    with pytest.raises(InvalidRequest) as caught:
        edit(check(NET), [operation], pointer="/edits")
    assert caught.value.problems[0].code == code
    assert caught.value.problems[0].pointer.startswith("/edits/0")
