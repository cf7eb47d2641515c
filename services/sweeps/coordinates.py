"""A sweep as parallel coordinates: an axis for each dimension and one for the objective, a line for each trial."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from services.db.sweep_models import SweepTrial
from services.sweeps import repository
from services.sweeps.service import find_sweep
from services.sweeps.space import Dimension, read_space

_TICKS = 5
_NEAR = 0.06
"""Ticks closer than this part of the axis are hard to read."""
_LABEL_CHARACTERS = 40


def parallel_coordinates(session: Session, *, tenant_id: str, sweep_id: str) -> dict[str, Any]:
    """Return ``dimensions`` (type, scale, range, ticks) and ``lines`` (value and place of each trial on each axis).

    A position is 0 at the lower and 1 at the upper end of its axis. The last dimension is the objective; a trial that
    has none yet, or never, ends before it (null).

    Raises:
        NotFound: the tenant has no such sweep.
        InvalidRequest: ``invalid_id``.
    """
    sweep = find_sweep(session, tenant_id=tenant_id, sweep_id=sweep_id)
    trials = [one for one in repository.trials(session, sweep_id=sweep.id) if one.state != "proposed"]
    space = read_space(sweep.resolved["space"])
    objective = sweep.resolved["objective"]
    reached = [trial.objective for trial in trials if trial.objective is not None]
    low, high = (min(reached), max(reached)) if reached else (0.0, 1.0)
    last = _numeric("objective", objective["metric"], low, high, log=False)
    return {
        "object": "parallel_coordinates",
        "sweep_id": sweep.id,
        "name": sweep.name,
        "mode": objective["mode"],
        "dimensions": [*(_axis(dimension) for dimension in space), last],
        "lines": [_line(trial, space, low, high) for trial in trials],
    }


def _axis(dimension: Dimension) -> dict[str, Any]:
    if dimension.kind == "choice":
        return _listed(dimension, "category")
    if dimension.kind == "steps" and len(dimension.values) <= _TICKS:
        return {**_listed(dimension, "number"), "scale": "log" if dimension.log else "linear"}
    whole = dimension.kind == "int"
    axis = _numeric(dimension.pointer, dimension.name, dimension.low, dimension.high, log=dimension.log, whole=whole)
    return {**axis, "type": "integer" if whole else "number"}


def _listed(dimension: Dimension, kind: str) -> dict[str, Any]:
    """Return an axis on which every value has a tick."""
    places = _places(dimension)
    ticks = [
        {"value": value, "label": _label(value), "position": place}
        for value, place in zip(dimension.values, places, strict=True)
    ]
    return {"pointer": dimension.pointer, "label": dimension.name, "type": kind, "scale": "category", "ticks": ticks}


def _places(dimension: Dimension) -> list[float]:
    if dimension.kind == "choice":
        last = len(dimension.values) - 1
        return [index / last if last else 0.5 for index in range(len(dimension.values))]
    return [_position(value, dimension.low, dimension.high, dimension.log) for value in dimension.values]


def _numeric(pointer: str, label: str, low: float, high: float, *, log: bool, whole: bool = False) -> dict[str, Any]:
    values = _powers(low, high) if log else []
    if len(values) <= 2:
        values = [_between(low, high, index / (_TICKS - 1), log) for index in range(_TICKS)]
    if whole:
        values = [round(value) for value in values]
    ticks = [
        {"value": value, "label": f"{value:.4g}", "position": _position(value, low, high, log)}
        for value in dict.fromkeys(values)
    ]
    scale = "log" if log else "linear"
    return {"pointer": pointer, "label": label, "type": "number", "scale": scale, "range": [low, high], "ticks": ticks}


def _powers(low: float, high: float) -> list[float]:
    """Return both ends and the powers of ten between them, but those that would touch an end."""
    exponents = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    inner = [float(f"1e{exponent}") for exponent in exponents]
    apart = [value for value in inner if _NEAR < _position(value, low, high, True) < 1 - _NEAR]
    return [low, *apart, high] if high > low else [low]


def _between(low: float, high: float, part: float, log: bool) -> float:
    if part in (0, 1):
        return high if part else low
    return math.exp(math.log(low) * (1 - part) + math.log(high) * part) if log else low * (1 - part) + high * part


def _line(trial: SweepTrial, space: Sequence[Dimension], low: float, high: float) -> dict[str, Any]:
    positions = [_drawn_position(dimension, trial.drawn) for dimension in space]
    reached = trial.objective
    return {
        "trial": trial.number,
        "state": trial.state,
        "job_id": trial.job_id,
        "values": [*(trial.parameters[dimension.pointer] for dimension in space), reached],
        "positions": [*positions, None if reached is None else _position(reached, low, high, False)],
    }


def _drawn_position(dimension: Dimension, drawn: Mapping[str, float]) -> float:
    if dimension.kind == "choice":
        return _places(dimension)[int(drawn[dimension.pointer])]
    return _position(dimension.value(drawn[dimension.pointer]), dimension.low, dimension.high, dimension.log)


def _position(value: float, low: float, high: float, log: bool) -> float:
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    half = high / 2 - low / 2  # of the whole, which may be more than a float holds
    return round(min(max((value / 2 - low / 2) / half, 0.0), 1.0), 6) if half > 0 else 0.5


def _label(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LABEL_CHARACTERS else f"{text[: _LABEL_CHARACTERS - 1]}…"
