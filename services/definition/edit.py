"""Edits of a model by path: add, remove, replace, rename, freeze, unfreeze."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any

from services.definition.construction import construction
from services.definition.document import Definition
from services.definition.edit_report import Edited, report
from services.definition.names import is_name, is_number
from services.definition.paths import Paths, Slot, check_used, label, refuse
from services.definition.problems import nearest_hint
from services.definition.syntax import computed_members
from services.errors import InvalidRequest, Problem

MAX_WORK = 10_000
"""Operations of one edit times modules of the model: each operation checks the whole model again."""
OPERATIONS = {
    "add": {"op", "path", "module", "name", "at"},
    "remove": {"op", "path"},
    "replace": {"op", "path", "module"},
    "rename": {"op", "path", "name"},
    "freeze": {"op", "path"},
    "unfreeze": {"op", "path"},
}


def edit(definition: Definition, operations: Sequence[dict[str, Any]], *, pointer: str = "") -> Edited:
    """Apply ``operations`` in order, each ``{"op", "path", …}``; ``path`` is that of ``named_modules``.

    ``add`` puts ``module`` below ``path`` (``""`` is the model itself), as ``name`` and before index ``at``.

    Raises:
        InvalidRequest: an operation is wrong (``edit_not_possible``, ``unknown_name``), or the result does not check.
    """
    current = definition
    size = sum(1 for _ in definition.tree.walk())
    if size * len(operations) > MAX_WORK:
        detail = f"{len(operations)} operations on {size} modules are too many at once."
        raise refuse(detail, pointer, f"Make at most {max(1, MAX_WORK // size)} at a time.")
    origins = {path: path for path, _ in definition.tree.walk()}
    copies: dict[str, str] = {}
    for index, operation in enumerate(operations):
        where = f"{pointer}/{index}"
        _check_operation(operation, where)
        _check_rewritten(operation, current, copies, where)
        document = copy.deepcopy(current.document)
        paths = Paths(document, current)
        moved = _apply(operation, paths, where)
        paths.finish()
        copies |= {new: copies.get(old, old) for new, old in paths.copies.items()}
        try:
            after = check_used(document)
        except InvalidRequest as error:
            raise InvalidRequest([_at(problem, where) for problem in error.problems]) from None
        origins = _follow(origins, moved, after)
        current = after
    return report(definition, current, origins, copies)


def _at(problem: Problem, where: str) -> Problem:
    """Return a problem of the edited document as one of the operation that brought it about."""
    column = f", column {problem.column}" if problem.column else ""
    place = f" (in the edited definition, at {problem.pointer}{column})" if problem.pointer else ""
    return Problem(problem.code, f"{problem.detail}{place}", where, problem.hint)


def _check_rewritten(operation: dict[str, Any], current: Definition, copies: dict[str, str], where: str) -> None:
    """Make sure that writing out what is around the path changes nothing: neither parts nor initial draws."""
    document = copy.deepcopy(current.document)
    paths = Paths(document, current)
    reach = paths.items if operation["op"] == "add" else paths.slot
    reach(operation["path"], f"{where}/path")
    paths.finish()
    if not paths.rewritten:
        return
    names = copies | {new: copies.get(old, old) for new, old in paths.copies.items()}
    try:
        after = check_used(document)
    except InvalidRequest as error:
        raise InvalidRequest([_at(problem, where) for problem in error.problems]) from None
    before, now = construction(current, names), construction(after, names)
    if before[0] != now[0]:
        detail = f"What makes {operation['path']!r} cannot be written out: one module of it stands at several places."
        raise refuse(detail, f"{where}/path", "Edit the definition itself.")
    if before[1] != now[1]:
        detail = f"What makes {operation['path']!r} cannot be written out: its layers are made in another order."
        raise refuse(detail, f"{where}/path", "Edit the definition itself.")


Moves = dict[str, str | None]
"""Old path → new path of the modules that an operation touches; ``None`` says that it is gone."""


def _apply(operation: dict[str, Any], paths: Paths, where: str) -> Moves:
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
    name = operation.get("name")
    if name is not None and not (is_name(name) or is_number(name)):
        detail = f"{str(name)[:80]!r} is not a name: a letter, then letters, digits and single underscores."
        raise InvalidRequest([Problem("invalid_argument", detail, f"{where}/name")])


def _add(operation: dict[str, Any], paths: Paths, where: str) -> Moves:
    parent = operation["path"]
    items, kind, _ = paths.items(parent, f"{where}/path")
    name, at = operation.get("name"), operation.get("at", len(items))
    if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at <= len(items):
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
    _check_part(slot, path, f"{where}/path")
    _check_computed_uses(slot, path, paths, where)
    paths.release(slot)
    parent = path.rpartition(".")[0]
    moves = _shifted(slot.items, parent, slot.index + 1, -1) if slot.kind == "layer" else {}
    del slot.items[slot.index]
    return {**moves, path: None}


def _replace(operation: dict[str, Any], paths: Paths, where: str) -> Moves:
    slot = paths.slot(operation["path"], f"{where}/path")
    paths.release(slot)
    slot.owner[slot.key] = operation["module"]
    return {operation["path"]: operation["path"]}


def _rename(operation: dict[str, Any], paths: Paths, where: str) -> Moves:
    path, name = operation["path"], operation["name"]
    slot = paths.slot(path, f"{where}/path")
    _check_part(slot, path, f"{where}/path")
    if slot.owner is slot.items:
        raise refuse("The layers here are numbered; they have no names to change.", f"{where}/path")
    if slot.kind == "item" and slot.definition is not None:
        _check_computed_uses(slot, path, paths, where)
        body = paths.modules[slot.definition]
        slot.items[slot.index] = {name: slot.owner[slot.key]}
        paths.modules[slot.definition] = _renamed(body, path.rpartition(".")[2], name)
    else:
        slot.items[slot.index] = {name: slot.owner[slot.key]}
    parent = path.rpartition(".")[0]
    return {path: f"{parent}.{name}" if parent else name}


def _check_part(slot: Slot, path: str, pointer: str) -> None:
    if slot.kind == "model":
        raise refuse("This is the model itself.", pointer, "Replace it, or edit what is below it.")


def _check_computed_uses(slot: Slot, path: str, paths: Paths, where: str) -> None:
    """Refuse to take away a name that a forward may compute: ``self['stage' + str(i)]``."""
    if slot.kind != "item" or slot.definition is None:
        return
    name, body = path.rpartition(".")[2], paths.modules[slot.definition]
    for member in ("forward", "methods"):
        for pointer, text in _texts(body.get(member), f"/modules/{slot.definition}/{member}"):
            if any(name.startswith(head) for head in computed_members(text)):
                detail = f"{slot.definition} reads its parts by names that it computes: {text!r:.80} (at {pointer})."
                raise refuse(detail, f"{where}/path", "Change that statement first, or replace the part.")


def _texts(value: Any, pointer: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any JSON
    if isinstance(value, str):
        yield pointer, value
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in rows:
        yield from _texts(item, f"{pointer}/{key}")


def _renamed(value: Any, old: str, new: str) -> Any:  # noqa: ANN401 - any JSON
    """Return a definition in which its part has another name: in code, and in the paths of ties and weight rules."""
    if isinstance(value, str):
        return re.sub(rf"\bself\.{old}\b", f"self.{new}", value)
    if isinstance(value, list):
        return [_renamed(item, old, new) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _renamed(item, old, new) for key, item in value.items()}
    head = re.compile(rf"(self\.)?{old}(?=\.|\Z)")
    if isinstance(value.get("tie"), list):
        found["tie"] = [head.sub(new, path, count=1) if head.match(path) else path for path in value["tie"]]
    if isinstance(value.get("name"), str) and isinstance(value.get("init"), str):
        found["name"] = head.sub(new, value["name"], count=1) if head.match(value["name"]) else value["name"]
    return found


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
