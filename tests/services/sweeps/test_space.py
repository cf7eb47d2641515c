"""The values of a space, and the points of a grid."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from pydantic import ValidationError

from services.sweeps.sampling import Past, suggest
from services.sweeps.schema import DimensionRequest, SweepRequest
from services.sweeps.space import dimensions, grid_point, parameters, size
from services.training.problems import problems_from


def space_of(**space: Any) -> Any:
    return dimensions({f"/{name}": DimensionRequest.model_validate(one) for name, one in space.items()})


@pytest.mark.parametrize(
    ("request_", "values"),
    [
        ({"choice": ["a", None, {"b": [1]}, True, 1]}, ["a", None, {"b": [1]}, True, 1]),
        ({"int": [2, 5]}, [2, 3, 4, 5]),
        ({"int": [2, 9], "step": 3}, [2, 5, 8]),
        ({"uniform": [0, 0.5], "step": 0.1}, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"uniform": [0, 1], "points": 3}, [0.0, 0.5, 1.0]),
        ({"log_uniform": [1e-4, 0.1], "points": 4}, [1e-4, 1e-3, 1e-2, 0.1]),
        ({"log_int": [1, 4]}, [1, 2, 3, 4]),
    ],
)
def test_a_grid_goes_through_all_values_in_order(request_: Any, values: list[Any]) -> None:
    space = space_of(x=request_)
    assert size(space) == len(values)
    found = [parameters(space, grid_point(space, number))["/x"] for number in range(len(values))]
    assert found == values
    assert [type(one) for one in found] == [type(one) for one in values]


def test_the_last_dimension_of_a_grid_changes_fastest() -> None:
    space = space_of(a={"choice": ["x", "y"]}, b={"int": [0, 2]}, c={"choice": [True, False]})
    points = [tuple(parameters(space, grid_point(space, number)).values()) for number in range(12)]
    assert points == list(itertools.product("xy", range(3), (True, False)))


def test_a_huge_grid_is_counted_without_being_unrolled() -> None:
    assert size(space_of(**{f"d{index}": {"int": [0, 2**53]} for index in range(32)})) == (2**53 + 1) ** 32
    assert size(space_of(a={"int": [0, 3]}, b={"uniform": [0, 1]})) is None


@pytest.mark.parametrize("strategy", ["random", "tpe"])
def test_what_is_drawn_lies_in_its_range_and_is_the_same_each_time(strategy: Any) -> None:
    space = space_of(
        a={"log_uniform": [1e-4, 1e-1]},
        b={"int": [3, 9], "step": 4},
        c={"choice": [{"k": 1}, [2], None]},
        d={"uniform": [0, 1], "step": 0.25},
        e={"log_int": [1, 100]},
        f={"uniform": [2, 2]},
    )
    past: list[Past] = []
    for number in range(25):
        options: Any = {"strategy": strategy, "mode": "min", "seed": 5, "number": number, "past": past}
        drawn = suggest(space, **options)
        assert drawn == suggest(space, **options)
        values = parameters(space, drawn)
        assert 1e-4 <= values["/a"] <= 1e-1
        assert values["/b"] in (3, 7)
        assert values["/c"] in ({"k": 1}, [2], None)
        assert values["/d"] in (0, 0.25, 0.5, 0.75, 1)
        assert values["/e"] in range(1, 101)
        assert values["/f"] == 2
        outcomes: Any = ("value", "bad", "open", "unknown")
        outcome = outcomes[number % 4]
        past.append(Past(number, drawn, outcome, float(number) if outcome == "value" else None))
    assert len({str(one.drawn) for one in past}) == 25


def test_tpe_avoids_where_points_failed() -> None:
    """Told as Optuna's FAIL, which `unknown` is, failures teach nothing: 19 of the last 25 lie there again."""
    space = space_of(a={"uniform": [0, 1]})
    past: list[Past] = []
    for number in range(40):
        drawn = suggest(space, strategy="tpe", mode="min", seed=2, number=number, past=past)
        failed = drawn["/a"] > 0.3
        past.append(Past(number, drawn, "bad" if failed else "value", None if failed else 1.0))
    assert sum(one.outcome == "bad" for one in past[15:]) <= 10


def test_small_spaces_are_not_drawn_twice_while_there_is_something_new() -> None:
    space = space_of(a={"choice": ["x", "y", "z"]})
    past: list[Past] = []
    for number in range(3):
        drawn = suggest(space, strategy="tpe", mode="max", seed=0, number=number, past=past)
        past.append(Past(number, drawn, "value", 1.0))
    assert sorted(one.drawn["/a"] for one in past) == [0, 1, 2]


@pytest.mark.parametrize(
    ("dimension", "code", "below"),
    [
        ({}, "missing", ""),
        ({"choice": [1], "int": [0, 1]}, "conflict", ""),
        ({"choice": []}, "out_of_range", "/choice"),
        ({"choice": [1, 2, 1]}, "duplicate_value", "/choice/2"),
        ({"uniform": [1, 0]}, "out_of_range", "/uniform"),
        ({"uniform": [0]}, "out_of_range", "/uniform"),
        ({"log_uniform": [0, 1]}, "out_of_range", "/log_uniform/0"),
        ({"int": [0.5, 1]}, "int_type", "/int/0"),
        ({"int": [0, 2**60]}, "out_of_range", "/int/1"),
        ({"uniform": [0, 1], "step": 1e-9}, "out_of_range", "/step"),
        ({"int": [0, 4], "step": 0.5}, "int_type", "/step"),
        ({"int": [0, 4], "points": 3}, "conflict", "/points"),
        ({"uniform": [0, 1], "step": 0.5, "points": 3}, "conflict", "/points"),
        ({"choice": [1, 2], "step": 1}, "conflict", "/step"),
        ({"normal": [0, 1]}, "extra_forbidden", "/normal"),
        ({"uniform": ["a", 1]}, "float_type", "/uniform/0"),
        ([1, 2], "dict_type", ""),
    ],
)
def test_a_wrong_dimension_is_refused_at_its_place(dimension: Any, code: str, below: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SweepRequest.model_validate({"base": {}, "space": {"/training/seed": dimension}})
    problems = problems_from(caught.value, SweepRequest)
    assert (code, f"/space/~1training~1seed{below}") in [(one.code, one.pointer) for one in problems]


def test_choices_are_limited_in_all() -> None:
    space = {f"/training/{index}": {"choice": list(range(200))} for index in range(6)}
    with pytest.raises(ValidationError) as caught:
        SweepRequest.model_validate({"base": {}, "space": space})
    problems = problems_from(caught.value, SweepRequest)
    assert [(one.code, one.pointer) for one in problems] == [("out_of_range", "/space")]
