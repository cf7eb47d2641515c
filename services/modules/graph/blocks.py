"""Where the blocks of a definition lie in its printed source: loops, branches, and what each statement assigns."""

from __future__ import annotations

import ast
import linecache
from dataclasses import dataclass, field
from typing import Literal

from services.definition.problems import Place
from services.modules.build import Code

Span = tuple[int, int]
"""First and last line."""


@dataclass(frozen=True, slots=True)
class Block:
    """A loop or a branch: the lines of its head and of its parts, and what the document says of it."""

    place: Place
    kind: Literal["for", "while", "if"]
    condition: str
    whole: Span
    head: Span
    """Lines that run before each turn, or before the branch is taken."""
    body: Span
    at_most: int | None = None


@dataclass(slots=True)
class Table:
    """What each line of the source belongs to."""

    blocks: list[Block] = field(default_factory=list)
    around: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Line → numbers of the blocks that hold it, the outermost first."""
    statements: dict[int, tuple[Span, str]] = field(default_factory=dict)
    """Line → the simple statement there and its text in one line."""
    targets: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """First line of an assignment → the local names that it binds."""


def read_table(code: Code) -> Table:
    """Read the printed source of ``code`` once more, for its lines."""
    lines = linecache.getlines(code.filename)
    table = Table()
    _visit(ast.parse("".join(lines)).body, (), code, lines, table)
    return table


def _visit(body: list[ast.stmt], around: tuple[int, ...], code: Code, lines: list[str], table: Table) -> None:
    for node in body:
        last = node.end_lineno or node.lineno
        inner = around
        block = _block(node, code)
        if block is not None:
            inner = (*around, len(table.blocks))
            table.blocks.append(block)
        parts = [part for name in ("body", "orelse") for part in getattr(node, name, [])]
        end = parts[0].lineno - 1 if parts else last
        text = " ".join(line.strip() for line in lines[node.lineno - 1 : end])
        for line in range(node.lineno, last + 1):
            table.around[line] = inner
        for line in range(node.lineno, end + 1):
            table.statements[line] = ((node.lineno, end), text)
        if names := _names(node):
            table.targets[node.lineno] = names
        for name in ("body", "orelse"):
            _visit(getattr(node, name, []), inner, code, lines, table)
        if block is not None and block.kind == "while":  # as the document has it, not as it is printed
            for line in range(block.head[0], block.head[1] + 1):
                table.statements[line] = (table.statements[line][0], f"while {block.condition}:")


def _block(node: ast.stmt, code: Code) -> Block | None:
    """Return the block of a statement that the document wrote as one."""
    if not isinstance(node, ast.For | ast.If | ast.While) or node.end_lineno is None or node.end_col_offset is None:
        return None
    place = code.places.get((node.lineno, node.col_offset, node.end_lineno, node.end_col_offset))
    if place is None:
        return None
    whole, body_end = (node.lineno, node.end_lineno), node.body[-1].end_lineno or node.end_lineno
    if isinstance(node, ast.If):
        first = node.body[0].lineno
        return Block(place, "if", ast.unparse(node.test), whole, (node.lineno, first - 1), (first, body_end))
    if isinstance(node, ast.For) and node.orelse and isinstance(node.body[0], ast.If):
        return _while(node, place, whole, body_end)
    first = node.body[0].lineno
    if isinstance(node, ast.While):
        return Block(place, "while", ast.unparse(node.test), whole, (node.lineno, first - 1), (first, body_end))
    head = f"{ast.unparse(node.target)} in {ast.unparse(node.iter)}"
    return Block(place, "for", head, whole, (node.lineno, first - 1), (first, body_end))


def _while(node: ast.For, place: Place, whole: Span, body_end: int) -> Block:
    """A while block is printed as a loop with a bound, whose first statement leaves it."""
    leave = node.body[0]
    test = leave.test.operand if isinstance(leave, ast.If) and isinstance(leave.test, ast.UnaryOp) else node.iter
    bounds = [item.value for item in ast.walk(node.iter) if isinstance(item, ast.Constant)]
    at_most = next((bound for bound in bounds if isinstance(bound, int)), None)
    first = (leave.end_lineno or leave.lineno) + 1
    return Block(place, "while", ast.unparse(test), whole, (node.lineno, first - 1), (first, body_end), at_most)


def _names(node: ast.stmt) -> tuple[str, ...]:
    targets: list[ast.expr] = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AugAssign):
        targets = [node.target]
    if isinstance(node, ast.For):
        targets = [node.target]
    found = [item for target in targets for item in ast.walk(target)]
    return tuple(item.id for item in found if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store))
