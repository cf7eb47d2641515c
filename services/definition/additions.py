"""Children that statements of ``init`` add to a container, as one list that an edit may change."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, SupportsIndex

from services.definition.tree import Node
from services.definition.written import text_of, written

_ADDING = {"append", "extend", "update"}


class Additions(list[Any]):
    """The children of one container: those of its declaration, then one for each ``append`` or item assignment.

    Edits change the list; ``write`` puts the changes back into the declaration and the statements.
    """

    def __init__(self, owner: str, declared: list[Any], init: list[Any]) -> None:
        super().__init__(declared)
        self.owner = owner
        self.declared = declared
        self.init = init
        self.anchors: list[int | None] = [None] * len(declared)
        """The statement in ``init`` that adds the child; ``None`` for the declaration's."""
        for index, item in enumerate(init):
            added = _addition(item, owner) if isinstance(item, str) else None
            if added is not None:
                super().append(added)
                self.anchors.append(index)

    def insert(self, index: SupportsIndex, item: Any) -> None:  # noqa: ANN401 - a module position
        """Add a child; its statement stands before that of the next one."""
        place = index.__index__()
        following = next((anchor for anchor in self.anchors[place:] if anchor is not None), len(self.init))
        in_declaration = place < len(self.anchors) and self.anchors[place] is None
        if place == len(self.anchors) and all(anchor is None for anchor in self.anchors):
            in_declaration = True
        self.anchors.insert(place, None if in_declaration else following)
        super().insert(place, item)

    def __delitem__(self, index: Any) -> None:  # noqa: ANN401 - an index
        del self.anchors[index]
        super().__delitem__(index)

    def write(self) -> None:
        """Put the list back into the document."""
        inside = [item for item, anchor in zip(self, self.anchors, strict=True) if anchor is None]
        statements: dict[int, list[str]] = {}
        for item, anchor in zip(self, self.anchors, strict=True):
            if anchor is not None:
                statements.setdefault(anchor, []).append(self._statement(item))
        lines: list[Any] = []
        for index, item in enumerate(self.init):
            own = isinstance(item, str) and _addition(item, self.owner) is not None
            lines += statements.get(index, []) + ([] if own else [item])
        self.init[:] = lines + statements.get(len(self.init), [])
        self.declared[:] = inside

    def _statement(self, item: Any) -> str:  # noqa: ANN401 - a module position
        if isinstance(item, dict) and len(item) == 1 and "type" not in item:
            name, position = next(iter(item.items()))
            return _statement(self.owner, name, position, "update")
        return _statement(self.owner, "", item, "append")


def _statement(owner: str, name: str, position: Any, method: str) -> str:  # noqa: ANN401 - a module position
    if method == "update":
        return f"self.{owner}[{name!r}] = {text_of(position)}"
    return f"self.{owner}.append({text_of(position)})"


def _addition(statement: str, owner: str) -> Any:  # noqa: ANN401 - a module position
    """Return what ``self.owner.append(module)`` or ``self.owner['name'] = module`` adds, or ``None``."""
    node = _parsed(statement)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _method(node.value, owner) == "append":
        return ast.unparse(node.value.args[0])
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        target = node.targets[0]
        if _is_part(target.value, owner) and isinstance(target.slice, ast.Constant):
            return {str(target.slice.value): ast.unparse(node.value)}
    return None


def split_additions(init: list[Any], owner: str, added: Callable[[int], Mapping[str, Node] | None]) -> bool:
    """Write every ``extend`` and ``update`` of a container as statements that add one child each.

    ``added`` tells what the statement at an index adds, for those that compute it. Returns whether no statement is
    left that changes the container in another way.
    """
    lines: list[Any] = []
    plain = True
    for index, item in enumerate(init):
        node = _parsed(item) if isinstance(item, str) else None
        call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
        method = _method(call, owner) if call is not None else None
        parts = _split(call, owner, method) if call is not None and method is not None else None
        if method in {"extend", "update"} and parts is None:
            parts = [_statement(owner, name, written(child), method) for name, child in (added(index) or {}).items()]
        plain = plain and (method is None or parts is not None)
        lines += [item] if parts is None else parts
    init[:] = lines
    return plain and not any(f"self.{owner}." in str(item) for item in init if isinstance(item, dict) and "for" in item)


def adds_to(statement: str, owner: str) -> bool:
    """Return whether a statement adds children to a container of ``self``."""
    node = _parsed(statement)
    call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
    return _addition(statement, owner) is not None or (call is not None and _method(call, owner) is not None)


def _split(call: ast.Call, owner: str, method: str) -> list[str] | None:
    argument = call.args[0] if call.args else None
    if method == "append" and argument is not None:
        return [ast.unparse(call)]
    listed = isinstance(argument, ast.List | ast.Tuple) and not any(isinstance(i, ast.Starred) for i in argument.elts)
    if method == "extend" and listed and isinstance(argument, ast.List | ast.Tuple):
        return [f"self.{owner}.append({ast.unparse(item)})" for item in argument.elts]
    if method == "update" and isinstance(argument, ast.Dict):
        rows = zip(argument.keys, argument.values, strict=True)
        if all(isinstance(key, ast.Constant) for key in argument.keys):
            return [f"self.{owner}[{ast.unparse(key)}] = {ast.unparse(item)}" for key, item in rows if key is not None]
    return None


def _method(call: ast.Call, owner: str) -> str | None:
    function = call.func
    if isinstance(function, ast.Attribute) and _is_part(function.value, owner):
        return function.attr if function.attr in {*_ADDING, "insert"} else None
    return None


def _is_part(node: ast.expr, owner: str) -> bool:
    own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    return own and isinstance(node, ast.Attribute) and ast.unparse(node) == f"self.{owner}"


def _parsed(statement: str) -> ast.stmt | None:
    try:
        body = ast.parse(statement.strip()).body
    except SyntaxError:  # a statement is one line of Python; anything else is no addition
        return None
    return body[0] if body else None
