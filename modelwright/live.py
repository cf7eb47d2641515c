"""Models that live in this process: an ``nn.Module`` becomes the definition that is posted."""

from __future__ import annotations

import sys

from modelwright.errors import CannotDescribe


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
