"""Finds in a document the place that declares the module at a path such as ``features.3``."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from services.definition.document import Definition
from services.errors import InvalidRequest, Problem


@dataclass(slots=True)
class Slot:
    """One declaration: ``owner[key]`` is a module position; ``items`` and ``index`` say in which array it stands."""

    owner: Any
    key: Any
    items: list[Any]
    index: int
    kind: str
    """``item`` (a member of init) or ``layer`` (of a container)."""
    definition: str | None = None


def refuse(detail: str, pointer: str, hint: str | None = None) -> InvalidRequest:
    """Return the error of an edit that cannot be made."""
    return InvalidRequest([Problem("edit_not_possible", detail, pointer, hint)])


class Paths:
    """Walks one document, which it may rewrite into object form on the way."""

    def __init__(self, document: dict[str, Any], checked: Definition) -> None:
        self.document = document
        self.modules: dict[str, Any] = document.get("modules", {})
        self._counts: dict[str, int] = {}
        for _, node in checked.tree.walk():
            self._counts[node.type] = self._counts.get(node.type, 0) + 1

    def slot(self, path: str, pointer: str) -> Slot:
        """Return the declaration of the module at ``path``.

        Raises:
            InvalidRequest: ``unknown_name``, or ``edit_not_possible`` where a computation declares it.
        """
        parent, _, name = path.rpartition(".")
        items, kind, definition = self.items(parent, pointer)
        found = find(items, name, kind)
        if found is None:
            known = ", ".join(str(label(item, index)) for index, item in enumerate(items))[:200]
            detail = f"There is no {name!r} below {parent or 'the model'!r} that an edit can reach; there are: {known}."
            raise InvalidRequest([Problem("unknown_name", detail, pointer)])
        owner, key = (items, found) if not _is_named(items[found]) else (items[found], name)
        return Slot(owner, key, items, found, kind, definition)

    def items(self, path: str, pointer: str) -> tuple[list[Any], str, str | None]:
        """Return the array that declares the children of the module at ``path``, and what kind of array it is."""
        if not path:
            return self._inside(self.document, "model", pointer)
        slot = self.slot(path, pointer)
        return self._inside(slot.owner, slot.key, pointer)

    def _inside(self, owner: Any, key: Any, pointer: str) -> tuple[list[Any], str, str | None]:  # noqa: ANN401
        value = owner[key] = expanded(owner[key])
        if isinstance(value, dict) and isinstance(value.get("layers"), list):
            return value["layers"], "layer", None
        name = value.get("type") if isinstance(value, dict) else called(value)
        if name not in self.modules or "forward" not in self.modules[name]:
            raise refuse(f"What stands here has no children that an edit can reach: {value!r:.80}.", pointer)
        if self._counts.get(name, 0) > 1:
            detail = f"{name} is used {self._counts[name]} times; an edit inside it would change all of them."
            raise refuse(detail, pointer, "Copy the definition under another name first.")
        return self.modules[name].setdefault("init", []), "item", name


def label(item: object, index: int) -> str:
    """Return the name under which an item is a child."""
    return str(next(iter(item))) if isinstance(item, dict) and _is_named(item) else str(index)


def find(items: list[Any], name: str, kind: str) -> int | None:
    """Return the index of the item that declares ``name``."""
    for index, item in enumerate(items):
        if _is_named(item) and next(iter(item)) == name:
            return index
    if kind == "layer" and name.isdigit() and int(name) < len(items) and not _is_named(items[int(name)]):
        return int(name)
    return None


def _is_named(item: object) -> bool:
    return isinstance(item, dict) and len(item) == 1 and "type" not in item


def called(value: object) -> str | None:
    """Return the name that a constructor expression calls."""
    tree = _parsed(value)
    return tree.func.id if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) else None


def expanded(value: object) -> object:
    """Return ``Sequential(a, b)`` written as an object with ``layers``; anything else as it is."""
    tree = _parsed(value)
    plain = isinstance(tree, ast.Call) and not tree.keywords and called(value) in {"Sequential", "ModuleList"}
    if not plain or not isinstance(tree, ast.Call):
        return value
    nodes: list[ast.expr] = list(tree.args)
    if called(value) == "ModuleList":
        nodes = list(tree.args[0].elts) if len(tree.args) == 1 and isinstance(tree.args[0], ast.List) else []
    if any(isinstance(node, ast.Starred | ast.Dict) or not isinstance(node, ast.Call) for node in nodes):
        return value
    return {"type": called(value), "layers": [ast.unparse(node) for node in nodes]} if nodes else value


def _parsed(value: object) -> ast.expr | None:
    """Parse a constructor expression of a document that was checked before."""
    return ast.parse(value.strip(), mode="eval").body if isinstance(value, str) else None
