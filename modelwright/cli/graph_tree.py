"""A graph as a tree of modules and operations, in the order in which they ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from modelwright.cli.graph_text import figure, labels, loop_text, plural, shape

MAX_LINES = 60
"""A longer tree shows modules alone, and only so deep as to fit."""

Graph = Mapping[str, Any]


@dataclass(slots=True)
class _Branch:
    """One module, with what ran in it."""

    path: str
    operations: list[Mapping[str, Any]] = field(default_factory=list)
    rows: list[Mapping[str, Any] | _Branch] = field(default_factory=list)
    """Operations and modules, each at its first turn."""


def print_tree(graph: Graph, console: Console) -> None:
    """Print the tree; in a pipe one line for each operation, separated by tabs."""
    writer = _Writer(graph)
    if not console.is_terminal:
        for one in graph["operations"]:
            typer.echo(writer.plain(one))
        return
    root = _grown(graph)
    tree = Tree(writer.module(root), guide_style="dim")
    writer.fill(tree, root, _fitting_depth(root))
    console.print(tree)
    for row in [*graph.get("loops", ()), *graph.get("branches", ())]:
        console.print(Text(loop_text(row), "dim"))
    _print_warnings(graph, console)


def _grown(graph: Graph) -> _Branch:
    """Return the modules as they are nested by name, with what ran in each."""
    paths = {one["path"] for one in graph["modules"] if one.get("calls")}
    root = _Branch("")
    made = {"": root}
    for operation in graph["operations"]:
        branch = root
        names = operation["module"].split(".") if operation["module"] else []
        for count in range(1, len(names) + 1):
            name = ".".join(names[:count])
            if name in paths or count == len(names):
                if name not in made:
                    made[name] = _Branch(name)
                    branch.rows.append(made[name])
                branch = made[name]
        branch.rows.append(operation)
    return root


def _fitting_depth(root: _Branch) -> int | None:
    """Return how many levels of modules are shown, or None for everything."""
    if _lines(root, None) <= MAX_LINES:
        return None
    depth = 1
    while depth < 16 and _lines(root, depth + 1) <= MAX_LINES:
        depth += 1
    return depth


def _lines(branch: _Branch, depth: int | None) -> int:
    if depth == 0:
        return 1
    inner = [row for row in branch.rows if depth is None or isinstance(row, _Branch)]
    deeper = None if depth is None else depth - 1
    return 1 + sum(_lines(row, deeper) if isinstance(row, _Branch) else 1 for row in inner)


class _Writer:
    """Words for modules and operations of one graph."""

    def __init__(self, graph: Graph) -> None:
        self._names = labels(graph)
        self._nodes = {one["id"]: one for one in graph["nodes"]}
        self._modules = {one["path"]: one for one in graph["modules"]}

    def fill(self, tree: Tree, branch: _Branch, depth: int | None) -> None:
        """Add what ran in a module; with a depth, operations beside modules are counted and not listed."""
        if depth == 0:
            return
        loose = 0
        for row in branch.rows:
            if isinstance(row, _Branch):
                self.fill(tree.add(self.module(row)), row, None if depth is None else depth - 1)
            elif depth is None:
                tree.add(self._operation(row))
            else:
                loose += 1
        if 0 < loose < len(branch.rows):
            tree.add(Text(f"{plural(loose, 'operation')} of its own", "dim"))

    def module(self, branch: _Branch) -> Text:
        """Return the line of a module."""
        module = self._modules.get(branch.path, {})
        name = branch.path.rpartition(".")[2]
        text = Text.assemble((name, "bold"), " " if name else "", (str(module.get("type", "")), "magenta"))
        if module.get("calls", 1) > 1:
            text.append(f" ×{module['calls']}", "yellow")
        facts = [plural(_count(branch), "operation")]
        facts += [plural(module["parameters"], "parameter")] if module.get("parameters") else []
        return text.append(f"  {', '.join(facts)}", "dim")

    def plain(self, operation: Mapping[str, Any]) -> str:
        """Return an operation for a program: tabs between id, module, name, inputs, outputs, result and place."""
        data = [",".join(self._names[key] for key in operation[side]) for side in ("inputs", "outputs")]
        ends = [self._result(operation), operation.get("pointer") or "-"]
        return "\t".join([operation["id"], operation["module"] or "-", operation["name"], *data, *ends])

    def _operation(self, operation: Mapping[str, Any]) -> Text:
        given, made = (", ".join(self._names[key] for key in operation[side]) for side in ("inputs", "outputs"))
        result = self._result(operation)
        text = Text.assemble((operation["name"], "cyan"), f"  {given or 'nothing'} → ", (made, "bold"), f"  {result}")
        for turn in operation.get("loops") or ():
            text.append(f"  ↻ turn {turn['turn']}", "yellow")
        for branch in operation.get("branches") or ():
            text.append(f"  {branch['taken']}", "yellow")
        if operation.get("first_non_finite"):
            text.append("  ⚠ first not finite", "bold red")
        return text.append(f"  {operation['source']}", "dim") if operation.get("source") else text

    def _result(self, operation: Mapping[str, Any]) -> str:
        """The value where it is one number, else the shape."""
        if not operation["outputs"]:
            return ""
        made = self._nodes[operation["outputs"][0]]
        if not made["shape"] and made.get("value") is not None:
            return f"= {figure(made['value'])}"
        return shape(made)


def _count(branch: _Branch) -> int:
    return sum(_count(row) if isinstance(row, _Branch) else 1 for row in branch.rows)


def _print_warnings(graph: Graph, console: Console) -> None:
    cut = (graph.get("truncated") or {}).get("operations")
    if cut:
        console.print(Text(f"cut: {cut['kept']} operations shown, {cut['left_out']} more ran", "yellow"))
    found = graph.get("first_non_finite")
    if found and found["operation"]:
        where = found["source"] or found["pointer"] or found["operation"]
        console.print(Text(f"⚠ {found['name']} made the first value that is not finite: {where}", "bold red"))
    elif found:
        names = labels(graph)
        console.print(Text(f"⚠ not finite as given: {', '.join(names[key] for key in found['given'])}", "bold red"))
