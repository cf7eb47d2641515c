"""Tries the transforms of images once, before a job is queued: only kornia knows which arguments go together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from services.definition.problems import Place
from services.errors import InvalidRequest, Problem
from services.modules.data.transforms import Run, Transforms

_ROWS = 2
_SHOWN_CHARACTERS = 300


def try_transforms(images: Mapping[str, Mapping[str, Any]]) -> None:
    """Build and call every transform with random images.

    Args:
        images: ``{feature: {"shape": [channels, height, width], "transforms": [...]}}``.

    Raises:
        InvalidRequest: ``invalid_argument`` at the first transform of a feature that does not work.
    """
    problems = [found for name, one in images.items() if (found := _trouble(name, one)) is not None]
    if problems:
        raise InvalidRequest(problems)


def _trouble(name: str, one: Mapping[str, Any]) -> Problem | None:
    made = torch.rand(_ROWS, *one["shape"], generator=torch.Generator().manual_seed(0))
    run = Run(0, 0, 0, _ROWS, slice(None))
    for index, transform in enumerate(one["transforms"]):
        alone = Transforms(name, [transform])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                alone.fixed(made)
                made = alone.varied(made, run)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - kornia says in many ways what it does not take
            words = " ".join(str(error).split())[:_SHOWN_CHARACTERS]
            pointer = Place("/data/features").child(name, "image", "transforms", index).pointer
            hint = f"GET /v1/catalog/{transform['type']} has its arguments; images are floats from 0 to 1."
            return Problem("invalid_argument", f"{transform['type']}: {words}", pointer, hint)
    return None
