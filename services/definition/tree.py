"""The tree of modules that a definition builds, as far as it shows without torch."""

from __future__ import annotations

from collections.abc import Iterator

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


class Node:
    """One module: its class, constructor arguments and children, and where in the document it is made.

    A copy takes no time and next to no memory, whatever its size: what is in it is copied when somebody looks. A model
    of two modules of two modules … of a definition each is so counted, and refused, without being made.
    """

    __slots__ = (
        "_children", "_original", "_seen", "_values",
        "arguments", "named", "place", "places", "size", "trainable", "type",
    )  # fmt: skip

    def __init__(
        self,
        type: str,
        place: Place,
        arguments: dict[str, object] | None = None,
        places: dict[str, Place] | None = None,
    ) -> None:
        self.type = type
        self.place = place
        self.arguments: dict[str, object] = {} if arguments is None else arguments
        self.places: dict[str, Place] = {} if places is None else places
        """Where each constructor argument stands."""
        self.size = 1
        """Number of modules from here down, as a bound."""
        self.named = False
        """Whether some item of a container was given a name."""
        self.trainable = True
        """Whether ``requires_grad_(False)`` was left out."""
        self._children: dict[str, Node] = {}
        self._values: dict[str, object] = {}
        self._original: Node | None = None
        """What this is a copy of, as long as nobody looked inside; it does not change any more."""
        self._seen: dict[Node, Node] = {}
        """Copies by what they are copies of: a module that is shared inside stays shared."""

    @property
    def children(self) -> dict[str, Node]:
        """The modules inside, by name."""
        if self._original is not None:
            self._unfold()
        return self._children

    @children.setter
    def children(self, children: dict[str, Node]) -> None:
        if self._original is not None:
            self._unfold()
        self._children = children

    @property
    def values(self) -> dict[str, object]:
        """Other attributes: constants and values as they are, parameters and buffers as opaque tensors."""
        if self._original is not None:
            self._unfold()
        return self._values

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

    def is_numbered(self) -> bool:
        """Return whether the items of a container are called 0, 1, 2, … in this order."""
        return self.type in SEQUENCES and not self.named

    def __len__(self) -> int:
        """Return how many items the container has."""
        return len(self.children) or len(self.values)

    def __bool__(self) -> bool:
        """A module is something, however few items it has."""
        return True

    def items(self) -> list[object]:
        """Return what a loop over the container meets."""
        if self.type in TABLES:
            return list(self.children or self.values)
        return list(self.children.values()) or list(self.values.values())

    def append(self, item: object, name: str | None = None) -> None:
        """Add one item to a container."""
        key = name if name is not None else str(len(self))
        self.named = self.named or (key not in self.children and key not in self.values and name is not None)
        if isinstance(item, Node):
            self.children[key] = item
            self.size += item.size
        else:
            self.values[key] = item

    def freeze(self) -> Node:
        """Return what this module is now, for copies; it goes on as the first of them."""
        kept = Node(self.type, self.place, self.arguments, self.places)
        kept.size, kept.named, kept.trainable = self.size, self.named, self.trainable
        kept._children, kept._values = self.children, self.values
        self._children, self._values, self._original, self._seen = {}, {}, kept, {}
        return kept

    def copied(self, place: Place, seen: dict[Node, Node] | None = None) -> Node:
        """Return a copy of what `freeze` returned, or of a module in it."""
        seen = {} if seen is None else seen
        known = seen.get(self)
        if known is None:
            known = seen[self] = Node(self.type, place, self.arguments, self.places)
            known.size, known.named, known.trainable = self.size, self.named, self.trainable
            known._original, known._seen = self, seen
        return known

    def _unfold(self) -> None:
        """Make the copies of what is directly inside."""
        original, seen = self._original, self._seen
        self._original = None
        if original is None:
            return
        self._children = {name: child.copied(child.place, seen) for name, child in original.children.items()}
        for name, value in original.values.items():
            if isinstance(value, Node):
                self._values[name] = value.copied(value.place, seen)
            else:
                self._values[name] = list(value) if isinstance(value, list) else value
