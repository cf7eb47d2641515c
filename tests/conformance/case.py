"""One model written twice, and what a comparison needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

CASES: list[Case] = []


@dataclass(frozen=True)
class Case:
    """A definition, the ordinary class, and inputs for a batch size."""

    name: str
    document: Any
    original: Callable[[], nn.Module]
    inputs: Callable[[int], tuple[Any, ...]]

    def __str__(self) -> str:
        return self.name


def case(document: Any, inputs: Callable[[int], tuple[Any, ...]], name: str | None = None):
    """Register the decorated class (or function that returns a module) as the original of ``document``."""

    def register(original):
        CASES.append(Case(name or original.__name__, document, original, inputs))
        return original

    return register


def rows(*shape: int) -> Callable[[int], tuple[torch.Tensor]]:
    """Return a maker of one float input of this shape per sample."""
    return lambda batch: (torch.randn(batch, *shape),)


def tokens(length: int, vocabulary: int) -> Callable[[int], tuple[torch.Tensor]]:
    """Return a maker of one input of token ids."""
    return lambda batch: (torch.randint(0, vocabulary, (batch, length)),)
