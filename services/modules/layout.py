"""Prints trees as people format Python: two blank lines around definitions, one between methods."""

from __future__ import annotations

import ast
import re


def layout(tree: ast.Module) -> str:
    """Return the text of a tree; it parses back to the same tree."""
    blocks: list[str] = []
    previous: ast.stmt | None = None
    for node in tree.body:
        blank = _blank_lines(previous, node)
        blocks += [""] * blank + _text(node).split("\n")
        previous = node
    text = "\n".join(blocks) + "\n"
    return re.sub(r"(?m)^(class .*)\n\n", r"\1\n", re.sub(r"(?m)(?<!^)\n(?= +def )", "\n\n", text)).replace(
        "\n\n\n\n", "\n\n\n"
    )


def _text(node: ast.stmt) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return f'"""{node.value.value}"""'
    return ast.unparse(node)


def _blank_lines(previous: ast.stmt | None, node: ast.stmt) -> int:
    if previous is None:
        return 0
    kinds = (ast.FunctionDef, ast.ClassDef)
    if isinstance(node, kinds) or isinstance(previous, kinds):
        return 2
    imports = (ast.Import, ast.ImportFrom)
    return 0 if isinstance(node, imports) and isinstance(previous, imports) else 1
