"""The model definition language: checks documents and turns them into trees of plain PyTorch, without torch."""

from services.definition.document import Definition, Input, check

__all__ = ["Definition", "Input", "check"]
