"""Whether the values of a space fit their fields: found before anything is drawn, each with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from services.definition import check
from services.errors import InvalidRequest, Problem
from services.jobs.schema import JobRequest
from services.sweeps.pointers import exists, place, put
from services.sweeps.schema import DimensionRequest
from services.training.problems import problems_from


def check_values(base: Mapping[str, Any], space: Mapping[str, DimensionRequest]) -> list[Problem]:
    """Return the values that can be told to be wrong whatever the other fields are; ``base`` is a valid request.

    Sizes that do not fit each other are not among them: they depend on the other values of a point, and such a
    point is dropped when it is drawn.
    """
    return [problem for pointer, dimension in space.items() for problem in _check_dimension(base, pointer, dimension)]


def _check_dimension(base: Mapping[str, Any], pointer: str, dimension: DimensionRequest) -> Iterator[Problem]:
    for index, (at, value) in enumerate(_samples(dimension)):
        found = _problems(base, pointer, value, first=index == 0)
        unknown = [problem for problem in found if problem.code == "extra_forbidden" and problem.pointer == pointer]
        if unknown:
            yield Problem("unknown_pointer", unknown[0].detail, place(pointer), unknown[0].hint)
            return
        for problem in found:
            below = problem.pointer.removeprefix(pointer)
            yield Problem(problem.code, problem.detail, f"{place(pointer)}{at}{below}", problem.hint, problem.column)


def _samples(dimension: DimensionRequest) -> Sequence[tuple[str, Any]]:
    """Return values by which a mistake shows, each with its place below the dimension: all, or both ends."""
    kind, given = next((kind, value) for kind, value in dimension.ranges().items() if value is not None)
    return [(f"/{kind}/{index}", value) for index, value in enumerate(given)]


def _problems(base: Mapping[str, Any], pointer: str, value: object, *, first: bool) -> list[Problem]:
    """Return the problems at or below the pointer of the base with this value.

    Whether the model knows a new member is asked with the ``first`` value alone: a check of a model takes its time.
    """
    changed = put(base, pointer, value)
    found: Sequence[Problem] = ()
    try:
        JobRequest.model_validate(changed)
        if first and pointer.startswith("/model/") and not exists(base, pointer):
            check(changed["model"], pointer="/model")
    except ValidationError as error:
        found = problems_from(error, JobRequest)
    except InvalidRequest as error:
        found = [problem for problem in error.problems if problem.code == "extra_forbidden"]
    return [one for one in found if one.pointer == pointer or one.pointer.startswith(f"{pointer}/")]
