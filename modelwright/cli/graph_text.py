"""Words for the parts of a graph: what data are called, numbers, shapes, loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def labels(graph: Mapping[str, Any]) -> dict[str, str]:
    """Return what each piece of data is called: its name, its number, or the operation that made it."""
    makers = {key: one["name"] for one in graph["operations"] for key in one["outputs"]}
    return {one["id"]: _label(one, makers) for one in graph["nodes"]}


def figure(value: object) -> str:
    """Return a number with six significant digits; the words for what is no number."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def quantity(described: Mapping[str, Any] | None) -> str:
    """Return a described tensor: its number, or the norm of many."""
    if described is None:
        return "–"
    value = described.get("value")
    if isinstance(value, list) or value is None:
        return f"‖{figure(described.get('norm'))}‖"
    return figure(value)


def shape(node: Mapping[str, Any]) -> str:
    """Return the shape in round brackets."""
    sizes = node["shape"]
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"


def loop_text(row: Mapping[str, Any]) -> str:
    """Return one line for a loop with its turns, or a branch with the ways taken."""
    if "turns" in row:
        return f"↻ {row['kind']} {row.get('condition') or ''}: {plural(row['turns'], 'turn')}  {row['pointer']}"
    ways = ", ".join(f"{way} ×{row['taken'].count(way)}" for way in dict.fromkeys(row["taken"]))
    return f"◇ if {row['condition']}: {ways}  {row['pointer']}"


def _label(node: Mapping[str, Any], makers: Mapping[str, str]) -> str:
    if node.get("name"):
        return str(node.get("label") or node["name"])
    if node["kind"] == "constant" and not isinstance(node.get("value"), list | None):
        return figure(node["value"])
    return f"{makers[node['id']]}_{node['id']}" if node["id"] in makers else str(node["id"])
