"""Documents are checked whole: every problem, its code, its pointer, its column."""

from __future__ import annotations

import time

import pytest

from services.definition import check
from services.errors import InvalidRequest, Problem

LINEAR = {"type": "Linear", "in_features": 64, "out_features": 10}


def problems_of(document, pointer="/model") -> list[Problem]:
    with pytest.raises(InvalidRequest) as caught:
        check(document, pointer=pointer)
    return list(caught.value.problems)


def only(document, pointer="/model") -> Problem:
    found = problems_of(document, pointer)
    assert len(found) == 1, found
    return found[0]


def module(forward, init=(), **more):
    return {"modules": {"Net": {"init": list(init), "forward": forward, **more}}, "model": "Net()"}


def test_a_bare_leaf_a_container_and_a_full_document_are_models():
    assert check(LINEAR).tree.type == "Linear"
    assert list(check("Sequential(Linear(64, 128), ReLU())").tree.children) == ["0", "1"]
    assert check({"format": "model/1", "model": LINEAR}).sha256 == check(LINEAR).sha256


def test_equal_content_has_an_equal_id_whatever_the_order_of_members():
    assert check({"type": "Linear", "out_features": 10, "in_features": 64}).sha256 == check(LINEAR).sha256


def test_names_of_layers_are_kept_in_order():
    tree = check({"type": "Sequential", "layers": [{"hidden": LINEAR}, {"act": "ReLU()"}]}).tree
    assert list(tree.children) == ["hidden", "act"]


@pytest.mark.parametrize(
    ("document", "code", "pointer"),
    [
        ({"type": "Linaer"}, "unknown_type", "/model/type"),
        ({"type": "os.system"}, "unknown_type", "/model/type"),
        ({"type": "__class__"}, "unknown_type", "/model/type"),
        ({"type": "Lambda"}, "unknown_type", "/model/type"),
        ({**LINEAR, "bais": True}, "extra_forbidden", "/model/bais"),
        ({**LINEAR, "device": "cuda"}, "extra_forbidden", "/model/device"),
        ({"type": "Linear", "in_features": 64}, "missing", "/model"),
        ({**LINEAR, "in_features": "64"}, "int_type", "/model/in_features"),
        ({**LINEAR, "in_features": True}, "int_type", "/model/in_features"),
        ({**LINEAR, "out_features": 10**12}, "dimension_too_large", "/model/out_features"),
        ({**LINEAR, "out_features": 0}, "out_of_range", "/model/out_features"),
        ({**LINEAR, "out_features": -1}, "out_of_range", "/model/out_features"),
        ({**LINEAR, "out_features": 2**63}, "dimension_too_large", "/model/out_features"),
        ({"type": "Dropout", "p": 2}, "out_of_range", "/model/p"),
        (
            {"type": "Conv2d", "in_channels": 3, "out_channels": 8, "kernel_size": 3, "groups": 2},
            "invalid_argument",
            "/model",
        ),
        ({"type": "Sequential", "layers": [{"a": "ReLU()"}, {"a": "ReLU()"}]}, "duplicate_name", "/model/layers/1/a"),
        ({"model": LINEAR, "modle": 1}, "extra_forbidden", "/model/modle"),
        ({"format": "model/2", "model": LINEAR}, "unsupported_format", "/model/format"),
        ({"modules": {}}, "missing", "/model"),
        ("Linear", "invalid_expression", "/model"),
        (3, "invalid_argument", "/model"),
    ],
)
def test_a_wrong_document_is_answered_with_code_and_pointer(document, code, pointer):
    problem = only(document)
    assert (problem.code, problem.pointer) == (code, pointer)


def test_nearest_names_are_offered():
    assert "Linear" in (only({"type": "Linaer"}).hint or "")
    assert "bias" in (only({**LINEAR, "bais": True}).hint or "")


def test_all_problems_are_reported_at_once():
    layers = [{"type": "Linaer"}, {**LINEAR, "bais": 1}, "Dropuot(0.1)", {**LINEAR, "out_features": 10**12}]
    found = problems_of({"type": "Sequential", "layers": layers})
    assert [problem.pointer for problem in found] == [
        "/model/layers/0/type", "/model/layers/1/bais", "/model/layers/2", "/model/layers/3/out_features",
    ]  # fmt: skip


