"""Data sets as text: tables for a terminal, tab-separated lines for a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelwright.cli.tables import ago, size

_STATES = {"ready": "green", "failed": "red", "uploading": "cyan", "preparing": "cyan"}
_SHOWN_COLUMNS = 40
_SHOWN_VALUES = 6
_WHOLE = 30  # characters of a cell that are not cut
_BAR = " ▁▂▃▄▅▆▇█"


def print_list(datasets: Iterable[Mapping[str, Any]], console: Console) -> None:
    """Print data sets, one a line."""
    rows = [
        (one["id"], one["state"], _count(one["rows"]), str(len(one["columns"] or {})), one["name"], _when(one))
        for one in datasets
    ]
    if not console.is_terminal:
        for row in rows:
            typer.echo("\t".join(row))
        return
    _print_table(("ID", "STATE", "ROWS", "COLUMNS", "NAME", "CREATED"), rows, console)


def print_dataset(dataset: Mapping[str, Any], console: Console) -> None:
    """Print one data set with its columns, or why it could not be read."""
    state = Text(dataset["state"], _STATES.get(dataset["state"], ""))
    console.print(Text.assemble((dataset["id"], "bold"), "  ", state, "  ", dataset["name"]), soft_wrap=True)
    for problem in dataset["problems"]:
        console.print(Text.assemble(("✗ ", "bold red"), problem["detail"], "  ", (problem["code"], "yellow")))
        if problem.get("hint"):
            console.print(Text.assemble(("  → ", "cyan"), problem["hint"]))
    for label in ("source", "licence"):
        if dataset.get(label):
            console.print(Text(f"{label}  {dataset[label]}", "dim"), soft_wrap=True)
    print_columns(dataset, console)


def print_columns(dataset: Mapping[str, Any], console: Console) -> None:
    """Print the columns of a data set that is ready."""
    columns = dataset["columns"] or {}
    if not columns:
        return
    stored = f", {size(dataset['size_bytes'])}" if dataset.get("size_bytes") else ""
    console.print(Text(f"{_count(dataset['rows'])} rows, {len(columns)} columns{stored}", "dim"))
    rows = []
    for name, column in list(columns.items())[:_SHOWN_COLUMNS]:
        role = "target" if name == dataset["default_target"] else "input" if name in dataset["default_inputs"] else ""
        shape = f"{column['dtype']} {column['shape']}" if column["shape"] else column["dtype"]
        rows.append((name, column.get("kind", ""), shape, role, _classes(column)))
    _print_table(("COLUMN", "KIND", "ROW", "ROLE", "CLASSES"), rows, console)
    if len(columns) > _SHOWN_COLUMNS:
        console.print(f"… and {len(columns) - _SHOWN_COLUMNS} more", style="dim")


def print_preview(preview: Mapping[str, Any], console: Console) -> None:
    """Print statistics, a line for each column, then the first rows."""
    lines = []
    for name, one in list(preview["statistics"].items())[:_SHOWN_COLUMNS]:
        numbers = [_number(one.get(key)) for key in ("min", "mean", "max", "std")]
        lines.append((name, *numbers, str(one["missing"] or ""), _values(one)))
    _print_table(("COLUMN", "MIN", "MEAN", "MAX", "STD", "MISSING", "VALUES"), lines, console)
    console.print()
    names = list(preview["columns"])[:_SHOWN_COLUMNS]
    rows = [tuple(map(_cell, row)) for row in zip(*(preview["columns"][name] for name in names), strict=True)]
    _print_table(names, rows, console)
    console.print(f"{preview['rows']} of {preview['total_rows']:,} rows", style="dim")


def _print_table(names: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    """Print columns whole while the terminal is wide enough; the last one, the least telling, gives way first."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, name in enumerate(names):
        width = max([len(name), *(len(row[number]) for row in rows)])
        last = number == len(names) - 1
        table.add_column(name, overflow="ellipsis", no_wrap=True, min_width=None if last else min(width, _WHOLE))
    for row in rows:
        table.add_row(*(Text(cell, _STATES.get(cell, "")) for cell in row))
    console.print(table)


def _values(statistics: Mapping[str, Any]) -> str:
    """Return the classes and how many rows each has, or the histogram as a small picture."""
    if statistics.get("classes"):
        shown = list(statistics["classes"].items())
        text = "  ".join(f"{_cell(name)} {count:,}" for name, count in shown[:_SHOWN_VALUES])
        return text + (f"  … {len(shown) - _SHOWN_VALUES} more" if len(shown) > _SHOWN_VALUES else "")
    counts = (statistics.get("histogram") or {}).get("counts") or []
    top = max(counts, default=0)
    return "".join(_BAR[-(-count * (len(_BAR) - 1) // top)] for count in counts) if top else ""


def _classes(column: Mapping[str, Any]) -> str:
    if not column.get("classes"):
        return ""
    names = [_cell(name) for name in column.get("class_names") or []][:_SHOWN_VALUES]
    more = ", …" if column["classes"] > len(names) and names else ""
    return f"{column['classes']}  {', '.join(names)}{more}".rstrip()


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return "[" + " ".join(map(_cell, value[:_SHOWN_VALUES])) + (" …]" if len(value) > _SHOWN_VALUES else "]")
    if isinstance(value, float):
        return f"{value:.5g}"
    return " ".join(str(value).split()) or repr(value)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _count(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"


def _when(dataset: Mapping[str, Any]) -> str:
    return ago(dataset["created_at"]) or "built in"
