"""Documents that ask for too much are refused by their size and their integers: nothing is unrolled for them."""

# ruff: noqa: E501 - statements of the language are one string each

from __future__ import annotations

import tracemalloc

import pytest

from services.definition import check, document
from services.definition.tree import Node
from services.errors import InvalidRequest
from tests.conformance.bombs import BOMBS, CODES, GROWING, LARGE, MANY, net, tower


def refusal(bomb):
    with pytest.raises(InvalidRequest) as caught:
        check(bomb)
    assert len(caught.value.problems) == 1, caught.value.problems[:3]
    return caught.value.problems[0]


def never(*_, **__):
    raise AssertionError("this was not to be done for a document that is refused by its size")


@pytest.mark.parametrize("name", LARGE)
def test_a_long_document_is_refused_before_a_text_of_it_is_parsed(name, monkeypatch):
    monkeypatch.setattr(document, "_program", never)
    problem = refusal(LARGE[name])
    assert problem.code == "model_too_large" and problem.hint


@pytest.mark.parametrize("name", MANY)
def test_too_many_modules_or_turns_are_counted_before_anything_is_evaluated(name, monkeypatch):
    monkeypatch.setattr(document, "evaluate", never)
    monkeypatch.setattr(Node, "__init__", never)
    problem = refusal(MANY[name])
    assert problem.code == "model_too_large" and problem.hint


@pytest.mark.parametrize("name", GROWING)
def test_what_grows_is_refused_where_it_begins_and_takes_no_memory(name):
    check("Linear(2, 2)")  # the catalog is there
    tracemalloc.start()
    try:
        problem = refusal(GROWING[name])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert problem.code == CODES.get(name, "model_too_large")
    assert peak < 12 << 20, peak


def test_the_refusal_says_how_many_and_where():
    problem = refusal(
        net([{"a": "ReLU()"}, {"for": "i in range(200)", "do": [{"b{i}": "Sequential(*[ReLU() for j in range(99)])"}]}])
    )
    assert problem.detail == "This makes 20,000 modules; a model has at most 10000."
    assert problem.pointer == "/modules/N/init/1"


def test_every_bomb_says_what_is_too_large():
    assert set(CODES) <= set(BOMBS)


FITS = {
    "8191 modules of two each": tower(12),
    "modules that an if leaves out": net([{"for": "i in range(9000)", "do": [{"if": "i < 3", "then": [{"a{i}": "ReLU()"}]}]}]),
    "a loop that a break ends": net([{"for": "i in range(9999)", "do": [{"a{i}": "Sequential(ReLU(), ReLU())"}, {"if": "i == 9", "then": ["break"]}]}]),
    "modules that are dropped": net(["a = [ReLU() for i in range(4000)]", "a = [ReLU() for i in range(4000)]", {"b": "a[0]"}]),
    "a filter": net([{"a": "Sequential(*[ReLU() for i in range(15000) if i % 5000 == 0])"}]),
    "sizes that a macro changes": {
        "modules": {"m": {"parameters": ["s"], "init": ["s.pop()"], "returns": "Sequential(*[ReLU() for i in s])"}},
        "model": "Sequential(m([1, 2]), *[ReLU() for i in range(9000)])",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", FITS)
def test_what_fits_is_not_taken_for_a_bomb(name):
    assert check(FITS[name]).tree.size <= 10_000


def test_copies_of_a_definition_are_apart_and_shared_modules_stay_shared():
    pair = {
        "init": ["a = Linear(4, 4)", {"one": "a"}, {"two": "a"}, {"more": "ModuleList([ReLU()])"}],
        "forward": ["return x"],
    }
    grown = {"init": [{"p": "Pair()"}, {"q": "Pair()"}, "self.q.more.append(ReLU())"], "forward": ["return x"]}
    tree = check({"modules": {"Pair": pair, "N": grown}, "model": "N()"}).tree
    assert [path for path, _ in tree.walk()] == [
        "", "p", "p.one", "p.two", "p.more", "p.more.0", "q", "q.one", "q.two", "q.more", "q.more.0", "q.more.1",
    ]  # fmt: skip
    assert tree.find("p.one") is tree.find("p.two") and tree.find("q.one") is tree.find("q.two")
    assert tree.find("p.one") is not tree.find("q.one")


@pytest.mark.parametrize(
    "statement",
    [
        "d = {(a, 1): 2}", "d = {(i, [i]): 2 for i in range(3)}", "b = self[[1]]", "b = ModuleList(3)", "b = ModuleDict(3)",
        "b = ModuleDict([1])", "b = ParameterDict([(3,)])", "b = Sequential(3)", "d = dict([1])", "a.insert('x', 2)",
    ],
)  # fmt: skip
def test_what_python_would_not_compute_is_refused_at_its_column(statement):
    problem = refusal(net([{"c": "ReLU()"}, "a = [1]", statement]))
    assert problem.code in {"invalid_argument", "unknown_name"} and problem.column is not None


def test_a_macro_that_changes_its_argument_does_so_every_time():
    change = {"parameters": ["sizes"], "init": ["sizes[0] = 7"], "returns": "Linear(sizes[0], 4)"}
    init = ["a = [4]", "b = [4]", {"one": "change(a)"}, {"two": "change(b)"}, {"three": "Linear(b[0], 4)"}]
    tree = check({"modules": {"change": change, "N": {"init": init, "forward": ["return x"]}}, "model": "N()"}).tree
    assert [tree.find(name).arguments["in_features"] for name in ("one", "two", "three")] == [7, 7, 7]
