"""Predictions as text: a table for a terminal, CSV for a pipe."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_BAR_CELLS = 10
_LONG = 40
_SHOWN_METRICS = 6


def print_predictions(answer: Mapping[str, Any], console: Console) -> None:
    """Print a table with a line for each row, and the numbers of all."""
    rows = answer["predictions"]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in _columns(answer):
        right = name in ("ROW", "VALUE", "TARGET", "±") and answer["kind"] == "regression"
        table.add_column(name, no_wrap=True, overflow="ellipsis", justify="right" if right or name == "ROW" else "left")
    for row in rows:
        table.add_row(*_cells(row, answer))
    console.print(table)
    left = answer["total_rows"] - answer["first"] - len(rows)
    if left > 0:
        console.print(f"… and {left:,} more rows; a pipe, or --limit, gets them", style="dim")
    _print_end(answer, console)


def write_csv(answer: Mapping[str, Any]) -> None:
    """Write the predictions to standard output as the service streams them."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names: list[str] = []
    for row in answer["predictions"]:
        flat = _flat(row)
        if not names:
            names = [*flat]
            writer.writerow(names)
        cells = [flat.get(name) for name in names]
        writer.writerow([json.dumps(cell) if isinstance(cell, list | dict) else cell for cell in cells])


def _columns(answer: Mapping[str, Any]) -> list[str]:
    kind, rows = answer["kind"], answer["predictions"]
    has = {name for row in rows[:1] for name in row}
    first = {"classification": "LABEL", "multi_label": "LABELS", "regression": "VALUE"}.get(kind)
    names = ["ROW", *([first] if first else [])]
    names += ["PROBABILITY"] if has & {"probabilities", "probability"} else []
    names += ["±"] if "deviation" in has else []
    names += ["TARGET"] if "target" in has else []
    return names + (["OUTPUTS"] if "outputs" in has else [])


def _cells(row: Mapping[str, Any], answer: Mapping[str, Any]) -> list[Text]:
    cells = [Text(str(row["row"]), "dim")]
    predicted = next((row[name] for name in ("label", "labels", "value") if name in row), None)
    for name in _columns(answer)[1:]:
        if name == "PROBABILITY":
            cells.append(_chances(row))
        elif name == "±":
            cells.append(Text(_told(row["deviation"]), "dim"))
        elif name == "TARGET":
            cells.append(_target(predicted, row["target"], answer["kind"]))
        elif name == "OUTPUTS":
            cells.append(Text(_told(row["outputs"])))
        else:
            cells.append(Text(_told(predicted), "bold"))
    return cells


def _chances(row: Mapping[str, Any]) -> Text:
    if "probabilities" not in row:
        return Text(_told(row["probability"]))
    (name, chance), *others = row["probabilities"].items()
    if not isinstance(chance, float | int):
        return Text(str(chance))
    full = round(chance * _BAR_CELLS)
    text = Text.assemble(("█" * full, "cyan"), ("░" * (_BAR_CELLS - full), "dim"), f" {chance:6.1%}")
    shown = name if "labels" in row else ""
    rest = [f"{other} {one:.1%}" for other, one in others[:2] if isinstance(one, float | int) and one >= 0.0005]
    return text.append("  " + " · ".join([*([shown] if shown else []), *rest]), "dim")


def _target(predicted: object, target: object, kind: str) -> Text:
    if kind == "regression":
        return Text(_told(target))
    same = predicted == target
    if kind == "multi_label" and isinstance(predicted, list) and isinstance(target, list):
        same = sorted(map(str, predicted)) == sorted(map(str, target))
    return Text.assemble((("✓ ", "green") if same else ("✗ ", "red")), _told(target))


def _told(value: object) -> str:
    """Return a value in a few characters."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        text = ", ".join(f"{name} {_told(one)}" for name, one in value.items())
    elif isinstance(value, list):
        is_text = all(isinstance(one, str) and len(one) == 1 for one in value)
        text = repr("".join(value)) if is_text and value else f"[{', '.join(map(_told, value[:20]))}]"
    else:
        text = "–" if value is None else str(value)
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"


def _print_end(answer: Mapping[str, Any], console: Console) -> None:
    metrics: Mapping[str, Any] = answer.get("metrics") or {}
    shown = [f"{name} {_told(value)}" for name, value in list(metrics.items())[:_SHOWN_METRICS]]
    about = [f"{answer['total_rows']:,} rows", f"step {answer['step']}", *shown]
    console.print(Text("  ".join(about), "dim"))
    if answer["ignored_columns"]:
        console.print(Text(f"not used: {_listed(answer['ignored_columns'])}", "yellow"))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name == "probabilities":
            flat["probability"] = next(iter(value.values()), None)
        elif name in ("value", "target") and isinstance(value, Mapping):
            flat |= {f"{name}.{member}": one for member, one in value.items()}
        else:
            flat[name] = value
    return flat
