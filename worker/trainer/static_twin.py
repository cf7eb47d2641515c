"""A second form of a model whose forward can be captured: the same layers, parameters and buffers, other classes."""

from __future__ import annotations

from typing import Any

from torch import nn

from services.modules.static.build import Variant


def static_twin(model: nn.Module, variant: Variant) -> nn.Module:
    """Return the static form of ``model``; both share every parameter and buffer, also one that is assigned later.

    Its modules are in the mode in which those of ``model`` are now, and stay in it.
    """
    return _twin(model, variant.code.namespace, {})


def _twin(module: nn.Module, classes: dict[str, Any], made: dict[int, nn.Module]) -> nn.Module:
    """Return the twin of a module; one that is reached twice has one twin."""
    if id(module) not in made:
        kind = type(module)
        own = kind.__module__.startswith("modelwright_definition_")
        twin: nn.Module = object.__new__(classes[kind.__name__] if own else kind)
        made[id(module)] = twin
        # The dicts of parameters and buffers are the same objects: what is assigned in one form is there in the other.
        vars(twin).update(vars(module))
        children = {name: child and _twin(child, classes, made) for name, child in module._modules.items()}
        vars(twin)["_modules"] = children
    return made[id(module)]
