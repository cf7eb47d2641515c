"""Builds the module of a definition: the one place of the code base that executes a tree."""

from __future__ import annotations

import ast
import linecache
import traceback
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from torch import nn

from services.definition import Definition
from services.definition.problems import Place, place_of
from services.modules.emit import FACTORY, emit
from services.modules.layout import layout

_KEPT = 32
_compiled: OrderedDict[str, Code] = OrderedDict()
"""The newest definitions of this process by file name, to say where in its document an error comes from."""


@dataclass(frozen=True, slots=True)
class Code:
    """The compiled tree of a definition, and where each line comes from in the document."""

    filename: str
    namespace: dict[str, Any]
    places: dict[tuple[int, int, int, int], Place]

    def source_line(self, line: int) -> str:
        """Return a line (from 1) of the source; an empty one where there is none."""
        return linecache.getline(self.filename, line).rstrip("\n")

    def place_at(self, line: int, column: int, end_line: int, end_column: int) -> Place | None:
        """Return the place of the smallest marked part of the document around a position of the source."""
        best, size = None, (1 << 30, 1 << 30)
        for (top, left, bottom, right), place in self.places.items():
            if (top, left) <= (line, column) and (end_line, end_column) <= (bottom, right):
                extent = (bottom - top, right - left)
                if extent < size:
                    best, size = place, extent
        return best


def build(definition: Definition) -> nn.Module:
    """Return the module. Random draws come in the order of init from torch's global generator: the caller seeds."""
    model = compile_definition(definition).namespace[FACTORY]()
    if not isinstance(model, nn.Module):
        raise TypeError("the model of a definition is a module")
    return model


def compile_definition(definition: Definition) -> Code:
    """Compile the tree of a definition and run its definitions; nothing is built yet."""
    return compile_tree(emit(definition), definition.sha256[:16])


def compile_tree(tree: ast.Module, name: str) -> Code:
    """Compile a tree that was made from the closed catalog; ``name`` is for tracebacks."""
    filename = f"<definition {name}>"
    text = layout(tree)
    places = _locate(tree, ast.parse(text))
    # Tracebacks and inspect.getsource show the source that the user can download.
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": f"modelwright_definition_{name.replace(' ', '_')}"}
    with warnings.catch_warnings():  # Python warns of «2[x]», which is the client's to see when it fails
        warnings.simplefilter("ignore", SyntaxWarning)
        compiled = compile(tree, filename, "exec")
    exec(compiled, namespace)  # noqa: S102 - built node by node from the closed catalog
    code = _compiled[filename] = Code(filename, namespace, places)
    if len(_compiled) > _KEPT:
        _compiled.popitem(last=False)
    return code


def place_of_error(error: BaseException) -> Place | None:
    """Return the place of the innermost part of a definition that was running when ``error`` was raised."""
    place = None
    for frame in traceback.extract_tb(error.__traceback__):
        code = _compiled.get(frame.filename)
        if code is not None and frame.lineno is not None:
            end = frame.end_lineno or frame.lineno, frame.end_colno or 0
            place = code.place_at(frame.lineno, frame.colno or 0, *end) or place
    return place


def _locate(tree: ast.Module, printed: ast.Module) -> dict[tuple[int, int, int, int], Place]:
    """Give each node of ``tree`` the position that it has in its printed form."""
    places: dict[tuple[int, int, int, int], Place] = {}
    pairs = [(tree, printed)]
    while pairs:
        node, twin = pairs.pop()
        if isinstance(twin, ast.stmt | ast.expr | ast.arg | ast.keyword | ast.alias):
            ast.copy_location(node, twin)
            place = place_of(node)
            if place is not None and twin.end_lineno is not None and twin.end_col_offset is not None:
                places[twin.lineno, twin.col_offset, twin.end_lineno, twin.end_col_offset] = place
        pairs += zip(ast.iter_child_nodes(node), ast.iter_child_nodes(twin), strict=False)  # type: ignore[arg-type]
    return places
