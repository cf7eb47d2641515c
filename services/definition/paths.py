"""Finds in a document the place that declares the module at a path such as ``features.3``, or makes one.

Where loops, macros or shared definitions make a module, what is around its path is written out: a copy of the
definition for this one use, its ``init`` unrolled, computed lists as the layers that they come to.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from services.definition.additions import Additions, adds_to, split_additions
from services.definition.construction import Watched
from services.definition.document import Definition, check
from services.definition.syntax import called, collects, expanded, reads, recalled, unused_locals
from services.definition.tree import Node
from services.definition.unroll import strings, unrolled
from services.definition.written import Unwritable, written
from services.errors import InvalidRequest, Problem


@dataclass(slots=True)
class Slot:
    """One declaration: ``owner[key]`` is a module position; ``items`` and ``index`` say in which array it stands."""

    owner: Any
    key: Any
    items: list[Any]
    index: int
    kind: str
    """``item`` (a member of init), ``layer`` (of a container) or ``model``."""
    definition: str | None = None
    """The definition in whose ``init`` it stands."""


def refuse(detail: str, pointer: str, hint: str | None = None) -> InvalidRequest:
    """Return the error of an edit that cannot be made."""
    return InvalidRequest([Problem("edit_not_possible", detail, pointer, hint)])


class Paths:
    """Walks one document, which it may rewrite on the way into one that builds the same."""

    def __init__(self, document: dict[str, Any], checked: Definition) -> None:
        self.document = document
        self.modules: dict[str, Any] = document.get("modules", {})
        self.tree = checked.tree
        self.copies: dict[str, str] = {}
        """New definitions, and what they are copies of."""
        self.rewritten = False
        self._additions: list[Additions] = []
        self._first: dict[int, str] = {}
        self._uses: dict[str, set[int]] = {}
        for path, node in checked.tree.walk():
            self._first.setdefault(id(node), path)
            self._uses.setdefault(node.type, set()).add(id(node))

    def finish(self) -> None:
        """Write what statements add back into their statements."""
        for additions in self._additions:
            additions.write()

    def slot(self, path: str, pointer: str) -> Slot:
        """Return the declaration of the module at ``path``.

        Raises:
            InvalidRequest: ``unknown_name``, or ``edit_not_possible`` with what keeps it from being declared.
        """
        if not path:
            return Slot(self.document, "model", [], 0, "model")
        parent, _, name = path.rpartition(".")
        items, kind, definition = self.items(parent, pointer, child=name)
        found = find(items, name, kind)
        if found is None:
            known = ", ".join(self._node(parent, pointer).children)[:200]
            detail = f"There is no {name!r} below {parent or 'the model'!r}; there are: {known}."
            raise InvalidRequest([Problem("unknown_name", detail, pointer)])
        owner, key = (items, found) if not is_named(items[found]) else (items[found], name)
        return Slot(owner, key, items, found, kind, definition)

    def items(self, path: str, pointer: str, *, child: str = "") -> tuple[list[Any], str, str | None]:
        """Return the array that declares the children of the module at ``path``, ``child`` among them; and its kind."""
        node = self._node(path, pointer)
        # A module that stands at several paths is declared at the first one.
        slot = self.slot(self._first[id(node)], pointer)
        try:
            return self._inside(slot, node, child, pointer)
        except Unwritable as error:
            raise refuse(f"What is at {path!r} cannot be written out: {error}.", pointer) from None

    def _node(self, path: str, pointer: str) -> Node:
        node = self.tree.find(path)
        if node is None:
            parent, _, name = path.rpartition(".")
            above = self._node(parent, pointer)
            known = ", ".join(above.children)[:200]
            detail = f"There is no {name!r} below {parent or 'the model'!r}; there are: {known}."
            raise InvalidRequest([Problem("unknown_name", detail, pointer)])
        return node

    def _inside(self, slot: Slot, node: Node, child: str, pointer: str) -> tuple[list[Any], str, str | None]:
        if node.is_container():
            return self._layers(slot, node), "layer", slot.definition
        if "forward" not in self.modules.get(node.type, {}):
            detail = f"{node.type} makes its own parts; an edit can replace it as a whole."
            raise refuse(detail, pointer)
        name = self._own(slot, node)
        init = self.modules[name].setdefault("init", [])
        if child in node.children and not any(is_named(item) and child in item for item in init):
            self._unroll(name)
        return init, "item", name

    def _layers(self, slot: Slot, node: Node) -> list[Any]:
        """Return the children of a container as an array of the document."""
        value = slot.owner[slot.key] = expanded(slot.owner[slot.key])
        listed = value.get("layers") if isinstance(value, dict) else None
        if isinstance(listed, dict):
            listed = value["layers"] = [{name: item} for name, item in listed.items()]
        if listed is not None and [label(item, index) for index, item in enumerate(listed)] == [*node.children]:
            return listed
        if slot.kind == "item" and slot.definition is not None:
            added = self._added(slot, node, slot.definition)
            if added is not None:
                return added
        self._write(slot, node)
        layers: list[Any] = slot.owner[slot.key]["layers"]
        return layers

    def _added(self, slot: Slot, node: Node, definition: str) -> Additions | None:
        """Return the children of a container that statements of ``init`` add, if all of them are plain."""
        name = str(slot.key)
        if any(f"self.{name}" in str(item) for item in slot.items if isinstance(item, dict) and len(item) > 1):
            self._unroll(definition)
        holder = next(item for item in self.modules[definition]["init"] if is_named(item) and name in item)
        value = holder[name] = expanded(holder[name], empty=True)
        added = Watched(check_used(self.document)).added
        init = self.modules[definition]["init"]
        where = f"/modules/{definition}/init"
        if not isinstance(value, dict) or not split_additions(init, name, lambda i: added.get(f"{where}/{i}")):
            return None
        declared = value.setdefault("layers", [])
        if not isinstance(declared, list):
            return None
        found = Additions(name, declared, init)
        if [label(item, index) for index, item in enumerate(found)] != [*node.children]:
            return None
        self.rewritten = True
        self._additions.append(found)
        return found

    def release(self, slot: Slot) -> None:
        """Take away the statements that only serve the module which a slot declares: it is about to go."""
        if slot.definition is None:
            return
        init, old = self.modules[slot.definition]["init"], slot.owner[slot.key]
        blocks = [text for item in init if isinstance(item, dict) and len(item) > 1 for text in strings(item)]
        made = {name for name in (reads(old) if isinstance(old, str) else ()) if collects(strings(init), name)}
        if any(adds_to(text, slot.key) or made & reads(text) for text in blocks):
            self._unroll(slot.definition)
        if slot.kind == "item":
            init[:] = [item for item in init if not (isinstance(item, str) and adds_to(item, slot.key))]
            slot.index = next(i for i, item in enumerate(init) if item is slot.owner)
        slot.owner[slot.key] = "Identity()"
        if isinstance(old, str):
            unused_locals(init, old)
            slot.index = next((i for i, item in enumerate(slot.items) if item is slot.owner), slot.index)

    def _write(self, slot: Slot, node: Node) -> None:
        """Put what was built in the place of the expression that built it."""
        old = slot.owner[slot.key]
        new = written(node)
        if slot.definition is not None and isinstance(old, str):
            self._unroll(slot.definition)
        slot.owner[slot.key] = new
        self.rewritten = True
        if slot.definition is not None and isinstance(old, str):
            unused_locals(self.modules[slot.definition]["init"], old)

    def _own(self, slot: Slot, node: Node) -> str:
        """Return a definition that this module alone uses."""
        if called(slot.owner[slot.key]) != node.type and not self._is_copy(slot, node):
            self._write(slot, node)
        name = called(slot.owner[slot.key]) or node.type
        uses = self._uses.get(name, set())
        if len(uses) <= 1:
            return name
        number = next(i for i in range(2, len(self.modules) + 3) if f"{node.type}{i}" not in self.modules)
        fresh = f"{node.type}{number}"
        self.modules[fresh] = copy.deepcopy(self.modules[name])
        self.copies[fresh] = name
        self.rewritten = True
        uses.discard(id(node))
        self._uses[fresh] = {id(node)}
        slot.owner[slot.key] = recalled(slot.owner[slot.key], name, fresh)
        _add_to_rules(self.modules, name, fresh)
        return fresh

    def _is_copy(self, slot: Slot, node: Node) -> bool:
        return self.copies.get(called(slot.owner[slot.key]) or "") == node.type

    def _unroll(self, name: str) -> None:
        """Write the blocks of a definition's ``init`` out; it has one instance."""
        init = self.modules[name]["init"]
        if any(isinstance(item, dict) and ("for" in item or "if" in item) for item in init):
            watched = Watched(check_used(self.document))
            init[:] = unrolled(init, f"/modules/{name}/init", watched)
            self.rewritten = True


