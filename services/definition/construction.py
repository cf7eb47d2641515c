"""Follows once more how a definition is built: which loops turned over what, and in which order layers drew numbers."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from services.definition.document import Definition
from services.definition.evaluation import Evaluation
from services.definition.limits import MAX_MODULES
from services.definition.problems import Place, Problems
from services.definition.program import Module
from services.definition.tree import Node, Opaque
from services.definition.values import Frame

DRAWS = re.compile(
    r"(Lazy)?(Linear|Bilinear|Conv.*|Embedding.*|RNN.*|LSTM.*|GRU.*|MultiheadAttention|Transformer.*|AdaptiveLogSoft.*)\Z"
)
"""Layers whose initial weights are drawn; those of the others are constants."""
_RANDOM = re.compile(r"rand|normal|uniform|bernoulli|kaiming|xavier|orthogonal|poisson|multinomial|sparse_")


class Watched(Evaluation):
    """An evaluation without a memory, so that everything happens as often as it does in torch."""

    most_calls = MAX_MODULES

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition.program, Problems())
        self.draws: list[Node | str] = []
        self.loops: dict[str, list[list[Any]]] = defaultdict(list)
        self.branches: dict[str, list[bool]] = defaultdict(list)
        self.added: dict[str, dict[str, Node]] = {}
        """What the statement at a pointer added to a container, the last time it ran."""
        self.tree: Node = self.value(definition.program.model, Frame({}, None, definition.tree.place))

    def on_loop(self, place: Place, items: Sequence[object]) -> None:
        """Note what a loop of ``init`` runs over."""
        self.loops[place.pointer].append(list(items))

    def on_branch(self, place: Place, *, taken: bool) -> None:
        """Note which way an ``if`` of ``init`` goes."""
        self.branches[place.pointer].append(taken)

    def on_call(self, name: str) -> None:
        """Note a draw."""
        if _RANDOM.search(name):
            self.draws.append(name)

    def _call_attribute(self, node: ast.Call, function: ast.Attribute, frame: Frame, place: Place) -> object:
        if function.attr not in {"extend", "update"}:
            return super()._call_attribute(node, function, frame, place)
        owner = self.value(function.value, frame)
        before = len(owner.children) if isinstance(owner, Node) else 0
        result = super()._call_attribute(node, function, frame, place)
        if isinstance(owner, Node):
            self.added[frame.place.pointer] = dict(list(owner.children.items())[before:])
        return result

    def probe(self, definition: Module, node: Node) -> None:
        """Forwards were walked by the check."""

    def remember(self, key: str, result: object) -> None:
        """Keep nothing."""

    def _layer(self, *arguments: Any) -> object:  # noqa: ANN401 - those of the parent
        made = super()._layer(*arguments)
        if isinstance(made, Node) and DRAWS.match(made.type):
            self.draws.append(made)
        return made


def construction(definition: Definition, names: Mapping[str, str]) -> tuple[list[Any], list[Any]]:
    """Return what is built, and in which order it draws: equal for documents that build equal models.

    ``names`` maps copies of definitions to what they are copies of.
    """
    watched = Watched(definition)
    paths: dict[int, str] = {}
    rows: list[Any] = []
    for path, node in watched.tree.walk():
        first = paths.setdefault(id(node), path)
        arguments = {name: _plain(value, names) for name, value in node.arguments.items()}
        rows.append((path, first, names.get(node.type, node.type), arguments, [*node.children], [*node.values]))
    draws = [paths.get(id(one), one.type) if isinstance(one, Node) else one for one in watched.draws]
    return rows, draws


def _plain(value: object, names: Mapping[str, str]) -> object:
    if isinstance(value, Node):
        return names.get(value.type, value.type)
    if isinstance(value, Opaque):
        return value.word
    if isinstance(value, list | tuple):
        return [_plain(item, names) for item in value]
    return {key: _plain(item, names) for key, item in value.items()} if isinstance(value, dict) else value
