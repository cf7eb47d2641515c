"""Printed source reads as people write it and parses back to the same tree."""

from __future__ import annotations

import ast

import pytest

from services.definition import check
from services.modules import emit, source
from services.modules.layout import WIDTH, wrapped
from tests.conformance import article, generative, recursive, sequence, tabular, users, vision  # noqa: F401 - they register their cases
from tests.conformance.case import CASES


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_text_parses_back_to_the_tree(case):
    definition = check(case.document)
    text = source(definition)
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(ast.unparse(emit(definition))))
    assert "\n\n\n\n" not in text


def test_a_long_call_has_one_argument_a_line():
    line = "    self.net = nn.Sequential(" + ", ".join(f"nn.Linear({i}0, {i}1)" for i in range(1, 9)) + ")"
    lines = wrapped(line)
    assert lines[:2] == ["    self.net = nn.Sequential(", "        nn.Linear(10, 11),"]
    assert lines[-1] == "    )"
    assert max(map(len, lines)) <= WIDTH


def test_brackets_and_commas_in_strings_are_text():
    line = "x = f(" + "'(,', " * 30 + "1)"
    assert ast.dump(ast.parse("\n".join(wrapped(line)))) == ast.dump(ast.parse(line))