def check_used(document: dict[str, Any]) -> Definition:
    """Check a document, after taking away the definitions that nothing uses any more.

    Raises:
        InvalidRequest: as `check`.
    """
    try:
        return check(document)
    except InvalidRequest as error:
        if any(problem.code != "unused_name" for problem in error.problems):
            raise
        for problem in error.problems:
            del document["modules"][problem.pointer.rpartition("/")[2]]
        if not document["modules"]:
            del document["modules"]
    return check_used(document)


def _add_to_rules(value: Any, name: str, fresh: str) -> None:  # noqa: ANN401 - any JSON
    """Let weight rules for a definition hold for its copy."""
    if isinstance(value, dict):
        kinds = value.get("type")
        named = kinds == name or (isinstance(kinds, list) and name in kinds)
        if named and "init" in value and isinstance(value["init"], str):
            value["type"] = [*(kinds if isinstance(kinds, list) else [name]), fresh]
        for item in value.values():
            _add_to_rules(item, name, fresh)
    elif isinstance(value, list):
        for item in value:
            _add_to_rules(item, name, fresh)


def label(item: object, index: int) -> str:
    """Return the name under which an item is a child."""
    return str(next(iter(item))) if isinstance(item, dict) and is_named(item) else str(index)


def find(items: list[Any], name: str, kind: str) -> int | None:
    """Return the index of the item that declares ``name``."""
    for index, item in enumerate(items):
        if is_named(item) and next(iter(item)) == name:
            return index
    if kind == "layer" and name.isdigit() and int(name) < len(items) and not is_named(items[int(name)]):
        return int(name)
    return None


def is_named(item: object) -> bool:
    """Return whether an item is ``{"name": …}``."""
    return isinstance(item, dict) and len(item) == 1 and "type" not in item
