"""Two runs of one definition side by side: turns of loops, branches, operations, modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_diff(diff: Mapping[str, Any], console: Console) -> None:
    """Print a row for each difference and a column for each run; in a pipe separated by tabs."""
    names = [str(run["name"]) for run in diff["runs"]]
    rows = list(_rows(diff))
    if not console.is_terminal:
        for row in [["", *names], *rows]:
            typer.echo("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("", overflow="fold")
    for name in names:
        table.add_column(Text(name), justify="right")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
    if diff["same"]:
        console.print(Text("The same graph: these inputs take the same turns and branches.", "green"))


def _rows(diff: Mapping[str, Any]) -> Iterator[list[str]]:
    yield ["operations", *(str(run["totals"]["operations"]) for run in diff["runs"])]
    found = diff["differences"]
    for row in found["loops"]:
        yield [f"↻ {row['kind']} {row['condition']}  turns", *map(str, row["turns"])]
    for row in found["branches"]:
        yield [f"◇ if {row['condition']}", *(_taken(ways) for ways in row["counts"])]
    for row in found["modules"]:
        yield [f"{row['path'] or 'the model'}  calls", *map(str, row["calls"])]
    for row in found["operations"]:
        yield [f"{row['name']}  {row['source'] or row['pointer'] or row['module']}", *map(str, row["counts"])]


def _taken(ways: Mapping[str, int]) -> str:
    return ", ".join(way if count == 1 else f"{way} ×{count}" for way, count in ways.items()) or "not reached"