def test_columns_count_characters_of_the_string_as_written():
    assert only("Sequential(ReLU(),  Linaer(3))").column == 21
    assert only("  Linaer(3)").column == 3
    assert only(module(["y = 'é' + q", "return x"])).column == 11


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("return open('x')", "unknown_function"),
        ("return os.system('x')", "unknown_function"),
        ("return x.__class__", "invalid_expression"),
        ("return __import__('os')", "invalid_expression"),
        ("return torch.load('x')", "unknown_function"),
        ("return torch.ops.aten.relu(x)", "unknown_function"),
        ("return self.forward", "unknown_name"),
        ("return y", "unknown_name"),
        ("return x.frobnicate()", "unknown_function"),
        ("return lambda: x", "invalid_expression"),
        ("return f'{x}'", "invalid_expression"),
        ("return (y := x)", "invalid_expression"),
        ("import os", "invalid_expression"),
        ("return Linear(3, 4)(x)", "invalid_expression"),
    ],
)
def test_what_the_language_does_not_know_is_refused_at_its_statement(statement, code):
    found = problems_of(module([statement]))
    assert found[0].code == code
    assert found[0].pointer == "/model/modules/Net/forward/0"
    assert found[0].column is not None


def test_loops_without_bound_and_unused_definitions_are_refused():
    loop = only(module([{"while": "x.norm() > 1", "do": ["x = x / 2"]}, "return x"]))
    assert (loop.code, loop.pointer) == ("loop_bound_required", "/model/modules/Net/forward/0")
    spare = {"modules": {"A": {"forward": ["return x"]}}, "model": "ReLU()"}
    assert only(spare).code == "unused_name"


@pytest.mark.parametrize(
    "document",
    [
        module(["return sum(range(10**9))"]),
        module(["return 10**10**10"]),
        module(["return 'a' * 10**9"]),
        module(["return [[i for i in range(10**4)] for j in range(10**4)]"]),
        module(["y = torch.zeros(10**6, 10**6)", "return x"]),
        module(["return x"], [{"for": "i in range(10**9)", "do": [{"a{i}": "ReLU()"}]}]),
        module(["return x"], [{"a": "Sequential(*[Sequential(*[ReLU() for i in range(1000)]) for j in range(1000)])"}]),
        module(["return x"], [{"b": {"buffer": "zeros(10**6, 10**6)"}}]),
        "(" * 5000 + "ReLU()" + ")" * 5000,
        "ReLU()" + ".a" * 2000,
        "-" * 4000 + "1",
    ],
)
def test_bombs_are_refused_quickly_and_without_allocating(document):
    begin = time.process_time()
    found = problems_of(document)
    assert found[0].code in {"model_too_large", "invalid_expression", "dimension_too_large"}
    assert time.process_time() - begin < 1.0  # 50 ms in the benchmark; here only: it does not run


def test_a_document_of_mistakes_ends_after_some_of_them():
    layers = [{"type": f"Linaer{i}"} for i in range(9_000)]
    assert len(problems_of({"type": "Sequential", "layers": layers})) == 50
    many = {f"D{i}": {"forward": ["return x"]} for i in range(2_000)}
    assert only({"modules": many, "model": "D0()"}).code == "model_too_large"


def test_a_large_document_is_checked():
    tree = check(
        {"type": "Sequential", "layers": [{"type": "Linear", "in_features": 8, "out_features": 8}] * 2_000}
    ).tree
    assert tree.size == 2_001
    with pytest.raises(InvalidRequest, match="modules"):
        check({"type": "Sequential", "layers": ["ReLU()"] * 10_001})


def test_declared_inputs_are_as_many_as_forward_takes():
    forward = {"arguments": ["a", "b", {"name": "c", "default": None}], "body": ["return a + b"]}
    document = {"modules": {"Net": {"forward": forward}}, "model": "Net()"}
    assert [one.name for one in check({**document, "inputs": ["a", "b"]}).inputs] == ["a", "b"]
    problem = only({**document, "inputs": [{"name": "a", "shape": ["B", 3]}]})
    assert (problem.code, problem.pointer) == ("input_count_mismatch", "/model/inputs")


def test_the_order_of_members_is_part_of_the_identity_exactly_where_it_is_data():
    first = {"model": {"type": "ParameterDict", "parameters": {"a": "randn(2)", "b": "randn(2)"}}}
    second = {"model": {"type": "ParameterDict", "parameters": {"b": "randn(2)", "a": "randn(2)"}}}
    assert check(first).sha256 != check(second).sha256
    linear = {"type": "Linear", "in_features": 2, "out_features": 3}
    assert check({"model": linear}).sha256 == check({"model": dict(reversed(linear.items()))}).sha256
