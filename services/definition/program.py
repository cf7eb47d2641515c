"""A checked document as trees of plain Python: what is emitted, built, evaluated and downloaded."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from services.definition.problems import Place


@dataclass(slots=True)
class Parameter:
    """A parameter of a definition or an argument of a function; ``default`` is ``None`` when it is required."""

    name: str
    default: ast.expr | None = None


@dataclass(slots=True)
class Function:
    """A function, a method, or a macro (a function that returns modules)."""

    name: str
    arguments: list[Parameter]
    body: list[ast.stmt]
    place: Place
    at_most: int | None = None
    """How deep it may call itself, where it does."""

    def syntax(self, *, method: bool = False) -> ast.arguments:
        """Return the Python parameter list."""
        names = ([ast.arg("self")] if method else []) + [ast.arg(argument.name) for argument in self.arguments]
        defaults = [argument.default for argument in self.arguments if argument.default is not None]
        # By keyword only, so that no splat can fill it.
        counter = [] if self.at_most is None else [ast.arg("_left")]
        bounds: list[ast.expr | None] = [ast.Constant(self.at_most) for _ in counter]
        return ast.arguments([], names, None, counter, bounds, None, defaults)


@dataclass(slots=True)
class Module:
    """A subclass of ``torch.nn.Module``."""

    name: str
    constructor: Function
    forward: Function
    methods: list[Function] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)
    """Parameters kept as attributes, since forward or a method reads them."""
    buffers: frozenset[str] = frozenset()

    def tensors(self) -> set[str]:
        """Return the names that are parameters or buffers in every instance."""
        found: set[str] = set(self.buffers)
        others: set[str] = set()
        for statement in ast.walk(ast.Module(self.constructor.body, [])):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else None
            if isinstance(statement, ast.Assign) and isinstance(target, ast.Attribute):
                made = isinstance(statement.value, ast.Call) and ast.unparse(statement.value.func) == "nn.Parameter"
                (found if made else others).add(target.attr)
        return found - others


@dataclass(slots=True)
class Program:
    """Everything of one document, callees before callers."""

    definitions: dict[str, Module | Function] = field(default_factory=dict)
    macros: frozenset[str] = frozenset()
    model: ast.expr = field(default_factory=lambda: ast.Constant(None))
    helpers: frozenset[str] = frozenset()
    """Names of the guards that the source needs."""

    def bodies(self) -> Iterator[list[ast.stmt]]:
        """Iterate over all bodies that run in a forward."""
        for definition in self.definitions.values():
            if isinstance(definition, Module):
                for function in (definition.forward, *definition.methods):
                    yield function.body
            elif definition.name not in self.macros:
                yield definition.body
