"""The model definition language: checks documents and turns them into trees of plain PyTorch, without torch."""

from services.definition.bindings import Input
from services.definition.document import Definition, check

__all__ = ["Definition", "Input", "check"]
