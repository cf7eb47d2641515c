"""Compiles the static variant of a definition: the same module with the same weights, ready to be captured."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType

from torch import nn

from services.definition import Definition
from services.modules.build import Code, compile_tree
from services.modules.emit import FACTORY, emit_program
from services.modules.static.helpers import NAMES, Watched
from services.modules.static.rewrite import Site, static_program


@dataclass(frozen=True, slots=True)
class Variant:
    """The code of a static variant, and the branches and loops in it."""

    code: Code
    sites: list[Site]

    def build(self) -> nn.Module:
        """Return the module; its draws are those of the definition itself."""
        model: nn.Module = self.code.namespace[FACTORY]()
        return model

    def watch(self) -> Watched:
        """Let runs from here on take notes, until ``capture_ready``."""
        watched = Watched()
        self.code.namespace.update(watched.names())
        return watched

    def capture_ready(self) -> None:
        """Put the operations back that a capture needs."""
        self.code.namespace.update(NAMES)


def static_variant(definition: Definition) -> Variant:
    """Return the static variant of a definition."""
    program, sites = static_program(definition.program)
    code = compile_tree(emit_program(program), f"{definition.sha256[:16]} static")
    code.namespace.update(NAMES)
    # torch.export looks up the module of a class by its name.
    name = code.namespace["__name__"]
    module = sys.modules.setdefault(name, ModuleType(name))
    vars(module).update(code.namespace)
    return Variant(code, sites)


def build_static(definition: Definition) -> nn.Module:
    """Return a definition's module with data-dependent branches and loops as operations."""
    return static_variant(definition).build()
