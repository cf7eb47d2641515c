"""Which weights carry over from a model to an edited one."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.definition.document import Definition
from services.definition.tree import Node


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


def report(before: Definition, after: Definition, origins: dict[str, str], copies: dict[str, str]) -> Edited:
    """Compare two models; ``origins`` maps new paths to old ones, ``copies`` maps definitions to originals."""
    carried: dict[str, str] = {}
    new: list[str] = []
    for path, node in after.tree.walk():
        origin = before.tree.find(origins[path]) if path in origins else None
        kind = copies.get(node.type, node.type)
        same = origin is not None and origin.type == kind and _equal(origin.arguments, node.arguments, copies)
        if same and origin is not None and _holds_tensors(node) and [*origin.values] == [*node.values]:
            carried[path] = origins[path]
        elif _is_leaf(node):
            new.append(path)
    kept = set(carried.values())
    gone = [path for path, node in before.tree.walk() if path not in kept and _is_leaf(node)]
    return Edited(after, carried, tuple(new), tuple(gone))


def _equal(left: object, right: object, copies: dict[str, str]) -> bool:
    """Compare constructor arguments; modules among them by what they are made of."""
    if isinstance(left, Node) and isinstance(right, Node):
        same = copies.get(left.type, left.type) == copies.get(right.type, right.type)
        return same and _equal(left.arguments, right.arguments, copies)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[name], right[name], copies) for name in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(_equal(a, b, copies) for a, b in zip(left, right, strict=True))
    return left == right


def _holds_tensors(node: Node) -> bool:
    """Return whether a module may have tensors of its own: containers of modules have none."""
    return node.type.startswith("Parameter") or not node.is_container()


def _is_leaf(node: Node) -> bool:
    return not node.children and _holds_tensors(node)
