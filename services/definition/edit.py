"""Edits of a model by path: add, remove, replace, rename, freeze, unfreeze; and which weights carry over."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.definition.document import Definition, check
from services.definition.paths import Paths, label, refuse
from services.definition.problems import nearest_hint
from services.errors import InvalidRequest, Problem

OPERATIONS = {
    "add": {"op", "path", "module", "name", "at"},
    "remove": {"op", "path"},
    "replace": {"op", "path", "module"},
    "rename": {"op", "path", "name"},
    "freeze": {"op", "path"},
    "unfreeze": {"op", "path"},
}


@dataclass(frozen=True, slots=True)
class Edited:
    """The new definition, and for every layer of it where its weights come from."""

    definition: Definition
    carried: dict[str, str] = field(default_factory=dict)
    """New path → old path, for modules of equal class and arguments."""
    new: tuple[str, ...] = ()
    """Paths whose weights are drawn anew."""
    dropped: tuple[str, ...] = ()
    """Old paths that are gone."""


def edit(definition: Definition, operations: Sequence[dict[str, Any]], *, pointer: str = "") -> Edited:
    """Apply ``operations`` in order, each ``{"op", "path", …}``; ``path`` is that of ``named_modules``.

    ``add`` puts ``module`` below ``path`` (``""`` is the model itself), as ``name`` and before index ``at``.

    Raises:
        InvalidRequest: an operation is wrong (``edit_not_possible``, ``unknown_name``), or the result does not check.
    """
    current = definition
    origins = {path: path for path, _ in definition.tree.walk()}
    for index, operation in enumerate(operations):
        where = f"{pointer}/{index}"
        document = copy.deepcopy(current.document)
        moved = _apply(operation, document, current, where)
        try:
            after = check(document)
        except InvalidRequest as error:
            raise InvalidRequest([Problem(p.code, p.detail, where, p.hint) for p in error.problems]) from None
        origins = _follow(origins, moved, after)
        current = after
    return _report(definition, current, origins)


Moves = dict[str, str | None]
"""Old path → new path of the modules that an operation touches; ``None`` says that it is gone."""


def _apply(operation: dict[str, Any], document: dict[str, Any], checked: Definition, where: str) -> Moves:
    _check_operation(operation, where)
    paths = Paths(document, checked)
    makers = {"add": _add, "remove": _remove, "replace": _replace, "rename": _rename}
    if operation["op"] in makers:
        return makers[operation["op"]](operation, paths, where)
    return _freeze(operation, paths, where)


def _check_operation(operation: dict[str, Any], where: str) -> None:
    kind = operation.get("op")
    if kind not in OPERATIONS:
        hint = nearest_hint(str(kind), OPERATIONS)
        raise InvalidRequest([Problem("unknown_operation", f"There is no edit {kind!r}.", f"{where}/op", hint)])
    extra = sorted(operation.keys() - OPERATIONS[kind])
    if extra:
        raise InvalidRequest([Problem("extra_forbidden", f"{kind} has no {extra[0]!r}.", f"{where}/{extra[0]}")])
    needed = OPERATIONS[kind] - {"at"} - ({"name"} if kind == "add" else set())
    missing = sorted(needed - operation.keys())
    if missing:
        raise InvalidRequest([Problem("missing", f"{kind} needs {missing[0]!r}.", where)])
    if not isinstance(operation["path"], str):
        raise InvalidRequest([Problem("string_type", "path is a string such as «features.3».", f"{where}/path")])


def _add(operation: dict[str, Any], paths: Paths, where: str) -> Moves:
    parent = operation["path"]
    items, kind, _ = paths.items(parent, f"{where}/path")
    name, at = operation.get("name"), operation.get("at", len(items))
    if not isinstance(at, int) or not 0 <= at <= len(items):
        raise InvalidRequest([Problem("out_of_range", f"at lies between 0 and {len(items)}.", f"{where}/at")])
    named = [item for item in items if label(item, -1) != "-1"]
    if name is None and (kind == "item" or named):
        raise InvalidRequest([Problem("missing", "A child of this module needs a name.", where)])
    if name is not None and kind == "layer" and len(named) != len(items):
        raise refuse("The layers here are numbered; a new one cannot have a name.", f"{where}/name")
    moves = _shifted(items, parent, at, 1) if kind == "layer" else {}
    items.insert(at, operation["module"] if name is None else {name: operation["module"]})
    return moves


def _remove(operation: dict[str, Any], paths: Paths, where: str) -> Moves:
    path = operation["path"]
    slot = paths.slot(path, f"{where}/path")
    parent = path.rpartition(".")[0]
    moves = _shifted(slot.items, parent, slot.index + 1, -1) if slot.kind == "layer" else {}
    del slot.items[slot.index]
    return {**moves, path: None}


def _replace(operation: dict[str, Any], paths: Paths, where: str) -> Moves:
    slot = paths.slot(operation["path"], f"{where}/path")
    slot.owner[slot.key] = operation["module"]
    return {operation["path"]: operation["path"]}


def _rename(operation: dict[str, Any], paths: Paths, where: str) -> Moves:
    path, name = operation["path"], operation["name"]
    slot = paths.slot(path, f"{where}/path")
    if slot.owner is slot.items:
        raise refuse("The layers here are numbered; they have no names to change.", f"{where}/path")
    slot.items[slot.index] = {name: slot.owner[slot.key]}
    if slot.definition is not None:
        body = paths.modules[slot.definition]
        old = path.rpartition(".")[2]
        paths.modules[slot.definition] = _renamed(body, re.compile(rf"\bself\.{old}\b"), f"self.{name}")
    parent = path.rpartition(".")[0]
    return {path: f"{parent}.{name}" if parent else name}


def _renamed(value: Any, pattern: re.Pattern[str], new: str) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, str):
        return pattern.sub(new, value)
    if isinstance(value, list):
        return [_renamed(item, pattern, new) for item in value]
    return {k: _renamed(v, pattern, new) for k, v in value.items()} if isinstance(value, dict) else value


def _freeze(operation: dict[str, Any], paths: Paths, where: str) -> Moves:
    slot = paths.slot(operation["path"], f"{where}/path")
    value, frozen = slot.owner[slot.key], operation["op"] == "freeze"
    if isinstance(value, dict):
        value.pop("trainable", None)
        if frozen:
            value["trainable"] = False
    elif isinstance(value, str):
        bare = value.strip().removesuffix(_FROZEN)
        slot.owner[slot.key] = bare + _FROZEN if frozen else bare
    return {}


_FROZEN = ".requires_grad_(False)"


def _shifted(items: list[Any], parent: str, start: int, by: int) -> Moves:
    """Return how numbered layers from ``start`` on are renumbered."""
    prefix = f"{parent}." if parent else ""
    numbers = [index for index in range(start, len(items)) if label(items[index], index) == str(index)]
    return {f"{prefix}{index}": f"{prefix}{index + by}" for index in numbers}


def _follow(origins: dict[str, str], moves: Moves, after: Definition) -> dict[str, str]:
    """Return current path → original path after one more operation."""
    found: dict[str, str] = {}
    for path, origin in origins.items():
        new = _moved(path, moves)
        if new is not None and after.tree.find(new) is not None:
            found[new] = origin
    return found


def _moved(path: str, moves: Moves) -> str | None:
    for old, new in moves.items():
        if path == old or path.startswith(f"{old}."):
            return None if new is None else new + path[len(old) :]
    return path


def _report(before: Definition, after: Definition, origins: dict[str, str]) -> Edited:
    carried: dict[str, str] = {}
    new: list[str] = []
    for path, node in after.tree.walk():
        origin = before.tree.find(origins[path]) if path in origins else None
        same = origin is not None and origin.type == node.type and origin.arguments == node.arguments
        if same and not node.is_container():
            carried[path] = origins[path]
        elif not node.children:
            new.append(path)
    kept = set(carried.values())
    gone = [path for path, node in before.tree.walk() if path not in kept and not node.children]
    return Edited(after, carried, tuple(new), tuple(gone))
