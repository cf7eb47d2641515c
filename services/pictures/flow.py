"""How wide a line is: the norm of the gradient that flows back along it, for each use of a piece of data its part."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from services.pictures.captions import figure
from services.pictures.document import Document

PLAIN, THIN, WIDE = 1.4, 1.0, 6.0
NO_GRADIENT = "4 3"
_LINEAR_UP_TO = 100.0  # greatest over least norm; beyond, widths go by the logarithm
_DECADES = 5.0


@dataclass(frozen=True, slots=True)
class Flow:
    """The scale of one picture; ``greatest`` is 0 where no gradient is finite and above zero."""

    known: bool
    least: float
    greatest: float

    def width(self, norm: float | None) -> float:
        """Return the width in pixels; a gradient that is not finite is as wide as can be."""
        if not self.known or norm is None:
            return PLAIN if not self.known else THIN
        if not math.isfinite(norm):
            return WIDE
        if norm <= 0 or not self.greatest:
            return THIN
        return THIN + (WIDE - THIN) * (norm / self.greatest if self.linear else self._decade(norm))

    def dash(self, norm: float | None) -> str | None:
        """Lines without any gradient are dashed, where others have one."""
        return NO_GRADIENT if self.known and not norm else None

    @property
    def linear(self) -> bool:
        """Whether widths go by the norm itself and not by its logarithm."""
        return self.greatest <= _LINEAR_UP_TO * self.least

    def _decade(self, norm: float) -> float:
        return max(0.0, 1 + math.log10(norm / self.greatest) / _DECADES)

    def legend(self) -> str:
        """Return what the legend says of the lines."""
        if not self.known:
            return ""
        scale = "" if self.linear else ", by its logarithm"
        span = f" ({figure(self.least)} … {figure(self.greatest)})" if self.greatest else ""
        return f"line width: norm of the gradient{scale}{span}; dashed: none"


def flow(document: Document) -> Flow:
    """Return the scale for a whole document, so that all its pictures agree."""
    norms = [norm for norm in _norms(document) if norm > 0 and math.isfinite(norm)]
    return Flow(document.has_gradients, min(norms, default=0.0), max(norms, default=0.0))


def _norms(document: Document) -> Iterable[float]:
    uses = (norm for operation in document.operations.values() for norm in operation.input_gradients)
    made = (document.data[key].gradient_norm for operation in document.operations.values() for key in operation.outputs)
    return (norm for norm in chain(uses, made) if norm is not None)
