"""The tree of modules that a definition builds, as far as it shows without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from services.definition.problems import Place

SEQUENCES = ("Sequential", "ModuleList", "ParameterList")
TABLES = ("ModuleDict", "ParameterDict")


class Opaque:
    """A value that only torch knows: a tensor, or something that depends on one."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __repr__(self) -> str:
        return self.word


UNKNOWN = Opaque("a value that only a run knows")
TENSOR = Opaque("a tensor")


@dataclass(slots=True, eq=False)
class Node:
    """One module: its class, constructor arguments and children, and where in the document it is made."""

    type: str
    place: Place
    arguments: dict[str, object] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)
    """Other attributes: constants and values as they are, parameters and buffers as opaque tensors."""
    places: dict[str, Place] = field(default_factory=dict)
    """Where each constructor argument stands."""
    size: int = 1
    """Number of modules from here down, as a bound."""
    trainable: bool = True
    """Whether ``requires_grad_(False)`` was left out."""

    def walk(self, path: str = "") -> Iterator[tuple[str, Node]]:
        """Iterate over (path, module), parents first, as ``named_modules`` names them."""
        yield path, self
        for name, child in self.children.items():
            yield from child.walk(f"{path}.{name}" if path else name)

    def find(self, path: str) -> Node | None:
        """Return the module at a path of ``state_dict``, or ``None``."""
        node: Node | None = self
        for name in path.split(".") if path else ():
            node = node.children.get(name) if node is not None else None
        return node

    def is_container(self) -> bool:
        """Return whether this is one of torch's containers."""
        return self.type in SEQUENCES or self.type in TABLES

    def items(self) -> list[object]:
        """Return what a loop over the container meets."""
        if self.type in TABLES:
            return list(self.children or self.values)
        return list(self.children.values()) or list(self.values.values())

    def append(self, item: object, name: str | None = None) -> None:
        """Add one item to a container."""
        key = name if name is not None else str(len(self.children) or len(self.values))
        if isinstance(item, Node):
            self.children[key] = item
            self.size += item.size
        else:
            self.values[key] = item

    def clone(self, place: Place, seen: dict[int, Node] | None = None) -> Node:
        """Return a copy with copies of all children; a module that is shared inside stays shared."""
        seen = {} if seen is None else seen
        known = seen.get(id(self))
        if known is not None:
            return known
        if not self.children and not self.values:  # most modules are leaves
            copy = Node(self.type, place, self.arguments, {}, {}, self.places, self.size, self.trainable)
        else:
            children = {name: child.clone(child.place, seen) for name, child in self.children.items()}
            values = {
                k: children.get(k, v) if isinstance(v, Node) else _copied(v, seen) for k, v in self.values.items()
            }
            copy = Node(self.type, place, self.arguments, children, values, self.places, self.size, self.trainable)
        seen[id(self)] = copy
        return copy


def _copied(value: object, seen: dict[int, Node]) -> object:
    if isinstance(value, Node):
        return value.clone(value.place, seen)
    return list(value) if isinstance(value, list) else value
