"""Inputs of a request: every mistake is told at its place, all of them at once."""

import pytest

from services.definition import check
from services.errors import InvalidRequest
from services.graphs.inputs import check_inputs

PAIR = {
    "modules": {"Net": {"forward": {"arguments": ["x1", {"name": "x2", "default": None}], "body": ["return x1"]}}},
    "model": "Net()",
}
DECLARED = {
    **PAIR,
    "inputs": [
        {"name": "x1", "dtype": "float32", "shape": ["B", 2]},
        {"name": "x2", "dtype": "int64", "shape": ["B"], "optional": True},
    ],
}


def refused(document, inputs):
    with pytest.raises(InvalidRequest) as caught:
        check_inputs(check(document), inputs)
    return [(one.code, one.pointer) for one in caught.value.problems]


def test_numbers_come_flat_with_their_shape_in_calling_order():
    checked = check_inputs(check(DECLARED), {"x2": [3, 4], "x1": [[1, 2.5], ["NaN", "-Infinity"]]})
    assert list(checked) == ["x1", "x2"]
    assert checked["x1"] == {"value": [1, 2.5, "NaN", "-Infinity"], "shape": [2, 2], "dtype": "float32"}
    assert checked["x2"] == {"value": [3, 4], "shape": [2], "dtype": "int64"}


def test_a_scalar_an_empty_list_and_an_input_left_out():
    assert check_inputs(check(PAIR), {"x1": 2}) == {"x1": {"value": [2], "shape": [], "dtype": None}, "x2": None}
    assert check_inputs(check(PAIR), {"x1": [[], []]})["x1"]["shape"] == [2, 0]


def test_a_draw_keeps_its_members():
    drawn = check_inputs(check(PAIR), {"x1": {"random": "randint", "low": -1, "high": 5, "shape": [2], "seed": 7}})
    assert drawn["x1"] == {"random": "randint", "shape": [2], "dtype": "int64", "seed": 7, "low": -1, "high": 5}


@pytest.mark.parametrize(
    ("inputs", "problems"),
    [
        ({}, [("missing", "/inputs")]),
        ({"x1": None}, [("missing", "/inputs/x1")]),
        ({"x1": [[1.0, 2.0]], "x3": 1}, [("unknown_input", "/inputs/x3")]),
        ({"x1": [1.0]}, [("shape_mismatch", "/inputs/x1")]),
        ({"x1": [[1.0, 2.0, 3.0]]}, [("shape_mismatch", "/inputs/x1")]),
        ({"x1": [[1.0, 2.0], [1.0]]}, [("ragged_list", "/inputs/x1/1")]),
        ({"x1": [[1.0, 2.0], 3.0]}, [("ragged_list", "/inputs/x1/1")]),
        ({"x1": [[1.0, [2.0]]]}, [("ragged_list", "/inputs/x1/0/1")]),
        ({"x1": [[1.0, "two"]]}, [("float_type", "/inputs/x1/0/1")]),
        ({"x1": [[1.0, True]]}, [("float_type", "/inputs/x1/0/1")]),
        ({"x1": [[1.0, 2.0]], "x2": [1.5]}, [("int_type", "/inputs/x2/0")]),
        ({"x1": [[1.0, 2.0]], "x2": [2**63]}, [("out_of_range", "/inputs/x2/0")]),
        ({"x1": [[1.0, 2.0]], "x2": ["NaN"]}, [("int_type", "/inputs/x2/0")]),
        ({"x1": [[1.0, 2.0]], "x2": [1, 2]}, [("shape_mismatch", "/inputs/x2")]),
        ({"x1": {"value": [[1.0, 2.0]], "dtype": "int64"}}, [("dtype_mismatch", "/inputs/x1/dtype")]),
        ({"x1": {"value": [[1.0, 2.0]], "dtype": "f32"}}, [("invalid_argument", "/inputs/x1/dtype")]),
        ({"x1": {"values": [[1.0, 2.0]]}}, [("extra_forbidden", "/inputs/x1/values"), ("missing", "/inputs/x1")]),
        ({"x1": {"random": "normal", "shape": [2, 2]}}, [("unknown_value", "/inputs/x1/random")]),
        ({"x1": {"random": "randn", "shape": "2"}}, [("list_type", "/inputs/x1/shape")]),
        ({"x1": {"random": "randn", "shape": [2, 2], "seed": -1}}, [("out_of_range", "/inputs/x1/seed")]),
        ({"x1": {"random": "randn", "shape": [2, 2], "high": 3}}, [("extra_forbidden", "/inputs/x1/high")]),
        ({"x1": [[1.0, 2.0]], "x2": {"random": "rand", "shape": [1]}}, [("dtype_mismatch", "/inputs/x2/random")]),
        ({"x1": [[1.0, 2.0]], "x2": {"random": "randint", "shape": [1]}}, [("missing", "/inputs/x2")]),
        ({"x1": {"random": "randn", "shape": [2**40, 2]}}, [("out_of_range", "/inputs/x1/shape")]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_at_its_place(inputs, problems):
    assert refused(DECLARED, inputs) == problems


def test_all_mistakes_are_told_at_once():
    found = refused(DECLARED, {"x1": [[1.0, "a"]], "x2": [0.5], "y": 1})
    assert found == [("unknown_input", "/inputs/y"), ("float_type", "/inputs/x1/0/1"), ("int_type", "/inputs/x2/0")]


def test_a_very_deep_list_is_no_crash():
    deep = 1.0
    for _ in range(60):
        deep = [deep]
    assert refused(DECLARED, {"x1": deep}) == [("shape_mismatch", "/inputs/x1")]
