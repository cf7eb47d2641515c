"""Parallel coordinates as SVG: an upright axis for each dimension, a line for each trial, the best one in front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.pictures.markup import FONT, element, number, text_of, text_width

HEIGHT = 460
_TOP, _BOTTOM, _SIDE = 96, 40, 40
_SIZE = 13
_SPACE = 24  # between the labels of one axis and the next axis
_LEAST_GAP = 130
_GOOD, _BAD = (31, 95, 168), (214, 219, 226)
_BEST = "#b3261e"
_AXIS = "#1a1a1a"
_HALO: Mapping[str, object] = {"stroke": "#fff", "stroke-width": 4, "stroke-linejoin": "round", "paint-order": "stroke"}


def draw(document: Mapping[str, Any]) -> str:
    """Return the picture of a ``parallel_coordinates`` document as a whole SVG, the same text for the same numbers.

    Darker is better; the best trial is red and thick. Trials without an objective are dashed and end before its axis.
    """
    axes = document["dimensions"]
    places = _places(axes)
    width = places[-1] + _SIDE + max(_label_width(axes[-1]), 60)
    lines = _ranked(document["lines"], document["mode"])
    title = document["name"] or document["sweep_id"]
    reached = [line for line in lines if line["positions"][-1] is not None]
    noun = "trial" if len(lines) == 1 else "trials"
    note = f"{len(lines)} {noun}, {len(reached)} with a value of {axes[-1]['label']}; darker is better, red is best"
    body = [
        element("title", {}, text_of(f"{title}: parallel coordinates")),
        element("rect", {"width": float(width), "height": HEIGHT, "fill": "#fff"}),
        _text(_SIDE, 28, title, weight="bold", size=_SIZE + 3),
        _text(_SIDE, 48, note, fill="#444"),
        *(_trial(line, places, rank, len(reached)) for rank, line in reversed(list(enumerate(lines)))),
        *(_axis(axis, x) for axis, x in zip(axes, places, strict=True)),
    ]
    head = {"xmlns": "http://www.w3.org/2000/svg", "width": float(width), "height": HEIGHT}
    view = f"0 0 {number(width)} {HEIGHT}"
    return element("svg", {**head, "viewBox": view, "font-family": FONT, "role": "img"}, *body)


def _ranked(lines: Sequence[Mapping[str, Any]], mode: str) -> list[Mapping[str, Any]]:
    """Return the lines from the best to those that have no objective."""
    sign = 1 if mode == "min" else -1

    def order(line: Mapping[str, Any]) -> tuple[bool, float, int]:
        value = line["values"][-1]
        return value is None, 0.0 if value is None else sign * value, line["trial"]

    return sorted(lines, key=order)


def _places(axes: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return where the axes stand: far enough apart for their ticks and names."""
    x = float(_SIDE)
    places = [x]
    for axis in axes[:-1]:
        x += max(_LEAST_GAP, _label_width(axis) + _SPACE)
        places.append(x)
    return places


def _label_width(axis: Mapping[str, Any]) -> float:
    ticks = max(text_width(tick["label"], _SIZE - 1) for tick in axis["ticks"])
    return max(ticks + 10, text_width(axis["label"], _SIZE, bold=True))


def _axis(axis: Mapping[str, Any], x: float) -> str:
    bottom = HEIGHT - _BOTTOM
    parts = [
        element(
            "line", {"x1": x, "y1": float(_TOP), "x2": x, "y2": float(bottom), "stroke": _AXIS, "stroke-width": 1.5}
        ),
        _text(x, _TOP - 18, axis["label"], weight="bold"),
    ]
    for tick in axis["ticks"]:
        y = _height(tick["position"])
        parts.append(element("line", {"x1": x - 4, "y1": y, "x2": x + 4, "y2": y, "stroke": _AXIS}))
        parts.append(_text(x + 8, y + 4, tick["label"], size=_SIZE - 1, style=_HALO))
    return element("g", {}, *parts)


def _trial(line: Mapping[str, Any], places: Sequence[float], rank: int, reached: int) -> str:
    points = [(x, _height(at)) for x, at in zip(places, line["positions"], strict=True) if at is not None]
    whole = line["positions"][-1] is not None
    colour = _BEST if whole and rank == 0 else _shade(rank, reached) if whole else "#9a9a9a"
    style = {
        "fill": "none",
        "stroke": colour,
        "stroke-width": 3 if whole and rank == 0 else 1.5 if whole else 1,
        "stroke-dasharray": None if whole else "3 4",
        "stroke-linejoin": "round",
    }
    value = line["values"][-1]
    said = f"trial {line['trial']}: {line['state'] if value is None else f'{value:.6g}'}"
    path = " ".join(f"{number(x)},{number(y)}" for x, y in points)
    return element("polyline", {"points": path, **style}, element("title", {}, text_of(said)))


def _shade(rank: int, reached: int) -> str:
    """Return a colour between good and bad: ranks and not values, so that one bad trial does not bleach the rest."""
    part = rank / max(reached - 1, 1)
    return "#" + "".join(f"{round(good + (bad - good) * part):02x}" for good, bad in zip(_GOOD, _BAD, strict=True))


def _height(position: float) -> float:
    return HEIGHT - _BOTTOM - position * (HEIGHT - _BOTTOM - _TOP)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = _SIZE,
    weight: str | None = None,
    fill: str = _AXIS,
    style: Mapping[str, object] | None = None,
) -> str:
    font = {"font-size": size, "font-weight": weight, "fill": fill}
    return element("text", {"x": float(x), "y": float(y), **font, **(style or {})}, text_of(text))
