"""The paths of a gradient as tables: steps, local derivatives, products, their sum, and autograd's gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modelwright.cli.graph_text import figure, plural, quantity, shape

MAX_LEAVES = 6
MAX_PATHS = 8
MAX_ROWS = 24
_STEPS_SHOWN = 6
_WIDE = 90

Graph = Mapping[str, Any]


def print_paths(graph: Graph, console: Console, *, named: bool) -> None:
    """Print a table of paths for each leaf, or one table of all leaves where that would be too much.

    ``named``: the user asked for these leaves. In a pipe there is one line for each path, separated by tabs.
    """
    gradients = graph.get("gradients")
    if not gradients:
        return
    leaves = gradients["leaves"]
    if not console.is_terminal:
        _print_plain(leaves, console)
        return
    console.print()
    if named or (len(leaves) <= MAX_LEAVES and sum(len(leaf["paths"]["items"]) for leaf in leaves) <= MAX_PATHS):
        for leaf in leaves[:MAX_LEAVES]:
            _print_leaf(gradients["output"]["name"], leaf, console)
            console.print()
    else:
        _print_leaves(gradients["output"]["name"], leaves, console)
    if wrong := gradients.get("first_non_finite"):
        where = wrong["source"] or wrong["pointer"] or wrong["operation"]
        text = f"⚠ on the way back {wrong['name']} made the first gradient that is not finite: {where}"
        console.print(Text(text, "bold red"))
    _print_check(gradients["check"], console)


def _print_leaves(output: str, leaves: Sequence[Mapping[str, Any]], console: Console) -> None:
    """One row for each leaf."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(Text(f"∂{output}/∂…"), overflow="fold")
    for column in ("SHAPE", "PATHS", "AUTOGRAD"):
        table.add_column(column, justify="right", no_wrap=True)
    for leaf in leaves[:MAX_ROWS]:
        paths = leaf["paths"]["count"]
        count = f"{paths:,}" if isinstance(paths, int) else paths
        table.add_row(*map(Text, (leaf["name"], shape(leaf), count, quantity(leaf["autograd"]))))
    console.print(table)
    more = f"… and {len(leaves) - MAX_ROWS} more. " if len(leaves) > MAX_ROWS else ""
    console.print(Text(f"{more}--of NAME shows a leaf's paths.\n", "dim"))


def _print_leaf(output: str, leaf: Mapping[str, Any], console: Console) -> None:
    paths = leaf["paths"]
    count = plural(paths["count"], "path") if isinstance(paths["count"], int) else f"{paths['count']} paths"
    name = f"∂{output}/∂{leaf['name']}"
    console.print(Text.assemble((name, "bold"), f" = {quantity(leaf['autograd'])} by autograd, {count}"))
    if not paths["items"]:
        reason = paths["left_out"]["reason"] or "nothing of it reaches the output"
        console.print(Text(f"  {reason}", "dim"))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("PATH", overflow="fold", max_width=console.width // 3)
    table.add_column("LOCAL DERIVATIVES", overflow="fold")
    table.add_column("PRODUCT", justify="right", no_wrap=True)
    if console.width >= _WIDE:
        table.add_column("SHARE", justify="right", no_wrap=True)
    for path in paths["items"][:MAX_PATHS]:
        row = [_shortened(path["text"]), _derivatives(path), quantity(path["contribution"]), _share(path["share"])]
        table.add_row(*map(Text, row[: len(table.columns)]))  # text, never markup
    _add_rest(table, leaf)
    console.print(table)


def _add_rest(table: Table, leaf: Mapping[str, Any]) -> None:
    """Say what of the sum is not in the rows, and the sum."""
    paths = leaf["paths"]
    beyond = len(paths["items"]) - MAX_PATHS
    if beyond > 0:
        table.add_row(Text(f"{beyond} more that --json lists", "dim"))
    left = paths["left_out"]
    if left["count"]:
        table.add_row(Text(f"{left['count']} not listed", "dim"), Text(left["reason"], "dim"), quantity(left["sum"]))
        table.add_row(Text("sum with the rest", "bold"), "", Text(quantity(leaf["autograd"]), "bold"))
    else:
        table.add_row(Text("sum", "bold"), "", Text(quantity(paths["sum_of_computed"]), "bold"))


def _derivatives(path: Mapping[str, Any]) -> str:
    """Each step's derivative as a number, or the formula where it is a matrix."""
    if path["steps"] is None:
        return "…"
    texts = [_derivative(step) for step in path["steps"]]
    if len(texts) > _STEPS_SHOWN:
        texts = [*texts[: _STEPS_SHOWN - 1], "…", texts[-1]]
    return " · ".join(texts)


def _derivative(step: Mapping[str, Any]) -> str:
    value, formula = step["derivative"], step["formula"]
    if isinstance(value, list) or value is None:
        written = f"({formula})" if formula and " " in formula else formula
        return f"{step['name']} = {written}" if formula else str(step["name"])
    return f"{step['name']} = {figure(value)}"


def _shortened(text: str) -> str:
    steps = text.split(" → ")
    if len(steps) > _STEPS_SHOWN + 1:
        steps = [*steps[:_STEPS_SHOWN], "…", steps[-1]]
    return " → ".join(steps)


def _share(share: object) -> str:
    return f"{share:.1%}" if isinstance(share, float) else ""


def _print_check(check: Mapping[str, Any], console: Console) -> None:
    """Say how the sums compare with finite differences in float64."""
    if check.get("agrees") is None:
        console.print(Text(f"not checked: {check.get('reason')}", "dim"))
        return
    worst = f"largest difference {figure(check.get('max_abs_difference'))}"
    aside = f" ({check['reason']})" if check.get("reason") else ""
    if check["agrees"]:
        text = f"✓ sums, autograd and finite differences agree in {check['dtype']}: {worst}{aside}"
        console.print(Text(text, "green"))
    elif check.get("max_abs_difference") is None:
        console.print(Text(f"✗ not every gradient is finite, so nothing can be compared{aside}", "yellow"))
    else:
        text = f"✗ finite differences differ: {worst}{aside}"
        why = "the function has a corner or a jump here, or a gradient is stopped"
        console.print(Text(f"{text}: {why}", "yellow"))


def _print_plain(leaves: Sequence[Mapping[str, Any]], console: Console) -> None:
    for leaf in leaves:
        for path in leaf["paths"]["items"]:
            line = [leaf["name"], path["text"], _derivatives(path), quantity(path["contribution"])]
            typer.echo("\t".join(line))
        typer.echo("\t".join([leaf["name"], "autograd", "", quantity(leaf["autograd"])]))
