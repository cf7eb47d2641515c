"""What a name means at one point of a definition."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Literal

from services.definition.problems import Problems

Kind = Literal["module", "macro", "function"]


@dataclass(frozen=True, slots=True)
class Argument:
    """A parameter of a definition, or an argument of a function."""

    name: str
    required: bool


@dataclass(slots=True)
class Heading:
    """What a caller needs to know of a definition."""

    name: str
    kind: Kind
    arguments: list[Argument] = field(default_factory=list)
    recursive: bool = False
    """Whether it says how deep it may call itself."""


@dataclass(slots=True)
class Members:
    """The attributes that one module has, by what they are."""

    children: set[str] = field(default_factory=set)
    parameters: set[str] = field(default_factory=set)
    buffers: set[str] = field(default_factory=set)
    values: set[str] = field(default_factory=set)
    constants: set[str] = field(default_factory=set)
    """Parameters of the definition, readable as ``self.d`` when nothing else has the name."""
    methods: dict[str, list[Argument]] = field(default_factory=dict)
    patterns: list[tuple[str, re.Pattern[str]]] = field(default_factory=list)
    """Computed names (``stage{i}``): the dictionary that holds them, and what they look like."""
    read_constants: set[str] = field(default_factory=set)
    """Constants that forward or a method really reads."""

    def names(self) -> set[str]:
        """Return every plain name."""
        return self.children | self.parameters | self.buffers | self.values | self.constants | set(self.methods)

    def matches(self, name: str) -> bool:
        """Return whether a computed name may come out as ``name``."""
        return any(pattern.fullmatch(name) for _, pattern in self.patterns)

    def registry(self, head: str) -> str:
        """Return the dictionary of the module in which names that begin with ``head`` are registered."""
        kinds = [kind for kind, pattern in self.patterns if pattern.pattern.startswith(re.escape(head))]
        if kinds:
            return kinds[0]
        for kind, names in (("_parameters", self.parameters), ("_buffers", self.buffers)):
            if any(name.startswith(head) for name in names):
                return kind
        return "_modules"


@dataclass(slots=True)
class Library:
    """The definitions of one document, and what was found wrong with it."""

    problems: Problems
    headings: dict[str, Heading] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    """Every name that some module of the document gives to a part of it."""
    member_patterns: list[re.Pattern[str]] = field(default_factory=list)
    helpers: set[str] = field(default_factory=set)
    """Guards that the emitted source needs."""
    sound: set[str] = field(default_factory=set)
    """Layers with their arguments, in the object form, that were checked and are fine."""
    calls: dict[str, set[str]] = field(default_factory=dict)
    """Which definition names which other ones."""
    invocations: list[tuple[str, str, ast.Call]] = field(default_factory=list)
    """Calls of functions and methods: the function they stand in, the one they call, the call."""


@dataclass(slots=True)
class Scope:
    """Names and permissions inside one body."""

    owner: str
    """The definition, or "" for the model itself."""
    builds: bool
    """Whether layers may be constructed here: in init, macros and the model, not in a forward."""
    members: Members | None = None
    locals: set[str] = field(default_factory=set)
    loops: int = 0
    function: str = ""
    """The function that a body belongs to: ``helper``, ``Net.forward``, ``Net.method``."""

    def inner(self) -> Scope:
        """Return a scope whose new names stay inside: for comprehensions."""
        return Scope(self.owner, self.builds, self.members, set(self.locals), self.loops, self.function)
