"""Models that live in this process: an ``nn.Module`` becomes the definition that is posted, and comes back trained."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelwright.errors import CannotDescribe, CannotLoad

if TYPE_CHECKING:
    from torch import nn


def as_definition(model: object) -> object:
    """Return what stands for ``model`` in a request: itself, or the definition of a live ``torch.nn.Module``.

    Weights stay here: a job draws its own from its seed. torch is not imported; whoever has a module has it already.

    Raises:
        CannotDescribe: the module does something that the language cannot say; the message names it, with its line.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        return model
    try:
        from services.errors import InvalidRequest  # noqa: PLC0415 - only with a live module, and so with torch
        from services.modules.describe import describe  # noqa: PLC0415
    except ImportError as error:
        raise CannotDescribe(f"This needs more than the client: {error}.") from error
    try:
        return describe(model).document
    except InvalidRequest as error:
        raise CannotDescribe(" ".join(problem.detail for problem in error.problems)) from None


def as_module(definition: dict[str, Any], weights: Path) -> nn.Module:
    """Return the model of a checked ``definition`` with the ``weights`` of a safetensors file, in eval mode.

    The class is built from the definition by the code that trains it; no source text is run.

    Raises:
        CannotLoad: torch or safetensors is not installed here.
    """
    try:
        import torch  # noqa: PLC0415 - only for who loads a model
        from safetensors.torch import load_file  # noqa: PLC0415

        from services.definition import check  # noqa: PLC0415
        from services.modules import build  # noqa: PLC0415
    except ImportError as error:
        raise CannotLoad(f"Loading a model needs more than the client: {error}.") from error
    with torch.random.fork_rng(devices=[]):  # the first weights, which nobody sees, take nobody's random numbers
        module = build(check(definition))
    module.load_state_dict(load_file(weights))
    return module.eval()
