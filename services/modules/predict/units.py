"""The unit of a target: normalized numbers back to what the data set's file has."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from services.modules.predict.plain import plain


class Unit:
    """Undoes the normalization of one column, as its recipe and what was fitted say."""

    def __init__(self, recipe: Mapping[str, Any] | None, fitted: Mapping[str, Any] | None) -> None:
        self._sources = list(recipe["sources"]) if recipe is not None else []
        self._fitted = list(fitted["sources"]) if fitted is not None else []
        self._by_channel = bool(recipe and (recipe["image"] or self._sources[0]["kind"] == "image"))
        self._widths = [_width(one) for one in self._sources]

    def told(self, values: Tensor, *, centered: bool = True) -> list[Any]:
        """Return for each row a number, nested lists, or an object by column where several lie side by side.

        ``centered=False`` is for deviations, which have no zero of their own.
        """
        values = self._undone(values, centered=centered)
        if len(self._sources) > 1 and values.dim() == 2 and values.shape[1] == sum(self._widths):
            return self._by_column(values)
        rows = values.reshape(len(values)) if values[0].numel() == 1 else values
        found: list[Any] = plain(rows)
        return found

    def _undone(self, values: Tensor, *, centered: bool) -> Tensor:
        if not any("center" in one for one in self._fitted):
            return values
        center, scale = self._numbers(values.dim())
        if center.numel() > 1 and not self._by_channel and center.shape[-1] != values.shape[-1]:
            return values  # the model gives something else than what the target is made of
        undone = values.double() * scale + (center if centered else 0.0)
        return undone.to(values.dtype)

    def _numbers(self, dimensions: int) -> tuple[Tensor, Tensor]:
        """Return center and scale, for the last dimension or, of an image, for that of its channels."""
        if self._by_channel:
            found = [
                torch.tensor(self._fitted[0][name], dtype=torch.float64).view(-1, 1, 1) for name in ("center", "scale")
            ]
            return found[0], found[1]
        centers, scales = [], []
        for width, one in zip(self._widths, self._fitted, strict=True):
            centers.append(torch.as_tensor(one.get("center", 0.0), dtype=torch.float64).expand(width))
            scales.append(torch.as_tensor(one.get("scale", 1.0), dtype=torch.float64).expand(width))
        if len(self._fitted) == 1 and not isinstance(self._fitted[0].get("center"), list):
            return centers[0][:1], scales[0][:1]
        return torch.cat(centers), torch.cat(scales)

    def _by_column(self, values: Tensor) -> list[dict[str, Any]]:
        pieces = torch.split(values, self._widths, dim=1)
        told = [plain(piece.squeeze(1) if piece.shape[1] == 1 else piece) for piece in pieces]
        names = [one["column"] for one in self._sources]
        return [dict(zip(names, row, strict=True)) for row in zip(*told, strict=True)]


def _width(source: Mapping[str, Any]) -> int:
    """Return how many numbers a row of one source gives."""
    return int(prod(source["shape"])) * (int(source["classes"]) if source["encode"] == "one_hot" else 1)
