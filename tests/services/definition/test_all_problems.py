"""Problems of evaluation are reported together with those of grammar, where they lie in different definitions."""

# ruff: noqa: E501 - definitions are one line each

from __future__ import annotations

import pytest

from services.definition import check
from services.errors import InvalidRequest


def problems_of(document) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as caught:
        check(document, pointer="/model")
    return sorted((problem.pointer.removeprefix("/model"), problem.code) for problem in caught.value.problems)


BAD_GRAMMAR = {"init": [{"a": "Linaer(3, 3)"}], "forward": ["return self.a(x)"]}
BAD_NAMES = {
    "init": [{"for": "i in range(2)", "do": [{"forma{['t', 'b'][i]}": "ReLU()"}]}],
    "forward": ["return x"],
}
BAD_SIZE = {"parameters": ["n"], "init": [{"b": "Linear(n, 0 - n)"}], "forward": ["return self.b(x)"]}
NAMES = ("/modules/B/init/0/do/0/forma{['t', 'b'][i]}", "duplicate_name")


def test_a_misspelt_layer_here_and_a_computed_name_there():
    document = {"modules": {"A": BAD_GRAMMAR, "B": BAD_NAMES}, "model": "Sequential(A(), B())"}
    assert problems_of(document) == [("/modules/A/init/0/a", "unknown_type"), NAMES]


def test_a_broken_model_does_not_hide_what_its_definitions_are_made_of():
    document = {"modules": {"B": BAD_NAMES}, "model": "Sequential(B(), Linaer(3))"}
    assert problems_of(document) == [("/model", "unknown_type"), NAMES]


def test_definitions_that_only_broken_ones_use_are_tried_alone():
    outer = {"init": [{"b": "B()"}, {"c": "Frob()"}], "forward": ["return self.b(x)"]}
    document = {"modules": {"A": outer, "B": BAD_NAMES}, "model": "A()"}
    assert problems_of(document) == [("/modules/A/init/1/c", "unknown_type"), NAMES]


def test_arguments_reach_sound_definitions_past_broken_ones():
    document = {"modules": {"A": BAD_GRAMMAR, "S": BAD_SIZE}, "model": "Sequential(A(), S(4))"}
    assert ("/modules/S/init/0/b", "out_of_range") in problems_of(document)


def test_two_definitions_that_stop_are_both_reported():
    stops = {"init": ["a = [1, 2][5]"], "forward": ["return x"]}
    document = {"modules": {"A": stops, "B": stops}, "model": "Sequential(A(), B())"}
    assert [pointer for pointer, _ in problems_of(document)] == ["/modules/A/init/0", "/modules/B/init/0"]


@pytest.mark.parametrize(
    "use",
    ["Linear(self.a.out_features, 3)", "Sequential(*[ReLU() for layer in self.a])", "self.a[0]", "Linear(len(self.a), 3)",
     "Linear(3, 3) if self.a.wide else ReLU()"],
)  # fmt: skip
def test_nothing_is_said_about_what_a_broken_definition_may_hold(use):
    net = {"init": [{"a": "A()"}, {"b": use}], "forward": ["return self.a[3](x) + self.a.head(x)"]}
    bad = {**BAD_GRAMMAR, "init": [*BAD_GRAMMAR["init"], {"head": "ReLU()"}, {"wide": {"value": "3"}}]}
    document = {"modules": {"A": bad, "Net": net}, "model": "Net()"}
    assert problems_of(document) == [("/modules/A/init/0/a", "unknown_type")]


def test_bombs_in_several_definitions_share_one_budget():
    bomb = {"init": [{"for": "i in range(19000)", "do": ["a = [1, 2]"]}], "forward": ["return x"]}
    document = {"modules": {**{f"B{i}": bomb for i in range(30)}, "A": BAD_GRAMMAR}, "model": "A()"}
    found = problems_of(document)
    assert [code for _, code in found].count("model_too_large") == 1
