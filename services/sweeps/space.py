"""The space of a sweep: its dimensions, the points of a grid, and what a point's numbers stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from services.sweeps.schema import DimensionRequest

_DIGITS = 12
"""Significant digits of evenly spaced values: 0.3 and not 0.30000000000000004."""

Drawn = dict[str, float]
"""By pointer, what a sampler draws: a number, or the index of a listed value."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """The values of one field.

    ``choice`` and ``steps`` (whose order means something) list them in ``values``; ``float`` and ``int`` are ranges.
    """

    pointer: str
    kind: Literal["choice", "steps", "float", "int"]
    low: float = 0
    high: float = 0
    log: bool = False
    step: int = 1
    values: tuple[Any, ...] = ()

    @property
    def size(self) -> int | None:
        """How many values there are; None for a continuous range."""
        if self.values:
            return len(self.values)
        return int(self.high - self.low) // self.step + 1 if self.kind == "int" else None

    @property
    def name(self) -> str:
        """The last part of the pointer, for people."""
        return self.pointer.rsplit("/", 1)[1].replace("~1", "/").replace("~0", "~")

    def value(self, drawn: float) -> Any:  # noqa: ANN401 - any JSON
        """Return what a drawn number stands for."""
        return self.values[int(drawn)] if self.values else drawn

    def nth(self, index: int) -> float:
        """Return the drawn number of the value with this place in a grid."""
        return index if self.values else int(self.low) + index * self.step


def dimensions(space: Mapping[str, DimensionRequest]) -> list[Dimension]:
    """Return the dimensions of a checked space, in the order in which they were sent."""
    return [_dimension(pointer, request) for pointer, request in space.items()]


def read_space(space: Mapping[str, Any]) -> list[Dimension]:
    """Return the dimensions of a space that was stored as it was sent."""
    return dimensions({pointer: DimensionRequest.model_validate(one) for pointer, one in space.items()})


def size(space: Sequence[Dimension]) -> int | None:
    """Return how many points there are, counted, not unrolled; None when a dimension is continuous."""
    sizes = [dimension.size for dimension in space]
    return None if None in sizes else math.prod(one for one in sizes if one is not None)


def grid_point(space: Sequence[Dimension], number: int) -> Drawn:
    """Return point ``number`` of the grid; the last dimension changes fastest."""
    drawn: Drawn = {}
    for dimension in reversed(space):
        number, place = divmod(number, dimension.size or 1)
        drawn[dimension.pointer] = dimension.nth(place)
    return {dimension.pointer: drawn[dimension.pointer] for dimension in space}


def parameters(space: Sequence[Dimension], drawn: Mapping[str, float]) -> dict[str, Any]:
    """Return the values that a point stands for, by pointer."""
    return {dimension.pointer: dimension.value(drawn[dimension.pointer]) for dimension in space}


def _dimension(pointer: str, request: DimensionRequest) -> Dimension:
    (kind, given) = next((kind, value) for kind, value in request.ranges().items() if value is not None)
    if kind == "choice":
        return Dimension(pointer, "choice", values=tuple(given))
    low, high = given
    log = kind.startswith("log_")
    if kind in ("int", "log_int"):
        return Dimension(pointer, "int", low, high, log, step=int(request.step or 1))
    values = _spaced(low, high, log, request)
    return Dimension(pointer, "steps" if values else "float", low, high, log, values=values)


def _spaced(low: float, high: float, log: bool, request: DimensionRequest) -> tuple[float, ...]:
    if request.points is not None:
        start, end = (math.log(low), math.log(high)) if log else (low, high)
        even = [start + (end - start) * (index / (request.points - 1)) for index in range(request.points)]
        found = [math.exp(value) for value in even] if log else even
    elif request.step is not None:
        count = math.floor((high - low) / request.step + 1e-9) + 1
        found = [low + request.step * index for index in range(count)]
    else:
        return ()
    return tuple(dict.fromkeys(float(f"{value:.{_DIGITS}g}") for value in found))
