"""Frames around operations: modules, their calls, loops with their turns, branches; each module has one frame.

An operation's frames follow from the calls that led to it. A module that is called from several turns stands once, in
the deepest frame that holds all its calls: a shared layer is drawn once and reached twice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from services.pictures.document import Datum, Document, Operation

FrameKind = Literal["module", "call", "loop", "turn", "branch"]
Path = tuple[str, ...]
"""Ids of frames, the outermost first."""

_LETTERS = 40
_Step = TypeVar("_Step")
_CLASS = re.compile(r"^/modules/([^/]+)/")


@dataclass(frozen=True, slots=True)
class Frame:
    """One group: what it is, what it is called, and the module that it belongs to."""

    id: str
    kind: FrameKind
    label: str
    path: str
    """Path of the module, also for what lies in a module's forward."""
    tooltip: str


class _Call(NamedTuple):
    path: str
    number: int


class _Block(NamedTuple):
    pointer: str
    which: str
    is_loop: bool


class Nesting:
    """Where each operation and each piece of data lies."""

    def __init__(self, document: Document) -> None:
        self.frames: dict[str, Frame] = {}
        self._document = document
        self._chains = {one.id: self._chain(one) for one in document.operations.values()}
        self._prefixes: dict[str, list[Sequence[_Call | _Block]]] = {}
        for chain in self._chains.values():
            for index, step in enumerate(chain):
                if isinstance(step, _Call):
                    self._prefixes.setdefault(step.path, []).append(chain[:index])
        self._homes: dict[str, Path] = {}
        self.operations: dict[str, Path] = {key: self._walk(chain) for key, chain in self._chains.items()}
        self._conditions = self._without_readers()
        self._aside = frozenset(self._conditions)
        self.data: dict[str, Path] = self._place_data()
        self._move_conditions()
        self.repeated = self._numbers_with_many_readers()
        """Numbers that several operations use: they are drawn at each, as a formula repeats them."""

    def _chain(self, operation: Operation) -> list[_Call | _Block]:
        """Return the calls and blocks that led to an operation, the outermost first."""
        levels = ["", *self._called(operation)]
        blocks = self._blocks(operation, levels)
        chain: list[_Call | _Block] = list(blocks[0])
        for level, path in enumerate(levels[1:], 1):
            chain += [_Call(path, self._number(path, operation)), *blocks[level]]
        return chain

    def _called(self, operation: Operation) -> list[str]:
        """Paths of the modules whose forward ran: a ModuleList has none."""
        names = operation.module.split(".") if operation.module else []
        paths = [".".join(names[: count + 1]) for count in range(len(names))]
        modules = self._document.modules
        return [path for path in paths if path == operation.module or (path in modules and modules[path].calls)]

    def _number(self, path: str, operation: Operation) -> int:
        """Which call of an outer module it was follows from the inner one's, as each outer call makes equally many."""
        if path == operation.module:
            return operation.call
        modules = self._document.modules
        inner = modules[operation.module].calls if operation.module in modules else 1
        return (operation.call - 1) * modules[path].calls // max(inner, operation.call) + 1

    def _blocks(self, operation: Operation, levels: list[str]) -> list[list[_Block]]:
        """Loops and branches by the level whose forward wrote them."""
        types = [self._document.modules[path].type if path in self._document.modules else "" for path in levels]
        found: list[list[_Block]] = [[] for _ in levels]
        for steps, is_loop in ((operation.loops, True), (operation.branches, False)):
            level = 0
            for pointer, which in steps:
                named = _CLASS.match(pointer)
                fits = [i for i in range(level, len(levels)) if named and types[i] == named[1]]
                level = fits[0] if fits else level
                found[level].append(_Block(pointer, which, is_loop))
        return [sorted(blocks, key=lambda block: block.pointer.count("/")) for blocks in found]

    def _walk(self, chain: Iterable[_Call | _Block]) -> Path:
        """Return the frames of a chain, making those that are new."""
        path: Path = ()
        module = ""
        for step in chain:
            if isinstance(step, _Call):
                module = step.path
                path = (*self._home(step.path), self._module(step.path))
                if self.calls(step.path) > 1:
                    path += (self._frame(path[-1], "call", f"call {step.number}", module),)
            elif step.is_loop:
                outer = path[-1] if path else ""
                loop = self._frame(outer, "loop", self._loop_label(step.pointer), module, step.pointer)
                path += (loop, self._frame(loop, "turn", f"turn {step.which}", module))
            else:
                label = f"if {self._document.branches.get(step.pointer, '')} → {step.which}"
                path += (self._frame(path[-1] if path else "", "branch", label, module, step.pointer),)
        return path

    def _home(self, module: str) -> Path:
        """Return the frames around a module's frame: those that all its calls share."""
        if module not in self._homes:
            paths = [self._walk(prefix) for prefix in self._prefixes[module]]
            self._homes[module] = _common(paths)
        return self._homes[module]

    def calls(self, path: str) -> int:
        """Return how often a module was called."""
        return self._document.modules[path].calls if path in self._document.modules else 1

    def _module(self, path: str) -> str:
        module = self._document.modules.get(path)
        kind = module.type if module else "module"
        times = f", called {module.calls} times" if module and module.calls > 1 else ""
        count = f", {module.parameters:,} parameters" if module and module.parameters else ""
        repeated = f" ×{module.calls}" if module and module.calls > 1 else ""
        frame = Frame(f"module:{path}", "module", f"{path} · {kind}{repeated}", path, f"{path}: {kind}{count}{times}")
        self.frames.setdefault(frame.id, frame)
        return frame.id

    def _frame(self, outer: str, kind: FrameKind, label: str, path: str, tooltip: str = "") -> str:
        frame = Frame(f"{outer}/{kind}:{tooltip or label}:{label}", kind, label, path, tooltip or label)
        self.frames.setdefault(frame.id, frame)
        return frame.id

    def _loop_label(self, pointer: str) -> str:
        said, turns = self._document.loops.get(pointer, ("loop", 0))
        short = said if len(said) <= _LETTERS else f"{said[:_LETTERS]}…"  # so that the turns are always read
        return f"↻ {short} · {turns} turn{'' if turns == 1 else 's'}"

    def _without_readers(self) -> list[str]:
        """Operations that lead to no output, in order: mostly the conditions of loops and branches."""
        document = self._document
        needed = set(document.outputs)
        found: list[str] = []
        for operation in reversed(document.operations.values()):
            if needed.isdisjoint(operation.outputs):
                found.insert(0, operation.id)
            else:
                needed.update(operation.inputs)
        return found

    def _move_conditions(self) -> None:
        """Put conditions beside what they look at, so that a loop's lie in the loop."""
        document = self._document
        for key in self._conditions:
            operation = document.operations[key]
            looked_at = [self.data[one] for one in operation.inputs if not _is_number(document.data[one])]
            own = self.operations[key]
            if looked_at and looked_at[0][: len(own)] == own:
                self.operations[key] = looked_at[0]
                self.data |= dict.fromkeys(operation.outputs, looked_at[0])

    def _place_data(self) -> dict[str, Path]:
        producers: dict[str, str] = {}
        readers: dict[str, list[str]] = {}
        for operation in self._document.operations.values():
            for key in operation.outputs:
                producers.setdefault(key, operation.id)
            for key in operation.inputs:
                readers.setdefault(key, []).append(operation.id)
        return {
            datum.id: self._place(datum, producers.get(datum.id), readers.get(datum.id, []))
            for datum in self._document.data.values()
        }

    def _numbers_with_many_readers(self) -> frozenset[str]:
        counts = Counter(key for operation in self._document.operations.values() for key in set(operation.inputs))
        data = self._document.data
        return frozenset(key for key, count in counts.items() if count > 1 and _is_number(data[key]))

    def _place(self, datum: Datum, producer: str | None, readers: list[str]) -> Path:
        if datum.kind in ("parameter", "buffer"):
            return self._owner(datum.name)
        if datum.kind in ("input", "output") or datum.id in self._document.outputs:
            return ()
        readers = [key for key in readers if key not in self._aside] or readers
        chains = [self._chains[key] for key in ([producer] if producer else []) + readers]
        if not chains:
            return ()
        # By the calls, not by the frames: what one call of a module hands to another has passed through the caller.
        shared = _common(chains)
        path = self._walk(chains[0][: len(shared)])
        following = [chain[len(shared)] if len(chain) > len(shared) else None for chain in chains]
        loops = {step.pointer if isinstance(step, _Block) and step.is_loop else "" for step in following}
        if len(chains) > 1 and len(loops) == 1 and "" not in loops:
            # From one turn to the next: in the loop, in no turn.
            path = self._walk(chains[0][: len(shared) + 1])[: len(path) + 1]
        return path

    def _owner(self, name: str) -> Path:
        """Return the frames of a parameter: those of the nearest module around it that ran."""
        module = name.rpartition(".")[0]
        while module and module not in self._prefixes:
            module = module.rpartition(".")[0]
        return (*self._home(module), self._module(module)) if module else ()


def _is_number(datum: Datum) -> bool:
    return datum.kind == "constant" and datum.value is not None and not isinstance(datum.value, list)


def _common(sequences: Sequence[Sequence[_Step]]) -> tuple[_Step, ...]:
    """Return what all sequences begin with."""
    first = sequences[0]
    shared = min(map(len, sequences))
    for index in range(shared):
        if any(other[index] != first[index] for other in sequences):
            return tuple(first[:index])
    return tuple(first[:shared])
