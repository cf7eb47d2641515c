"""Prints trees as people format Python: blank lines around definitions, long calls one argument a line."""

from __future__ import annotations

import ast
import re

WIDTH = 100
_PAIRS = {"(": ")", "[": "]", "{": "}"}


def layout(tree: ast.Module) -> str:
    """Return the text of a tree; it parses back to the same tree."""
    lines: list[str] = []
    previous: ast.stmt | None = None
    for node in tree.body:
        lines += [""] * _blank_lines(previous, node)
        for line in _spaced(_text(node)).split("\n"):
            lines += wrapped(line)
        previous = node
    return "\n".join(lines) + "\n"


def _text(node: ast.stmt) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return f'"""{node.value.value}"""'
    return ast.unparse(node)


def _spaced(text: str) -> str:
    """Put one blank line before each method but the first."""
    text = re.sub(r"\n+(?= +def )", "\n\n", text)
    return re.sub(r"(class .*)\n\n", r"\1\n", text, count=1)


def _blank_lines(previous: ast.stmt | None, node: ast.stmt) -> int:
    if previous is None:
        return 0
    kinds = (ast.FunctionDef, ast.ClassDef)
    if isinstance(node, kinds) or isinstance(previous, kinds):
        return 2
    imports = (ast.Import, ast.ImportFrom)
    return 0 if isinstance(node, imports) and isinstance(previous, imports) else 1


def wrapped(line: str) -> list[str]:
    """Return a line, broken inside its brackets where it is too long.

    No comma is added and none is taken away, so that the tree stays the same: in Python a line may end anywhere inside
    brackets.
    """
    if len(line) <= WIDTH:
        return [line]
    span = _outer_brackets(line)
    if span is None:
        return [line]
    start, end = span
    indent = " " * (len(line) - len(line.lstrip()))
    inside = [part for item in _items(line[start + 1 : end]) for part in wrapped(f"{indent}    {item}")]
    return [line[: start + 1], *inside, indent + line[end:]]


def _outer_brackets(line: str) -> tuple[int, int] | None:
    """Return the widest pair of brackets that is worth breaking."""
    best: tuple[int, int] | None = None
    stack: list[int] = []
    for index, char in _code(line):
        if char in _PAIRS:
            stack.append(index)
        elif char in _PAIRS.values() and stack:
            start = stack.pop()
            if not stack and index - start > 20 and (best is None or index - start > best[1] - best[0]):
                best = (start, index)
    return best


def _items(text: str) -> list[str]:
    """Split what stands in brackets after its own commas."""
    items: list[str] = []
    begin = depth = 0
    for index, char in _code(text):
        depth += (char in _PAIRS) - (char in _PAIRS.values())
        if char == "," and depth == 0:
            items.append(text[begin : index + 1].strip())
            begin = index + 1
    return [item for item in (*items, text[begin:].strip()) if item]


def _code(text: str) -> list[tuple[int, str]]:
    """Return the characters outside string literals; the language has no backslashes in them."""
    found: list[tuple[int, str]] = []
    quote = ""
    for index, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        else:
            found.append((index, char))
    return found
