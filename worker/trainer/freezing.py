"""Keeping parts of a model as they are: parameters that do not train, and batch normalisation that does not learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from services.training.patterns import matching

_Norm = nn.modules.batchnorm._BatchNorm


class Held:
    """The batch normalisations, by name, whose running statistics are used in training and stay as they are."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def train(self, model: nn.Module) -> None:
        """Put ``model`` into training mode, all but these."""
        model.train()
        for name in self._names:
            model.get_submodule(name).eval()

    def others(self, model: nn.Module) -> list[_Norm]:
        """Return the batch normalisations of ``model`` that are not held."""
        return [one for name, one in model.named_modules() if isinstance(one, _Norm) and name not in self._names]


def freeze(model: nn.Module, plan: Mapping[str, Any]) -> Held:
    """Let the parameters that the plan's ``freeze`` matches train no more; return the normalisations to hold."""
    patterns = plan["freeze"]
    parameters = dict(model.named_parameters())
    for name in matching(parameters, patterns):
        parameters[name].requires_grad_(False)
    if plan["frozen_batch_norm"] == "update":
        return Held(frozenset())
    norms = [name for name, module in model.named_modules() if isinstance(module, _Norm)]
    # By one of its tensors' names, so that `backbone.*` finds also those that have no parameters.
    return Held(frozenset(name for name in norms if matching([f"{name}.running_mean".lstrip(".")], patterns)))
